"""K candidates on a device: their numbers, the room the kernels work in, and the launches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from engine.work.tiny_cnn.architecture import Architecture
from engine.work.tiny_cnn_gpu import convolutions, head

SAMPLES_AT_A_TIME = 256
# By convolution: the side of its input, and the cells of its map behind the pool.
_SIDES, _CELLS = {1: 32, 2: 14}, {1: 14 * 14, 2: 5 * 5}
# The squares of 2x2 positions of conv2's input.
_SQUARES = 7 * 7
# Filters (or channels) that one program takes on: 20 sums a lane, or 125 in a weight gradient.
_GROUP = 5
_SMALLEST = 16
# Wider tiles do not fit into a program's registers: compiled for sm_80, a fully connected layer of
# 128 spilled 12 KB a thread.
_WIDEST_LAYER = 32


@dataclass(frozen=True, slots=True)
class Tiles:
    """How much one program takes on. Part of the result: sums are cut where tiles end.

    Attributes:
        slice: Samples whose gradients one program adds up.
        cells: Cells of feature maps in a program of the convolutions.
        lanes: Cells that a weight gradient takes at a time.
        depth: Inputs of a matrix product taken at a time.
        parameters: Parameters in a program of the SGD step.
    """

    slice: int = 32
    cells: int = 256
    lanes: int = 32
    depth: int = 32
    parameters: int = 256


DEFAULT_TILES = Tiles()


def fits(architecture: Architecture) -> bool:
    """Whether every fully connected layer fits into one tile of the kernels."""
    return max(architecture.conv3, *architecture.dense) <= _WIDEST_LAYER


class _Convolution(NamedTuple):
    """What the kernels are told of a convolution; `offset` is where its weights begin."""

    channels: int
    filters: int
    offset: int
    size: int


class Program:
    """Trains and evaluates K networks of one architecture on one device.

    A step is nine launches, whatever K is; nothing is allocated after the beginning, so that
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
        self._layers_of = {
            1: _Convolution(1, architecture.conv1, offsets["conv1.weight"], architecture.size),
            2: _Convolution(
                architecture.conv1, architecture.conv2, offsets["conv2.weight"], architecture.size
            ),
        }

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(self._size, *shape, dtype=dtype, device=device)

        self._pixels = torch.empty(_SIDES[1] ** 2, self.room, device=device)
        maps1 = (architecture.conv1 * _CELLS[1], self.room)
        maps2 = (architecture.conv2 * _CELLS[2], self.room)
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
        """Takes one SGD step of every network; for the arguments see `launches`."""
        for launch in self.launches(images, labels, batch, rate, momentum, decay).values():
            launch()

    def launches(
        self,
        images: Tensor,
        labels: Tensor,
        batch: Tensor,
        rate: Tensor,
        momentum: float,
        decay: float,
    ) -> dict[str, Callable[[], None]]:
        """Returns the launches of one SGD step of every network by name, in their order.

        Args:
            images: (N, 1, 32, 32) float32, contiguous.
            labels: (N,) int64.
            batch: (count,) int64, which images; count is at most the batch size.
            rate: Learning rate, float32 on the device, so that a captured step can change it.
            momentum: Momentum of SGD.
            decay: Weight decay.
        """
        slices = -(-len(batch) // self._tiles.slice)
        losses, hits = self._no_losses, self._no_hits
        return {
            "pixels": partial(self._gather, images, batch),
            "conv1": partial(self._convolve, 1, slices),
            "conv2": partial(self._convolve, 2, slices),
            "head": partial(self._head, batch, labels, losses, hits, training=True),
            "head backward": partial(self._head_backward, len(batch)),
            "conv2 weights": partial(self._weight_gradient, 2, slices),
            "conv2 input": partial(self._input_gradient, slices),
            "conv1 weights": partial(self._weight_gradient, 1, slices),
            "descent": partial(self._descend, rate, momentum, decay, slices),
        }

    def evaluate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns summed losses (K,) float64 and numbers of right answers (K,), on the CPU."""
        slices = []
        order = torch.arange(len(labels), device=images.device)
        for piece in torch.split(order, self.room):
            count = -(-len(piece) // self._tiles.slice)
            losses = torch.empty(self._size, count, dtype=torch.float64, device=images.device)
            hits = torch.empty(self._size, count, dtype=torch.int32, device=images.device)
            self._gather(images, piece)
            self._convolve(1, count)
            self._convolve(2, count)
            self._head(piece, labels, losses, hits, training=False)
            slices.append((losses, hits))
        # Added on the CPU, where the order of a row's sum cannot depend on how many rows there are.
        losses, hits = (torch.cat(parts, 1).cpu() for parts in zip(*slices, strict=True))
        return torch.stack([row.sum() for row in losses]), hits.sum(1)

    def _gather(self, images: Tensor, batch: Tensor) -> None:
        tiles, count = self._tiles, len(batch)
        convolutions.gather[(-(-count // tiles.slice), _SIDES[1])](
            images, batch, self._pixels, count, ROOM=self.room, SLICE=tiles.slice
        )

    def _convolve(self, layer: int, slices: int) -> None:
        span, told, first = slices * self._tiles.slice, self._layers_of[layer], layer == 1
        group, groups = _groups(told.filters)
        blocks = -(-span * _CELLS[layer] // self._tiles.cells)
        convolutions.convolve[(blocks * groups, self._size)](
            self._pixels if first else self._maps1,
            self.parameters,
            self._maps1 if first else self._maps2,
            self._winners1 if first else self._winners2,
            span,
            *told,
            SHARED=first,
            SIDE=_SIDES[layer],
            FILTERS=group,
            ROOM=self.room,
            BLOCK=self._tiles.cells,
        )

    def _weight_gradient(self, layer: int, slices: int) -> None:
        told = self._layers_of[layer]
        group, groups = _groups(told.filters)
        first = layer == 1
        convolutions.weight_gradient[(slices * told.channels * groups, self._size)](
            self._gradients1 if first else self._gradients2,
            self._winners1 if first else self._winners2,
            self._pixels if first else self._maps1,
            self._partials,
            *told,
            slices,
            SHARED=first,
            SIDE=_SIDES[layer],
            FILTERS=group,
            ROOM=self.room,
            SLICE=self._tiles.slice,
            BLOCK=self._tiles.lanes,
            num_warps=1,
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
            self._architecture.size,
            ROOM=self.room,
            LAYERS=self._layers,
            WIDTH=self._width,
            SLICE=self._tiles.slice,
            DEPTH=self._tiles.depth,
            TRAINING=training,
        )

    def _head_backward(self, count: int) -> None:
        slices = -(-count // self._tiles.slice)
        head.head_backward[(slices, self._size)](
            self._maps2,
            self.parameters,
            self._layout,
            self._values,
            self._gradients2,
            self._partials,
            count,
            self._architecture.size,
            ROOM=self.room,
            LAYERS=self._layers,
            WIDTH=self._width,
            SLICE=self._tiles.slice,
            DEPTH=self._tiles.depth,
        )

    def _input_gradient(self, slices: int) -> None:
        span = slices * self._tiles.slice
        group, groups = _groups(self._architecture.conv1)
        blocks = -(-span * _SQUARES // self._tiles.cells)
        convolutions.input_gradient[(blocks * groups, self._size)](
            self._gradients2,
            self._winners2,
            self.parameters,
            self._gradients1,
            span,
            *self._layers_of[2],
            CHANNELS=group,
            ROOM=self.room,
            BLOCK=self._tiles.cells,
        )

    def _descend(self, rate: Tensor, momentum: float, decay: float, slices: int) -> None:
        size, block = self._architecture.size, self._tiles.parameters
        head.descend[(-(-size // block), self._size)](
            self.parameters,
            self.momenta,
            self._partials,
            rate,
            momentum,
            decay,
            slices,
            size,
            BLOCK=block,
        )


def _groups(count: int) -> tuple[int, int]:
    """Cuts so many filters into groups of equal size: how many are in each, and how many groups."""
    groups = -(-count // _GROUP)
    return -(-count // groups), groups


def _padded(count: int) -> int:
    """The smallest power of two that holds so many, from the least a matrix product takes on."""
    return max(_SMALLEST, 1 << (count - 1).bit_length())
