"""A box drawn on a plot's cells: what it holds and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oracle_tui.plots.plot import Mark
from oracle_tui.plots.reduction import Ints


@dataclass(frozen=True)
class Box:
    """Two opposite corners as (column, row); both belong to it."""

    start: tuple[int, int]
    end: tuple[int, int]
    dragged: bool  # by the mouse, else by the cursor

    @property
    def sides(self) -> tuple[int, int, int, int]:
        """Left, right, top and bottom."""
        (a, b), (c, d) = self.start, self.end
        return min(a, c), max(a, c), min(b, d), max(b, d)

    def holds(self, columns: Ints, rows: Ints) -> np.ndarray:
        """Return which of the cells lie in the box, as bool[n]; -1 (outside the window) never."""
        left, right, top, bottom = self.sides
        inside: np.ndarray = (
            (columns >= left) & (columns <= right) & (rows >= top) & (rows <= bottom)
        )
        return inside


def box_marks(box: Box) -> list[Mark]:
    """Return the outline as marks."""
    left, right, top, bottom = box.sides
    marks = [
        Mark(column, row, "─", "plot--box")
        for row in {top, bottom}
        for column in range(left + 1, right)
    ]
    marks += [
        Mark(column, row, "│", "plot--box")
        for column in {left, right}
        for row in range(top + 1, bottom)
    ]
    corners = ((left, top, "┌"), (right, top, "┐"), (left, bottom, "└"), (right, bottom, "┘"))
    return marks + [Mark(column, row, glyph, "plot--box") for column, row, glyph in corners]
