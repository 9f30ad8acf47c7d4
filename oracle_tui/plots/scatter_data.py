"""The points of a scatter as a value, and how they become a frame. No widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from oracle_tui.plots.frame import RULE, Frame, draw_frame
from oracle_tui.plots.reduction import CellMap, Ints, reduce_points
from oracle_tui.plots.window import Floats

#: Up to this many points each is one dot; beyond it sub-cells show the density.
FEW = 600

POINT, ANOMALY, PROVISIONAL = "•", "×", "○"  # noqa: RUF001
ORACLE, BEST, L1 = "◆", "★", "■"


def _floats() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class ScatterData:
    """Points of a scatter: finished candidates first, then provisional ones.

    Attributes:
        candidate: candidate number of each finished point [n].
        x: score of each finished point [n].
        y: outcome of each finished point [n].
        anomaly: whether the point is better than the oracle [n].
        oracle, best, l1: index of that point, None where there is none (yet).
        provisional_candidate, provisional_x, provisional_y: points still in training [m].
        x_name, y_name: names of the axes.
        x_log, y_log: whether the arrays are log10 of what the ticks say; see `on_scales`.
    """

    candidate: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    x: Floats = field(default_factory=_floats)
    y: Floats = field(default_factory=_floats)
    anomaly: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    oracle: int | None = None
    best: int | None = None
    l1: int | None = None
    provisional_candidate: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    provisional_x: Floats = field(default_factory=_floats)
    provisional_y: Floats = field(default_factory=_floats)
    x_name: str = "pruned train loss"
    y_name: str = "best test accuracy"
    x_log: bool = False
    y_log: bool = False

    def on_scales(self, x_log: bool, y_log: bool) -> ScatterData:
        """Return the same points for log axes; what is not above 0 has no place there (NaN)."""
        data = self
        if x_log:
            x, extra = _log(data.x), _log(data.provisional_x)
            data = replace(data, x=x, provisional_x=extra, x_log=True)
        if y_log:
            y, extra = _log(data.y), _log(data.provisional_y)
            data = replace(data, y=y, provisional_y=extra, y_log=True)
        return data


def _log(values: Floats) -> Floats:
    found: Floats = np.full(values.shape, np.nan)
    np.log10(values, out=found, where=values > 0)
    return found


def draw_scatter(data: ScatterData, cells: CellMap, cancelled: Callable[[], bool]) -> Frame:
    """Draw a scatter in cell space (any thread)."""
    few = data.x.size <= FEW
    normal = ~data.anomaly
    series = [
        reduce_points(data.provisional_x, data.provisional_y, cells, PROVISIONAL),
        reduce_points(data.x[normal], data.y[normal], cells, POINT if few else "braille"),
        reduce_points(data.x[~normal], data.y[~normal], cells, ANOMALY if few else "quadrant"),
    ]
    points = sum(layer.points for layer in series)
    places = sum(layer.places for layer in series)
    outside = sum(layer.outside for layer in series)
    note = f"{points:,} point{'' if points == 1 else 's'}"
    if places < points:
        note = f"{points:,} in {places:,} cells"
    if outside:
        note += f", {outside:,} outside"
    rules = [] if data.oracle is None else [(float(data.y[data.oracle]), RULE)]
    return draw_frame(
        cells,
        series,
        x_name=f"{data.x_name}{' (log)' if data.x_log else ''} →",
        rules=rules,
        log=(data.x_log, data.y_log),
        note=note,
        cancelled=cancelled,
    )
