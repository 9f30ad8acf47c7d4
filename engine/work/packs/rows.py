"""K states in one tensor: a row a candidate, in which every part of a network begins aligned."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

# Libraries choose other algorithms for pointers that are aligned less well, so a part must lie as
# well in every row: 256 bytes of float32, as memory that was asked for by itself.
_ALIGNED = 64


class Rows:
    """Where the parts of a state lie in a row."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Takes the shape of each part, of one candidate."""
        self._shapes = dict(shapes)
        self._starts: dict[str, int] = {}
        self.width = 0
        for name, shape in self._shapes.items():
            self._starts[name] = self.width
            self.width += -(-math.prod(shape) // _ALIGNED) * _ALIGNED

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """Returns every part of all rows, (K, ...), in the memory of the rows, (K, width)."""
        found = {}
        for name, shape in self._shapes.items():
            start = self._starts[name]
            part = rows[:, start : start + math.prod(shape)]
            found[name] = part.view(len(rows), *shape)
        return found

    def filled(
        self, parts: Mapping[str, Tensor], size: int, device: torch.device, rest: float = 0.0
    ) -> Tensor:
        """Returns rows, (size, width), with these parts, (size, ...); elsewhere is `rest`.

        They are of the type that `rest` is of: bool, int64 or float32.
        """
        dtype = torch.tensor(rest).dtype
        rows = torch.full((size, self.width), rest, dtype=dtype, device=device)
        views = self.views(rows)
        for name, part in parts.items():
            views[name].copy_(part)
        return rows
