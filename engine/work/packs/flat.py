"""Between the kernels' rows of numbers and the names of a pack's state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# Names of the tensors in the order of a row, each with the shape of one candidate's.
Shapes = Sequence[tuple[str, tuple[int, ...]]]


def named(flat: Tensor, shapes: Shapes, prefix: str = "") -> dict[str, Tensor]:
    """Returns copies of the parts of rows, (K, size or more), by prefix and name, (K, ...)."""
    found, start = {}, 0
    for name, shape in shapes:
        end = start + math.prod(shape)
        found[prefix + name] = flat[:, start:end].reshape(len(flat), *shape).clone()
        start = end
    return found


def rows(state: Mapping[str, Tensor], shapes: Shapes, prefix: str = "") -> Tensor:
    """Returns the tensors of a state, (K, ...), as rows, (K, size)."""
    return torch.cat([state[prefix + name].flatten(1) for name, _ in shapes], 1)
