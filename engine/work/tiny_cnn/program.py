"""Turns an architecture into what the kernels need: tables, work space, and the kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.work.tiny_cnn.architecture import Architecture, Floats
from engine.work.tiny_cnn.kernels import backward, forward, network, toom_cook
from engine.work.tiny_cnn.kernels import layout as at
from engine.work.tiny_cnn.kernels.compiling import once
from engine.work.tiny_cnn.kernels.vectors import LANES

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]


def aligned(count: int) -> Floats:
    """`count` float32 zeros that begin at a cache line: a vector across two lines costs twice."""
    room = np.zeros(count + 16, np.float32)
    skip = -(room.ctypes.data // 4) % 16
    return room[skip : skip + count]


def whole(count: int) -> int:
    """`count` rounded up to whole vectors."""
    return -(-count // LANES) * LANES


class Program:
    """Everything compiled code needs for one architecture; the same for all its candidates.

    Attributes:
        table: the table of `kernels.layout`.
        parameters: numbers per candidate, padded to whole vectors.
    """

    def __init__(self, architecture: Architecture, *, training: bool) -> None:
        self.architecture = architecture
        self.training = training
        self.parameters = whole(architecture.size)
        self._space = 0
        self.table: Longs = np.zeros(at.HEADER, np.int64)
        self._sizes()
        self._responses()
        self._forward_kernels()
        if training:
            self._gradients()
            self._backward_kernels()

    @property
    def space_size(self) -> int:
        """Numbers of work space that one thread needs."""
        return self._space

    def _reserve(self, name: int, count: int) -> None:
        self.table[name] = self._space
        self._space += whole(count)

    def _append(self, name: int, values: list[int]) -> None:
        self.table[name] = self.table.size
        self.table = np.concatenate([self.table, np.array(values, np.int64)])

    def _sizes(self) -> None:
        architecture, offsets = self.architecture, self.architecture.offsets()
        for name, value in (
            (at.CONV1, architecture.conv1),
            (at.CONV2, architecture.conv2),
            (at.CLASSES, architecture.classes),
            (at.WEIGHTS1, offsets["conv1.weight"]),
            (at.BIAS1, offsets["conv1.bias"]),
            (at.WEIGHTS2, offsets["conv2.weight"]),
            (at.BIAS2, offsets["conv2.bias"]),
            (at.PARAMETERS, self.parameters),
            (at.USED, architecture.size),
        ):
            self.table[name] = value

    def _responses(self) -> None:
        architecture = self.architecture
        for name, values in (
            (at.RESPONSES1, architecture.conv1 * 196),
            (at.RESPONSES2, architecture.conv2 * 25),
            (at.LOGITS, architecture.classes),
            (at.LOGIT_GRADIENT, architecture.classes),
            (at.SCRATCH, 3),
        ):
            self._reserve(name, values * LANES)
        kernel_rows = architecture.conv1 * architecture.conv2 * 5
        self._reserve(at.PREPARED2, kernel_rows * toom_cook.PRODUCTS)
        windows = architecture.conv1 * 14 * 5
        self._reserve(at.TRANSFORMED2, windows * toom_cook.PRODUCTS * LANES)
        self._reserve(at.PLACES1, architecture.conv1 * 196)
        self._reserve(at.PLACES2, architecture.conv2 * 25)
        offsets = list(architecture.offsets().values())[4:]
        rows: list[int] = []
        source = int(self.table[at.RESPONSES2])
        for i, (inputs, outputs) in enumerate(architecture.layers()):
            rows += [inputs, outputs, offsets[2 * i], offsets[2 * i + 1], source]
            source = self._space
            self._space += outputs * LANES
        self._append(at.DENSE, rows)
        self.table[at.DENSE_COUNT] = len(architecture.layers())

    def _forward_kernels(self) -> None:
        architecture = self.architecture
        for name, channels, way in (
            (at.BLOCKS1, architecture.conv1, forward),
            (at.BLOCKS2, architecture.conv2, toom_cook),
        ):
            sizes = forward.blocks(channels, way.MAX_BLOCK)
            pairs = [(size, way.conv_pool(size).address) for size in sizes]
            self._append(name, [len(sizes), *(value for pair in pairs for value in pair)])
        for name, kernel in (
            (at.TRANSFORM_WEIGHTS, toom_cook.transform_weights()),
            (at.TRANSFORM_INPUTS, toom_cook.transform_inputs()),
            (at.PREPARE, network.prepare()),
            (at.CONV_LAYER, network.conv_layer()),
            (at.DENSE_STACK, network.dense_stack()),
            (at.DENSE_FORWARD, forward.dense_forward()),
            (at.CROSS_ENTROPY, forward.cross_entropy()),
            (at.FORWARD, network.forward()),
        ):
            self.table[name] = kernel.address

    def _gradients(self) -> None:
        architecture = self.architecture
        widest = max(inputs for inputs, _ in architecture.layers()) * LANES
        self.table[at.DENSE_GRADIENT_STEP] = widest
        for name, count in (
            (at.GRADIENTS1, architecture.conv1 * 196 * LANES),
            (at.DENSE_GRADIENT, 2 * widest),
            (at.WEIGHT_LANES, architecture.size * LANES),
            (at.GRADIENT, self.parameters),
        ):
            self._reserve(name, count)

    def _backward_kernels(self) -> None:
        firsts = range(0, 6, backward.PATCH_COLUMNS)
        parts = [backward.input_gradient(first).address for first in firsts]
        self._append(at.INPUT_GRADIENTS, [len(parts), *parts])
        for name, kernel in (
            (at.WEIGHT_GRADIENT, backward.weight_gradient()),
            (at.GATE_GRADIENT, backward.gate_gradient()),
            (at.DENSE_BACKWARD, backward.dense_backward()),
            (at.UPDATE, backward.update()),
            (at.GROUP_BACKWARD, network.group_backward()),
        ):
            self.table[name] = kernel.address


@once
def program(architecture: Architecture, training: bool) -> Program:
    """The program of an architecture, compiled on first use."""
    return Program(architecture, training=training)
