"""VGG in its CIFAR form: batch norms, and one linear layer behind the convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from engine.catalog import ModelInfo
from engine.errors import UsageError
from engine.work.models.family import Family

# Convolutions of the five stages, each stage but the last followed by a 2x2 max-pool.
_STAGES = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_WIDTHS = (64, 128, 256, 512, 512)


class Vgg(nn.Module):
    """3x3 convolutions without bias, each with a norm and a ReLU, in five stages.

    The last maps (2x2 of a 32x32 image) are averaged, so that the classifier has one input for
    each filter of the last convolution. Names are torchvision's: `features.0`, ..., `classifier`.
    """

    def __init__(self, stages: tuple[int, ...], channels: int, classes: int) -> None:
        """Takes how many convolutions each stage has."""
        super().__init__()
        parts: list[nn.Module] = []
        inputs = channels
        for place, (count, width) in enumerate(zip(stages, _WIDTHS, strict=True)):
            if place:
                parts.append(nn.MaxPool2d(2))
            for _ in range(count):
                parts += [
                    nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                inputs = width
        self.features = nn.Sequential(*parts)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits, (batch, classes)."""
        logits: Tensor = self.classifier(self.pool(self.features(images)).flatten(1))
        return logits


class VggFamily(Family):
    """VGG11, 13, 16 and 19 for small images."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns a network with torch's default initial weights."""
        if info.size < 16:
            raise UsageError(f"{info.title} halves images four times; give it 16 pixels or more.")
        return Vgg(_STAGES[info.source], info.channels, classes)
