"""Pure functions between data and character cells: thousands of points become a few glyphs.

A cell holds one glyph. Braille splits it into 2 x 4 sub-cells and quadrant blocks into 2 x 2, so a
cell of either still tells where in it its points lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oracle_tui.plots.window import Floats, Window

Ints = NDArray[np.int64]

#: Bit of each braille dot, [row in the cell][column in the cell] (Unicode chart U+2800).
_BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.int64)
_QUADRANT_BITS = np.array([[0x1, 0x2], [0x4, 0x8]], np.int64)
_QUADRANTS = np.array([ord(c) for c in " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"], np.int64)


@dataclass(frozen=True)
class CellMap:
    """Data plane <-> cell grid. Row 0 is the top row; limits lie on the grid's outer edges."""

    window: Window
    width: int
    height: int

    def columns(self, x: Floats, split: int = 1) -> Ints:
        """Return the (sub-)column of each x; -1 where it lies outside or is not finite."""
        span = self.window.x_high - self.window.x_low
        return _slots((x - self.window.x_low) / span, self.width * split)

    def rows(self, y: Floats, split: int = 1) -> Ints:
        """Return the (sub-)row of each y, from the top; -1 outside or not finite."""
        span = self.window.y_high - self.window.y_low
        return _slots((self.window.y_high - y) / span, self.height * split)

    def data(self, column: int, row: int) -> tuple[float, float]:
        """Return the data point at the middle of a cell."""
        window = self.window
        return (
            window.x_low + (column + 0.5) / self.width * (window.x_high - window.x_low),
            window.y_high - (row + 0.5) / self.height * (window.y_high - window.y_low),
        )


def _slots(fraction: Floats, count: int) -> Ints:
    # The upper limit itself belongs to the last slot, as the lower one belongs to the first.
    with np.errstate(invalid="ignore"):
        inside = (fraction >= -1e-12) & (fraction <= 1 + 1e-12)
        slots = np.floor(np.where(inside, fraction, 0.0) * count).astype(np.int64)
    return np.where(inside, np.clip(slots, 0, count - 1), -1)


@dataclass(frozen=True)
class Cells:
    """Glyphs of one series on the grid: at most one a cell, each with its column and row.

    ``points`` lie inside the window, ``outside`` do not, and ``places`` counts the distinct
    sub-cells that the points fall into.
    """

    columns: Ints
    rows: Ints
    glyphs: str
    points: int
    outside: int
    places: int


