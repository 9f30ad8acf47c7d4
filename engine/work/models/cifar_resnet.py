"""ResNets in their CIFAR form: three stages of 16, 32 and 64 filters, 6n + 2 layers."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from engine.catalog import ModelInfo
from engine.errors import UsageError
from engine.work.models.family import Family
from engine.work.surgery import SlicePlan

_WIDTHS = (16, 32, 64)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut that has no parameters (option A).

    Where a block halves the maps and doubles their number, the shortcut takes every other pixel
    and puts channels of zeros around the ones there are, as He et al. (2016) do on CIFAR.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """Takes how many channels come in, and how many filters both convolutions have."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.zeros = (width - inputs) // 2

    def forward(self, maps: Tensor) -> Tensor:
        """Returns maps (batch, width, height / stride, width / stride)."""
        inner = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        if self.zeros:
            maps = maps[:, :, :: self.stride, :: self.stride]
            maps = functional.pad(maps, (0, 0, 0, 0, self.zeros, self.zeros))
        return functional.relu(inner + maps)


class CifarResNet(nn.Module):
    """A convolution, three stages of n blocks each, the mean of the maps, one linear layer."""

    def __init__(self, blocks: int, channels: int, classes: int) -> None:
        """Takes how many blocks a stage has."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, _WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        inputs = _WIDTHS[0]
        for stage, width in enumerate(_WIDTHS, start=1):
            parts = []
            for place in range(blocks):
                parts.append(Block(inputs, width, 2 if stage > 1 and place == 0 else 1))
                inputs = width
            self.add_module(f"layer{stage}", nn.Sequential(*parts))
        self.linear = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits, (batch, classes)."""
        maps = functional.relu(self.bn1(self.conv1(images)))
        for stage in range(1, len(_WIDTHS) + 1):
            maps = self.get_submodule(f"layer{stage}")(maps)
        logits: Tensor = self.linear(functional.adaptive_avg_pool2d(maps, 1).flatten(1))
        return logits


class CifarResNetFamily(Family):
    """ResNet20, 56 and 110."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns a network with torch's default initial weights."""
        if info.size < 8:
            raise UsageError(f"{info.title} halves images twice; give it 8 pixels or more.")
        depth = int(info.source.removeprefix("resnet"))
        return CifarResNet((depth - 2) // 6, info.channels, classes)

    def plan(self, info: ModelInfo, network: nn.Module) -> SlicePlan:
        """Returns the plan of every block's first convolution.

        The filters of the others are added to those of the block before, and the shortcut between
        two stages shifts these by its zeros, which the dependency graph does not follow.
        """
        found = super().plan(info, network)
        inner = tuple(layer for layer in found.layers if not layer.members and _inner(layer.layer))
        why = "the shortcuts add its outputs up with those of the other blocks, shifted by zeros"
        others = (name for name, m in network.named_modules() if isinstance(m, nn.Conv2d))
        refused = [(name, why) for name in others if not _inner(name)]
        refused += [pair for pair in found.refused if pair[0] == "linear"]
        return replace(found, layers=inner, refused=tuple(refused))


def _inner(name: str) -> bool:
    return name.startswith("layer") and name.endswith(".conv1")
