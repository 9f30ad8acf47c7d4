"""The rows of a run in memory: an upsert map keyed by (candidate, repeat). No files may enter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.store.layout import (
    CURVE_COLUMNS,
    MAX_CURVE_BYTES,
    MAX_ROWS,
    PRUNED_DTYPE,
    Curves,
    Pruned,
    Rows,
    RunLayout,
    row_keys,
)


class RunTable:
    """Rows, learning curves and pruned indices; a later upsert of a key replaces the earlier."""

    def __init__(self, layout: RunLayout, capacity: int = 64) -> None:
        self.layout = layout
        self.pruned: dict[int, Pruned] = {}
        self._rows: Rows = np.zeros(capacity, layout.dtype)
        self._curves: Curves = np.empty(self._curve_shape(capacity), np.float32)
        self._at: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._at)

    @property
    def rows(self) -> Rows:
        """The rows in the order they first came: structured[n]. A view: do not change it."""
        return self._rows[: len(self._at)]

    @property
    def curves(self) -> Curves:
        """float32[n, epochs, 4] aligned with `rows`. A view: do not change it."""
        return self._curves[: len(self._at)]

    def position(self, candidate: int, repeat: int) -> int | None:
        """Return where a row stands in `rows`, or None."""
        return self._at.get((candidate << 16) | repeat)

    def upsert(
        self, rows: Rows, curves: Curves | None, pruned: Mapping[int, Pruned] | None = None
    ) -> None:
        """Add or replace rows with their curves (None: no curves are known, so NaN).

        Raises:
            ValueError: the run would become larger than a run file can be.
        """
        self.require_room(len(rows))
        keys = row_keys(rows).tolist()
        places: NDArray[np.intp] = np.empty(len(keys), np.intp)
        for i, key in enumerate(keys):
            places[i] = self._at.setdefault(key, len(self._at))
        self._grow(len(self._at))
        # NumPy keeps the last of two assignments to one place, which is what an upsert means.
        self._rows[places] = rows
        self._curves[places] = np.nan if curves is None else curves
        if pruned:
            self.pruned.update(pruned)

    def require_room(self, n: int) -> None:
        """Raise ValueError where `n` more rows would not fit a run file."""
        total = len(self._at) + n
        row_bytes = max(1, 4 * self.layout.epochs * len(CURVE_COLUMNS))
        if total > MAX_ROWS or total * row_bytes > MAX_CURVE_BYTES:
            raise ValueError(f"{total} rows of {self.layout.epochs} epochs do not fit a run file")

    def order(self) -> NDArray[np.intp]:
        """Return the positions of the rows sorted by (candidate, repeat)."""
        return np.argsort(row_keys(self.rows), kind="stable")

    def _curve_shape(self, n: int) -> tuple[int, int, int]:
        return (n, self.layout.epochs, len(CURVE_COLUMNS))

    def _grow(self, n: int) -> None:
        capacity = len(self._rows)
        if n <= capacity:
            return
        capacity = max(n, capacity + capacity // 2)
        rows: Rows = np.zeros(capacity, self.layout.dtype)
        curves = np.empty(self._curve_shape(capacity), np.float32)
        rows[: len(self._rows)] = self._rows
        curves[: len(self._curves)] = self._curves
        self._rows, self._curves = rows, curves


def flatten_pruned(per_layer: list[list[int]]) -> Pruned:
    """Return the pruned filters of one candidate as pairs of (layer, index).

    Raises:
        ValueError: a layer or an index does not fit 16 bits.
    """
    total = sum(len(indices) for indices in per_layer)
    flat: Pruned = np.empty(total, PRUNED_DTYPE)
    start = 0
    for layer, indices in enumerate(per_layer):
        if indices and (min(indices) < 0 or max(indices) > 0xFFFF):
            raise ValueError(f"a pruned filter of layer {layer} does not fit 16 bits")
        end = start + len(indices)
        flat["layer"][start:end] = layer
        flat["index"][start:end] = indices
        start = end
    return flat


def unflatten_pruned(flat: Pruned, n_layers: int) -> list[list[int]]:
    """Return pairs of (layer, index) as one list of indices per layer."""
    per_layer: list[list[int]] = [[] for _ in range(n_layers)]
    for layer, index in flat.tolist():
        per_layer[layer].append(index)
    return per_layer