def reduce_points(x: Floats, y: Floats, cells: CellMap, glyph: str) -> Cells:
    """Reduce points to glyphs.

    Args:
        x: abscissas [n].
        y: ordinates [n].
        cells: the grid and its window.
        glyph: ``"braille"``, ``"quadrant"``, or one character drawn once a cell.
    """
    across, down = {"braille": (2, 4), "quadrant": (2, 2)}.get(glyph, (1, 1))
    columns = cells.columns(np.asarray(x, np.float64), across)
    rows = cells.rows(np.asarray(y, np.float64), down)
    inside = (columns >= 0) & (rows >= 0)
    points = int(np.count_nonzero(inside))
    wide = cells.width * across
    places = np.unique(rows[inside] * wide + columns[inside])
    sub_rows, sub_columns = places // wide, places % wide
    cell_of = (sub_rows // down) * cells.width + sub_columns // across
    unique, where = np.unique(cell_of, return_inverse=True)
    if glyph in ("braille", "quadrant"):
        bits = _BRAILLE_BITS if glyph == "braille" else _QUADRANT_BITS
        masks = np.zeros(unique.size, np.int64)
        np.bitwise_or.at(masks, where, bits[sub_rows % down, sub_columns % across])
        codes = masks + 0x2800 if glyph == "braille" else _QUADRANTS[masks]
        glyphs = "".join(map(chr, codes.tolist()))
    else:
        glyphs = glyph * unique.size
    return Cells(
        columns=unique % cells.width,
        rows=unique // cells.width,
        glyphs=glyphs,
        points=points,
        outside=int(inside.size - points),
        places=int(places.size),
    )


def polyline(x: Floats, y: Floats, cells: CellMap, glyph: str = "braille") -> Cells:
    """Reduce a line through points (x ascending) to glyphs, one height per sub-column.

    Jumps between neighbouring sub-columns are filled, so the line has no holes.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = np.asarray(x, np.float64)[finite], np.asarray(y, np.float64)[finite]
    if x.size == 0:
        return reduce_points(x, y, cells, glyph)
    window = cells.window
    count = cells.width * 2
    centres = window.x_low + (np.arange(count) + 0.5) / count * (window.x_high - window.x_low)
    half = (window.x_high - window.x_low) / count / 2
    reached = (centres >= x[0] - half) & (centres <= x[-1] + half)
    centres = centres[reached]
    heights = np.interp(centres, x, y)
    height = (window.y_high - window.y_low) / (cells.height * 4)
    xs, ys = [centres], [heights]
    for left, right, at in zip(heights[:-1], heights[1:], centres[1:], strict=True):
        steps = min(int(abs(right - left) / height), cells.height * 4)
        if steps > 1:
            ys.append(np.linspace(left, right, steps + 1))
            xs.append(np.full(steps + 1, at))
    return reduce_points(np.concatenate(xs), np.concatenate(ys), cells, glyph)


def band(x: Floats, low: Floats, high: Floats, cells: CellMap, glyph: str = "░") -> Cells:
    """Reduce an interval band around a line (x ascending) to shaded cells."""
    finite = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    x, low, high = x[finite], low[finite], high[finite]
    empty = np.zeros(0)
    if x.size == 0:
        return reduce_points(empty, empty, cells, glyph)
    window = cells.window
    centres = window.x_low + (np.arange(cells.width) + 0.5) / cells.width * (
        window.x_high - window.x_low
    )
    half = (window.x_high - window.x_low) / cells.width / 2
    centres = centres[(centres >= x[0] - half) & (centres <= x[-1] + half)]
    middles = cells.window.y_high - (np.arange(cells.height) + 0.5) / cells.height * (
        window.y_high - window.y_low
    )
    lows, highs = np.interp(centres, x, low), np.interp(centres, x, high)
    filled = (middles[:, None] >= lows[None, :]) & (middles[:, None] <= highs[None, :])
    rows, columns = np.nonzero(filled)
    return reduce_points(centres[columns], middles[rows], cells, glyph)


def nearest(columns: Ints, rows: Ints, column: float, row: float) -> int | None:
    """Return the index of the point nearest to a cell, in cell space (a row is two columns tall).

    Points with column or row -1 (outside the window) do not count.
    """
    inside = (columns >= 0) & (rows >= 0)
    if not inside.any():
        return None
    distance = (columns - column) ** 2 + (2 * (rows - row)) ** 2
    return int(np.argmin(np.where(inside, distance, np.iinfo(np.int64).max)))


def neighbour(columns: Ints, rows: Ints, current: int, across: int, up: int) -> int | None:
    """Return the index of the nearest point in a direction, None where there is none.

    Args:
        columns: cell column of each point, -1 outside the window.
        rows: cell row of each point from the top, -1 outside.
        current: index of the point to go from.
        across: -1 left, 1 right, 0 neither.
        up: -1 down, 1 up, 0 neither.
    """
    d_columns = columns - columns[current]
    d_rows = 2 * (rows - rows[current])
    along = d_columns * across - d_rows * up
    aside = np.abs(d_rows if across else d_columns)
    ahead = (columns >= 0) & (rows >= 0) & (along > 0)
    if not ahead.any():
        return None
    # Sideways distance counts double: the cursor keeps to its direction where it can.
    cost = np.where(ahead, along + 2 * aside, np.iinfo(np.int64).max)
    return int(np.argmin(cost))
