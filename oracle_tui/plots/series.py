"""Several named series on one plot: clouds, lines, or points with intervals, each by its glyph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from oracle_tui.plots.frame import RULE, Frame, draw_frame
from oracle_tui.plots.plot import Plot
from oracle_tui.plots.reduction import CellMap, Cells, polyline, reduce_points
from oracle_tui.plots.window import Floats

#: Glyph of the nth series; its colour goes with it, so that neither is needed to tell two apart.
SERIES_GLYPHS = "•+×▪○△◇#"  # noqa: RUF001
INTERVAL = "│"


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
    """Series on common axes; later ones are drawn over earlier ones.

    Attributes:
        series: the series.
        joined: whether the points of each are joined to a line (x ascending).
        x_name: what the x axis is.
        rule: y of a dotted horizontal line, if any.
        log: whether x and y are log10 of what the ticks say.
    """

    series: tuple[Series, ...] = ()
    joined: bool = False
    x_name: str = ""
    rule: float | None = None
    log: tuple[bool, bool] = (False, False)


def draw_series(data: SeriesData, cells: CellMap, cancelled: Callable[[], bool]) -> Frame:
    """Draw series in cell space (any thread)."""
    layers: list[Cells] = []
    for one in data.series:
        if one.low.size:
            layers.append(_bars(one, cells))
    for one in data.series:
        reduce = polyline if data.joined else reduce_points
        layers.append(reduce(one.x, one.y, cells, one.glyph))
    points = sum(len(one.x) for one in data.series)
    outside = 0 if data.joined else sum(layer.outside for layer in layers)
    note = "" if data.joined else f"{points - outside:,} points"
    if outside:
        note += f", {outside:,} outside"
    return draw_frame(
        cells,
        layers,
        x_name=f"{data.x_name} →",
        rules=[] if data.rule is None else [(data.rule, RULE)],
        log=data.log,
        note=note,
        cancelled=cancelled,
    )


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

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"plot--series-{number}" for number in range(len(SERIES_GLYPHS))
    }
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

    def glyph_style(self, glyph: str) -> str:
        """The glyph says the series, and so the colour."""
        if glyph == "◆":
            return "plot--oracle"
        number = SERIES_GLYPHS.find(glyph)
        return "plot--band" if number < 0 else f"plot--series-{number}"
