"""The family of networks the fused kernels know, told from the shapes in a state dict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError

Floats = NDArray[np.float32]
State = dict[str, Floats]


@dataclass(frozen=True)
class Architecture:
    """A LeNet: three 5x5 convolutions on a 32x32 grey image, then fully connected layers.

    conv1 and conv2 are followed by ReLU and a 2x2 max-pool, conv3 (output 1x1) and every fully
    connected layer but the last by ReLU.

    Attributes:
        conv1: filters of conv1.
        conv2: filters of conv2.
        conv3: filters of conv3.
        dense: outputs of fc1, fc2, ...; the last is the number of classes.
    """

    conv1: int
    conv2: int
    conv3: int
    dense: tuple[int, ...]

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Architecture:
        """Read the architecture from parameter shapes.

        Args:
            state: arrays or tensors by their torch names.

        Raises:
            UsageError: the names or shapes are not those of such a network.
        """
        layers = sum(name.startswith("fc") and name.endswith(".weight") for name in state)
        try:
            conv1, conv2, conv3 = (int(state[f"conv{i}.weight"].shape[0]) for i in (1, 2, 3))
            found = cls(
                conv1,
                conv2,
                conv3,
                tuple(int(state[f"fc{i + 1}.weight"].shape[0]) for i in range(layers)),
            )
        except (KeyError, AttributeError, IndexError):
            raise UsageError(
                "The network has no layers conv1, conv2, conv3, fc1, ...: use the plain pack."
            ) from None
        expected = dict(found.shapes())
        given = {name: tuple(value.shape) for name, value in state.items()}
        if given != expected or not layers or 0 in (found.conv1, found.conv2, found.conv3):
            wrong = sorted(n for n in {*given, *expected} if given.get(n) != expected.get(n))
            raise UsageError(
                "The network is not of the LeNet family "
                f"(look at {', '.join(wrong[:3]) or 'fc1'}): use the plain pack."
            )
        return found

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.dense[-1]

    def layers(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the layers computed as fully connected ones: conv3, fc1, fc2, ..."""
        sizes = [25 * self.conv2, self.conv3, *self.dense]
        return list(pairwise(sizes))

    def shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of all parameters in the order they are stored."""
        shapes: list[tuple[str, tuple[int, ...]]] = []
        channels = (1, self.conv1, self.conv2, self.conv3)
        for i in (1, 2, 3):
            shapes.append((f"conv{i}.weight", (channels[i], channels[i - 1], 5, 5)))
            shapes.append((f"conv{i}.bias", (channels[i],)))
        widths = (self.conv3, *self.dense)
        for i in range(1, len(widths)):
            shapes.append((f"fc{i}.weight", (widths[i], widths[i - 1])))
            shapes.append((f"fc{i}.bias", (widths[i],)))
        return shapes

    def offsets(self) -> dict[str, int]:
        """Where each parameter begins in the flat array of one candidate."""
        offsets, total = {}, 0
        for name, shape in self.shapes():
            offsets[name] = total
            total += math.prod(shape)
        return offsets

    @property
    def size(self) -> int:
        """Number of parameters of one network."""
        return sum(math.prod(shape) for _, shape in self.shapes())

    def flatten(self, states: Sequence[Mapping[str, Any]], padded: int) -> Floats:
        """Parameters of several networks as one float32 array ``[networks][padded]``.

        Raises:
            UsageError: the networks have different shapes.
        """
        flat = np.zeros((len(states), padded), np.float32)
        for row, state in zip(flat, states, strict=True):
            if Architecture.of(state) != self:
                raise UsageError("The networks of one pack must all have the same shapes.")
            offset = 0
            for name, shape in self.shapes():
                count = math.prod(shape)
                row[offset : offset + count] = np.asarray(state[name], np.float32).reshape(-1)
                offset += count
        return flat

    def unflatten(self, flat: Floats) -> list[State]:
        """The inverse of `flatten`; the arrays are copies."""
        states: list[State] = []
        for row in flat:
            state, offset = {}, 0
            for name, shape in self.shapes():
                count = math.prod(shape)
                state[name] = row[offset : offset + count].reshape(shape).copy()
                offset += count
            states.append(state)
        return states


def supports(state: Mapping[str, Any]) -> bool:
    """Whether the fused kernels can compute the network of this state dict."""
    try:
        Architecture.of(state)
    except UsageError:
        return False
    return True
