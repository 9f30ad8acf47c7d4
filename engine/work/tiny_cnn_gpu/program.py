"""K candidates on a device: their numbers, the room the kernels work in, and the launches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.work.tiny_cnn.architecture import Architecture
from engine.work.tiny_cnn_gpu import convolutions, head

SAMPLES_AT_A_TIME = 256
_CONV1_CELLS, _CONV2_CELLS = 14 * 14, 5 * 5
_SMALLEST = 16
# Wider tiles do not fit into a program's registers: compiled for sm_80, a fully connected layer of
# 128 spilled 12 KB a thread.
_WIDEST_LAYER, _MOST_FILTERS = 32, 64


@dataclass(frozen=True, slots=True)
class Tiles:
    """How much one program takes on. Part of the result: sums are cut where tiles end.

    Attributes:
        slice: Samples whose gradients one program adds up.
        cells: Cells of feature maps in a program of the convolutions.
        positions: Positions that a weight gradient adds up at a time.
        depth: Inputs of a matrix product taken at a time.
        parameters: Parameters in a program of the SGD step.
    """

    slice: int = 32
    cells: int = 64
    positions: int = 64
    depth: int = 32
    parameters: int = 256


DEFAULT_TILES = Tiles()


def fits(architecture: Architecture) -> bool:
    """Whether every layer fits into one tile of the kernels."""
    widest = max(architecture.conv3, *architecture.dense)
    filters = max(architecture.conv1, architecture.conv2)
    return widest <= _WIDEST_LAYER and filters <= _MOST_FILTERS


class Program:
    """Trains and evaluates K networks of one architecture on one device.

    A step is eight launches, whatever K is; nothing is allocated after the beginning, so that
    steps can be captured into a CUDA graph.

    Attributes:
        parameters: (K, size) float32, in the order of `Architecture.shapes`.
        momenta: Their momenta, alike.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Tensor,
        batch_size: int,
        tiles: Tiles = DEFAULT_TILES,
    ) -> None:
        """Takes parameters (K, size) on the device, which training changes, and makes the room.

        Raises:
            torch.cuda.OutOfMemoryError: The device has not enough memory for so many.
        """
        self.parameters, self.momenta = parameters, torch.zeros_like(parameters)
        self._architecture, self._tiles = architecture, tiles
        self._size, device = len(parameters), parameters.device
        self._slices = -(-batch_size // tiles.slice)
        # A whole number of slices, so that pieces of an evaluation are cut where slices are.
        self.room = -(-max(batch_size, SAMPLES_AT_A_TIME) // tiles.slice) * tiles.slice
        layers = architecture.layers()
        self._width = _padded(max(outputs for _, outputs in layers))
        self._layers = len(layers)
        offsets = architecture.offsets()
        names = ["conv3.weight", *(f"fc{i}.weight" for i in range(1, self._layers))]
        rows = [(offsets[name], *sizes) for name, sizes in zip(names, layers, strict=True)]
        self._layout = torch.tensor(rows, dtype=torch.int32, device=device)
        self._conv2_offset = offsets["conv2.weight"]

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(self._size, *shape, dtype=dtype, device=device)

        maps1 = (self.room, architecture.conv1 * _CONV1_CELLS)
        maps2 = (self.room, architecture.conv2 * _CONV2_CELLS)
        self._maps1, self._maps2 = room(*maps1), room(*maps2)
        self._winners1, self._winners2 = (
            room(*maps1, dtype=torch.int8),
            room(*maps2, dtype=torch.int8),
        )
        self._gradients1, self._gradients2 = room(*maps1), room(*maps2)
        self._values = room(self.room, self._layers * self._width)
        self._partials = room(self._slices, architecture.size)
        self._no_losses = torch.zeros(1, dtype=torch.float64, device=device)
        self._no_hits = torch.zeros(1, dtype=torch.int32, device=device)

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        batch: Tensor,
        rate: Tensor,
        momentum: float,
        decay: float,
    ) -> None:
        """Takes one SGD step of every network.

        Args:
            images: (N, 1, 32, 32) float32, contiguous.
            labels: (N,) int64.
            batch: (count,) int64, which images; count is at most the batch size.
            rate: Learning rate, float32 on the device, so that a captured step can change it.
            momentum: Momentum of SGD.
            decay: Weight decay.
        """
        count, shape, tiles = len(batch), self._architecture, self._tiles
        slices = -(-count // tiles.slice)
        self._convolve(images, batch)
        self._head(batch, labels, self._no_losses, self._no_hits, training=True)
        head.head_backward[(slices, self._size)](
            self._maps2,
            self.parameters,
            self._layout,
            self._values,
            self._gradients2,
            self._partials,
            count,
            self.room,
            shape.size,
            LAYERS=self._layers,
            WIDTH=self._width,
            SLICE=tiles.slice,
            DEPTH=tiles.depth,
        )
        inputs = -(-shape.conv1 * 25 // tiles.depth)
        convolutions.conv2_weight_gradient[(slices, inputs, self._size)](
            self._gradients2,
            self._winners2,
            self._maps1,
            self._partials,
            *self._conv2(count),
            FILTERS=_padded(shape.conv2),
            SLICE=tiles.slice,
            BLOCK=tiles.positions,
            DEPTH=tiles.depth,
        )
        cells = -(-count * _CONV1_CELLS // tiles.cells)
        convolutions.conv2_input_gradient[(cells, self._size)](
            self._gradients2,
            self._winners2,
            self.parameters,
            self._gradients1,
            *self._conv2(count),
            CHANNELS=_padded(shape.conv1),
            BLOCK=tiles.cells,
            DEPTH=tiles.depth,
        )
        convolutions.conv1_weight_gradient[(slices, self._size)](
            self._gradients1,
            self._winners1,
            images,
            batch,
            self._partials,
            *self._conv1(count),
            FILTERS=_padded(shape.conv1),
            SLICE=tiles.slice,
            BLOCK=tiles.positions,
        )
        head.descend[(-(-shape.size // tiles.parameters), self._size)](
            self.parameters,
            self.momenta,
            self._partials,
            rate,
            momentum,
            decay,
            slices,
            shape.size,
            BLOCK=tiles.parameters,
        )

    def evaluate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns summed losses (K,) float64 and numbers of right answers (K,), on the CPU."""
        slices = []
        order = torch.arange(len(labels), device=images.device)
        for piece in torch.split(order, self.room):
            count = -(-len(piece) // self._tiles.slice)
            losses = torch.empty(self._size, count, dtype=torch.float64, device=images.device)
            hits = torch.empty(self._size, count, dtype=torch.int32, device=images.device)
            self._convolve(images, piece)
            self._head(piece, labels, losses, hits, training=False)
            slices.append((losses, hits))
        # Added on the CPU, where the order of a row's sum cannot depend on how many rows there are.
        losses, hits = (torch.cat(parts, 1).cpu() for parts in zip(*slices, strict=True))
        return torch.stack([row.sum() for row in losses]), hits.sum(1)

    def _conv1(self, count: int) -> tuple[int, ...]:
        """What every kernel of the first convolution is told of so many samples."""
        return count, self.room, self._architecture.conv1, self._architecture.size

    def _conv2(self, count: int) -> tuple[int, ...]:
        """The same of the second convolution."""
        shape = self._architecture
        return count, self.room, shape.conv1, shape.conv2, self._conv2_offset, shape.size

    def _convolve(self, images: Tensor, batch: Tensor) -> None:
        count, shape, tiles = len(batch), self._architecture, self._tiles
        convolutions.conv1_forward[(-(-count * _CONV1_CELLS // tiles.cells), self._size)](
            images,
            batch,
            self.parameters,
            self._maps1,
            self._winners1,
            *self._conv1(count),
            FILTERS=_padded(shape.conv1),
            BLOCK=tiles.cells,
        )
        convolutions.conv2_forward[(-(-count * _CONV2_CELLS // tiles.cells), self._size)](
            self._maps1,
            self.parameters,
            self._maps2,
            self._winners2,
            *self._conv2(count),
            FILTERS=_padded(shape.conv2),
            BLOCK=tiles.cells,
            DEPTH=tiles.depth,
        )

    def _head(
        self, batch: Tensor, labels: Tensor, losses: Tensor, hits: Tensor, *, training: bool
    ) -> None:
        slices = -(-len(batch) // self._tiles.slice)
        head.head_forward[(slices, self._size)](
            self._maps2,
            self.parameters,
            self._layout,
            self._values,
            labels,
            batch,
            losses,
            hits,
            len(batch),
            self.room,
            self._architecture.size,
            LAYERS=self._layers,
            WIDTH=self._width,
            SLICE=self._tiles.slice,
            DEPTH=self._tiles.depth,
            TRAINING=training,
        )


def _padded(count: int) -> int:
    """The smallest power of two that holds so many, from the least a matrix product takes on."""
    return max(_SMALLEST, 1 << (count - 1).bit_length())
