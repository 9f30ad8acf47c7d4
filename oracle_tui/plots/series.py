"""Several named series on one plot: clouds, lines, or points with intervals, each by its glyph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import ClassVar

import numpy as np
from rich.style import Style

from oracle_tui.plots.frame import RULE, Frame, draw_frame
from oracle_tui.plots.plot import Plot
from oracle_tui.plots.reduction import CellMap, Cells, polyline, reduce_points
from oracle_tui.plots.window import Floats

#: Glyph of the nth series; a colour goes with it, so that no two glyphs look alike without one.
SERIES_GLYPHS = "•+×▪○△◇#▲=□▽@%~&"  # noqa: RUF001
#: The first glyphs have a colour each; the others share these, in the same order.
COLOURS = 8
INTERVAL = "│"

#: Neighbouring cells that one series keeps where several share them: a change of colour is dear.
TURN = 4


#: Columns between two intervals at the same place.
APART = 2


def _floats() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class Series:
    """One series: y(x) [n], with [low, high] [n] around it where they are not empty."""

    name: str
    glyph: str
    x: Floats
    y: Floats
    low: Floats = field(default_factory=_floats)
    high: Floats = field(default_factory=_floats)


@dataclass(frozen=True)
class SeriesData:
    """Series on common axes.

    Attributes:
        series: the series; later lines are drawn over earlier ones, points take turns.
        joined: whether the points of each are joined to a line (x ascending).
        x_name: what the x axis is.
        x_whole: whether x is a count.
        rule: y of a dotted horizontal line, if any.
        log: whether x and y are log10 of what the ticks say.
    """

    series: tuple[Series, ...] = ()
    joined: bool = False
    x_name: str = ""
    x_whole: bool = False
    rule: float | None = None
    log: tuple[bool, bool] = (False, False)

    def same(self, other: SeriesData) -> bool:
        """Whether the other one looks the same, point for point."""
        if replace(self, series=()) != replace(other, series=()):
            return False
        return len(self.series) == len(other.series) and all(
            (mine.name, mine.glyph) == (its.name, its.glyph)
            and all(
                np.array_equal(getattr(mine, name), getattr(its, name), equal_nan=True)
                for name in ("x", "y", "low", "high")
            )
            for mine, its in zip(self.series, other.series, strict=True)
        )


def draw_series(data: SeriesData, cells: CellMap, cancelled: Callable[[], bool]) -> Frame:
    """Draw series in cell space (any thread)."""
    series = data.series if data.joined else beside_each_other(data.series, cells)
    layers = [_bars(one, cells) for one in series if one.low.size]
    outside = 0
    if data.joined:
        layers += [polyline(one.x, one.y, cells, one.glyph) for one in series]
    else:
        clouds = [reduce_points(one.x, one.y, cells, one.glyph) for one in series]
        outside = sum(cloud.outside for cloud in clouds)
        layers += take_turns(clouds, cells)
    points = sum(len(one.x) for one in data.series)
    note = "" if data.joined else f"{points - outside:,} points"
    if outside:
        note += f", {outside:,} outside"
    return draw_frame(
        cells,
        layers,
        x_name=f"{data.x_name} →",
        x_whole=data.x_whole,
        rules=[] if data.rule is None else [(data.rule, RULE)],
        log=data.log,
        note=note,
        cancelled=cancelled,
    )


def beside_each_other(series: Sequence[Series], cells: CellMap) -> list[Series]:
    """Draw points with intervals that share a column two columns apart, each with its own bar.

    In one column their bars would look like a single long interval.
    """
    step = (cells.window.x_high - cells.window.x_low) / cells.width
    taken: Counter[int] = Counter()
    result = []
    for one in series:
        column = int(cells.columns(one.x)[0]) if one.x.size == one.low.size == 1 else -1
        if column >= 0:
            before = taken[column]
            taken[column] += 1
            side = 1 if before % 2 else -1
            result.append(replace(one, x=one.x + side * ((before + 1) // 2) * APART * step))
        else:
            result.append(one)
    return result


def take_turns(layers: Sequence[Cells], cells: CellMap) -> list[Cells]:
    """Give each cell that several layers share to one of them, in turns: none hides another."""
    places = [layer.rows * cells.width + layer.columns for layer in layers]
    present = np.zeros(cells.width * cells.height, np.int64)
    for place in places:
        present[place] += 1
    column, row = np.arange(present.size) % cells.width, np.arange(present.size) // cells.width
    turn = (column // TURN + row) % np.maximum(present, 1)
    result = []
    for layer, place in zip(layers, places, strict=True):
        kept = turn[place] == 0
        turn[place] -= 1
        glyphs = "".join(compress(layer.glyphs, kept))
        columns, rows = layer.columns[kept], layer.rows[kept]
        result.append(replace(layer, columns=columns, rows=rows, glyphs=glyphs))
    return result


def _bars(one: Series, cells: CellMap) -> Cells:
    """Intervals as vertical bars, one row apart."""
    step = (cells.window.y_high - cells.window.y_low) / cells.height
    heights = [
        np.arange(low, high + step / 2, step) if np.isfinite(low + high) else np.zeros(0)
        for low, high in zip(one.low, one.high, strict=True)
    ]
    x = np.repeat(one.x, [len(each) for each in heights])
    return reduce_points(x, np.concatenate([*heights, np.zeros(0)]), cells, INTERVAL)


class SeriesPlot(Plot):
    """Series that zoom, pan, freeze and follow like a scatter."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"plot--series-{number}" for number in range(COLOURS)}
    DEFAULT_CSS = """
    SeriesPlot {
        & > .plot--series-0 { color: $text-primary; }
        & > .plot--series-1 { color: $text-warning; }
        & > .plot--series-2 { color: $text-success; }
        & > .plot--series-3 { color: $text-accent; }
        & > .plot--series-4 { color: $text-secondary; }
        & > .plot--series-5 { color: $text-error; }
        & > .plot--series-6 { color: $foreground; }
        & > .plot--series-7 { color: $text-muted; }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty plot."""
        super().__init__(id=id, classes=classes)
        self.data = SeriesData()

    def set_data(self, data: SeriesData) -> None:
        """Show these series from the next frame on."""
        self.data = data
        self.data_changed()

    def extent(self) -> tuple[Floats, Floats]:
        """Fit every series with its intervals, and the rule."""
        series, rule = self.data.series, self.data.rule
        y = [values for one in series for values in (one.y, one.low, one.high)]
        return (
            np.concatenate([*(one.x for one in series), np.zeros(0)]),
            np.concatenate([*y, [] if rule is None else [rule], np.zeros(0)]),
        )

    def painter(self) -> Callable[[CellMap, Callable[[], bool]], Frame]:
        """Draw the series of this moment."""
        data = self.data
        return lambda cells, cancelled: draw_series(data, cells, cancelled)

    def pen(self, glyph: str) -> Style:
        """Return the colour of a glyph, for the words that say whose it is."""
        return Style(color=self.get_component_rich_style(self.glyph_style(glyph)).color)

    def glyph_style(self, glyph: str) -> str:
        """The glyph says the series, and so the colour; without colours no shades of grey do."""
        if glyph == "◆":
            return "plot--oracle"
        number = SERIES_GLYPHS.find(glyph)
        if number < 0:
            return "plot--band"
        return f"plot--series-{0 if self.app.no_color else number % COLOURS}"
