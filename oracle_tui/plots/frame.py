"""One drawn plot as text: plotext draws axes, ticks and glyphs in cell space. No widget here.

plotext is given cell coordinates and limits on the grid's edges, never data, so that where a point
appears is ours to say: the canvas begins after the tick labels and the axis line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oracle_tui.plots import ticks as tick_marks
from oracle_tui.plots.reduction import CellMap, Cells
from oracle_tui.plots.window import Window

#: Columns left of the canvas (tick labels, axis line) and rows under it (axis line, labels, name).
LEFT = tick_marks.LABEL_WIDTH + 1
BELOW = 3

#: A plain horizontal line, and one that marks the most that can be reached.
RULE, CEILING = "┈", "╌"

# plotext keeps one figure for the process; every frame is drawn on it from scratch.
_FIGURE = threading.Lock()


class FrameCancelled(Exception):
    """A newer frame was asked for while this one waited for its turn."""


@dataclass(frozen=True)
class Frame:
    """A drawn plot: text rows, and the grid that says which data each canvas cell shows."""

    rows: tuple[str, ...]
    cells: CellMap
    note: str = ""

    @property
    def width(self) -> int:
        """Columns of the whole frame."""
        return LEFT + self.cells.width

    @property
    def height(self) -> int:
        """Rows of the whole frame."""
        return BELOW + self.cells.height


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """Return columns and rows left for the canvas in a widget of that size (may be < 1)."""
    return width - LEFT, height - BELOW


def draw_frame(
    cells: CellMap,
    layers: Sequence[Cells],
    *,
    x_name: str,
    x_whole: bool = False,
    rules: Sequence[tuple[float, str]] = (),
    log: tuple[bool, bool] = (False, False),
    note: str = "",
    cancelled: Callable[[], bool] = lambda: False,
) -> Frame:
    """Draw the layers, later ones over earlier ones, with axes and ticks around them.

    Args:
        cells: grid of the canvas and its window.
        layers: reduced series.
        x_name: name under the x axis.
        x_whole: whether x is a count, with ticks at whole numbers only.
        rules: y and glyph of horizontal lines under the points.
        log: whether x and y are log10 of what the ticks say.
        note: what the reader should know about the frame, kept with it.
        cancelled: asked once this frame has its turn.

    Raises:
        FrameCancelled: ``cancelled`` said so.
    """
    import plotext

    window = cells.window
    with _FIGURE:
        if cancelled():
            raise FrameCancelled
        plotext.terminal.limit(False, False)
        figure = plotext.figure
        figure.clear()
        figure.plot_size(LEFT + cells.width, BELOW + cells.height)
        figure.axes(False, side="upper", axis="x")
        figure.axes(False, side="right", axis="y")
        for axis, length in (("x", cells.width), ("y", cells.height)):
            ruler = figure.ruler(axis)
            ruler.lim(0, length)
            ruler.alignment(lim="edge")
        _ticks(figure, window, cells, log, x_whole)
        figure.label(x_name[: cells.width], "x")
        for height, glyph in rules:
            if window.y_low <= height <= window.y_high:
                _draw_rule(plotext, figure, height, glyph, cells)
        markers: dict[str, object] = {}
        for layer in layers:
            glyphs = []
            for glyph in layer.glyphs:
                if glyph not in markers:
                    markers[glyph] = plotext.marker(glyph)
                glyphs.append(markers[glyph])
            if glyphs:
                xs = (layer.columns + 0.5).tolist()
                ys = (cells.height - 0.5 - layer.rows).tolist()
                figure.draw(figure.signal(xs, ys, marker=glyphs))
        text = figure.build().string(True)
    rows = tuple(row.ljust(LEFT + cells.width) for row in text.split("\n")[: BELOW + cells.height])
    return Frame(rows, cells, note)


def _ticks(
    figure: object, window: Window, cells: CellMap, log: tuple[bool, bool], x_whole: bool
) -> None:
    for axis, low, high, length, room, is_log in (
        ("x", window.x_low, window.x_high, cells.width, max(2, cells.width // 9), log[0]),
        ("y", window.y_low, window.y_high, cells.height, max(2, cells.height // 3), log[1]),
    ):
        if is_log:
            values = tick_marks.log_ticks(low, high, room)
            shown = [10.0**value for value in values]
            names = [tick_marks.label(value, tick_marks.own_step(value)) for value in shown]
        else:
            step = tick_marks.nice_step(high - low, room)
            values = tick_marks.ticks(low, high, room)
            if axis == "x" and x_whole:
                step, values = max(step, 1.0), tick_marks.whole(values)
            names = [tick_marks.label(value, step) for value in values]
        places = [(value - low) / (high - low) * length for value in values]
        if axis == "x":
            names = [name.strip() for name in names]
        ruler = figure.ruler(axis)  # type: ignore[attr-defined]
        ruler.ticks([min(place, length - 1e-6) for place in places], labels=names)


def _draw_rule(plotext: object, figure: object, rule: float, glyph: str, cells: CellMap) -> None:
    import numpy as np

    row = int(cells.rows(np.array([rule]))[0])
    marker = plotext.marker(glyph)  # type: ignore[attr-defined]
    xs = [column + 0.5 for column in range(cells.width)]
    ys = [cells.height - 0.5 - row] * cells.width
    figure.draw(figure.signal(xs, ys, marker=[marker] * cells.width))  # type: ignore[attr-defined]
