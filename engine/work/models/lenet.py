"""LeNet5 and LeNet5-Mini in every width and depth of the catalog."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from engine.catalog import ModelInfo
from engine.errors import UsageError
from engine.work.models.family import Family
from engine.work.surgery import LayerPlan, Slice, SlicePlan
from engine.work.surgery.graph import OUTPUTS

KERNEL = 5
# Below it, conv3 has no room in the maps that it gets.
SMALLEST = 32


class LeNet(nn.Module):
    """Three 5x5 convolutions, the first two with a 2x2 max-pool, then fully connected layers.

    A 32x32 image is 14x14 after conv1, 5x5 after conv2 and 1x1 after conv3, so the flatten gives
    one input of fc1 to each filter of conv3; of larger images it gives the square of a map's side.
    ReLU after every layer but the last.
    """

    def __init__(
        self, channels: int, filters: tuple[int, ...], outputs: tuple[int, ...], side: int = 1
    ) -> None:
        """Builds the layers.

        Args:
            channels: Image channels.
            filters: Filters of conv1, conv2 and conv3.
            outputs: Outputs of fc1, fc2, ...; the last are the classes.
            side: Of the maps of conv3; see `side_of_maps`.
        """
        super().__init__()
        self.convs = [f"conv{i}" for i in range(1, len(filters) + 1)]
        self.linears = [f"fc{i}" for i in range(1, len(outputs) + 1)]
        for name, (before, after) in zip(self.convs, pairwise((channels, *filters)), strict=True):
            self.add_module(name, nn.Conv2d(before, after, KERNEL))
        widths = pairwise((filters[-1] * side**2, *outputs))
        for name, (before, after) in zip(self.linears, widths, strict=True):
            self.add_module(name, nn.Linear(before, after))

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits, (batch, classes), of images (batch, channels, size, size)."""
        last = self.convs[-1]
        return self.after(self.before(images, last), last)

    def before(self, images: Tensor, layer: str) -> Tensor:
        """Returns the feature maps of `layer`, pooled and rectified."""
        return self._convolve(images, 0, self.convs.index(layer) + 1)

    def after(self, maps: Tensor, layer: str) -> Tensor:
        """Returns the logits from the feature maps of `layer`."""
        values = self._convolve(maps, self.convs.index(layer) + 1, len(self.convs)).flatten(1)
        for name in self.linears[:-1]:
            values = functional.relu(self.get_submodule(name)(values))
        logits: Tensor = self.get_submodule(self.linears[-1])(values)
        return logits

    def _convolve(self, maps: Tensor, start: int, stop: int) -> Tensor:
        for place in range(start, stop):
            maps = functional.relu(self.get_submodule(self.convs[place])(maps))
            if place < len(self.convs) - 1:
                maps = functional.max_pool2d(maps, 2)
        return maps


def side_of_maps(size: int) -> int:
    """Returns the side of the maps of conv3, of images of so many pixels a side.

    Raises:
        UsageError: They are too small.
    """
    if size < SMALLEST:
        raise UsageError(f"LeNets take images of {SMALLEST} pixels or more, not {size}.")
    pooled = ((size - KERNEL + 1) // 2 - KERNEL + 1) // 2
    return pooled - KERNEL + 1


class LeNetFamily(Family):
    """LeNets; their plan is written by hand, so that it costs no import of a graph library."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns a network with torch's default initial weights; raises UsageError."""
        filters = tuple(layer.filters for layer in info.layers)
        return LeNet(info.channels, filters, (*info.hidden, classes), side_of_maps(info.size))

    def plan(self, info: ModelInfo, network: nn.Module) -> SlicePlan:
        """Returns the plan: each layer's weight and bias, and the next layer's input channels."""
        readers = [Slice(f"{layer.name}.weight", 1) for layer in info.layers[1:]]
        readers.append(Slice("fc1.weight", 1, block=side_of_maps(info.size) ** 2))
        return SlicePlan(
            tuple(
                LayerPlan(
                    layer.name,
                    layer.filters,
                    own=(Slice(f"{layer.name}.weight", 0), Slice(f"{layer.name}.bias", 0)),
                    following=(reader,),
                )
                for layer, reader in zip(info.layers, readers, strict=True)
            ),
            refused=((f"fc{len(info.hidden) + 1}", OUTPUTS),),
        )
