"""A line over an interval band: tau while candidates finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from oracle_tui.plots.frame import CEILING, RULE, Frame, draw_frame
from oracle_tui.plots.plot import Plot
from oracle_tui.plots.reduction import CellMap, band, polyline
from oracle_tui.plots.window import Floats, ViewMode, Window

BAND = "░"


def _floats() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class LineData:
    """A line y(x) [n], x ascending, with the interval [low, high] [n] around it (NaN: none)."""

    x: Floats = field(default_factory=_floats)
    y: Floats = field(default_factory=_floats)
    low: Floats = field(default_factory=_floats)
    high: Floats = field(default_factory=_floats)
    x_name: str = "n"
    x_whole: bool = False  # whether x is a count
    y_name: str = "tau"
    rule: float | None = 0.0
    ceiling: float | None = None  # of |y|; drawn on both sides
    bounds: tuple[float, float] | None = None  # y never leaves them

    @property
    def rules(self) -> list[tuple[float, str]]:
        """Horizontal lines: y and glyph."""
        lines = [] if self.rule is None else [(self.rule, RULE)]
        if self.ceiling is not None:
            lines += [(-self.ceiling, CEILING), (self.ceiling, CEILING)]
        return lines


def draw_line(data: LineData, cells: CellMap, cancelled: Callable[[], bool]) -> Frame:
    """Draw a line and its band in cell space (any thread)."""
    layers = [band(data.x, data.low, data.high, cells, BAND), polyline(data.x, data.y, cells)]
    return draw_frame(
        cells,
        layers,
        x_name=f"{data.x_name} →",
        x_whole=data.x_whole,
        rules=[*data.rules],
        cancelled=cancelled,
    )


class LinePlot(Plot):
    """One line with its interval; its limits zoom, pan, freeze and follow like a scatter's."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty line plot."""
        super().__init__(id=id, classes=classes)
        self.data = LineData()

    def set_data(self, data: LineData) -> None:
        """Show this line from the next frame on."""
        self.data = data
        self.data_changed()

    def extent(self) -> tuple[Floats, Floats]:
        """Fit the line, its band and the rule."""
        data = self.data
        y = np.concatenate([data.y, data.low, data.high, [height for height, _ in data.rules]])
        return data.x, y

    def _follow(self) -> None:
        super()._follow()
        if self.mode is ViewMode.FROZEN or self.data.bounds is None or not self.data.x.size:
            return
        lowest, highest = self.data.bounds
        window = self.window
        low, high = max(window.y_low, lowest), min(window.y_high, highest)
        if low < high:
            left, right = float(self.data.x[0]), float(self.data.x[-1])
            x = (left, right) if right > left else (window.x_low, window.x_high)
            self.window = Window(*x, low, high)

    def painter(self) -> Callable[[CellMap, Callable[[], bool]], Frame]:
        """Draw the line of this moment."""
        data = self.data
        return lambda cells, cancelled: draw_line(data, cells, cancelled)

    def glyph_style(self, glyph: str) -> str:
        """Shade is the band, braille the line."""
        return "plot--band" if glyph == BAND else "plot--line"
