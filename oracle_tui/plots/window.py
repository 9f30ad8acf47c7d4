"""Axis limits as values: the data window of a plot, how it zooms, pans and fits its points."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from oracle_tui.plots.ticks import nice_step

Floats = NDArray[np.float64]

#: Points farther than this many interquartile ranges from the box are "far" in a LIVE view.
FAR_RANGES = 4.0


class ViewMode(StrEnum):
    """How the limits of a plot follow its points."""

    LIVE = "LIVE"  # limits follow the points, far outliers left outside
    FROZEN = "FROZEN"  # limits stay where the reader put them
    ALL = "ALL"  # limits follow every point


@dataclass(frozen=True)
class Window:
    """The part of the data plane that a plot shows; low < high on both axes."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def zoomed(self, factor: float, at: tuple[float, float] | None = None) -> Window:
        """Return the window shrunk by ``factor`` about a data point or its middle."""
        x, y = at or ((self.x_low + self.x_high) / 2, (self.y_low + self.y_high) / 2)
        return Window(
            x - (x - self.x_low) / factor,
            x + (self.x_high - x) / factor,
            y - (y - self.y_low) / factor,
            y + (self.y_high - y) / factor,
        )._or(self)

    def panned(self, across: float, up: float) -> Window:
        """Return the window moved by a fraction of its own width and height."""
        dx = across * (self.x_high - self.x_low)
        dy = up * (self.y_high - self.y_low)
        return Window(self.x_low + dx, self.x_high + dx, self.y_low + dy, self.y_high + dy)

    def _or(self, fallback: Window) -> Window:
        """Return self unless floating point can no longer tell its two sides apart."""
        for low, high in ((self.x_low, self.x_high), (self.y_low, self.y_high)):
            if not high - low > 1e-9 * max(abs(low), abs(high), 1e-3) or high - low > 1e12:
                return fallback
        return self


def _near(values: Floats) -> Floats:
    """Drop the values far outside the interquartile box (an empty box drops nothing)."""
    if values.size < 8:
        return values
    first, third = np.quantile(values, (0.25, 0.75))
    reach = FAR_RANGES * (third - first)
    if reach <= 0:
        return values
    near: Floats = values[(values >= first - reach) & (values <= third + reach)]
    return near


def _limits(values: Floats, near_only: bool) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    if near_only:
        values = _near(values)
    if values.size == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 0.05 * abs(low) or 0.5
        return low - margin, high + margin
    margin = 0.04 * (high - low)
    # Whole fractions of a tick step: a live view then moves in rare jumps, not with every point.
    step = nice_step(high - low, 5) / 4
    return (
        float(np.floor((low - margin) / step) * step),
        float(np.ceil((high + margin) / step) * step),
    )


def fit(x: Floats, y: Floats, mode: ViewMode) -> Window:
    """Return the window that shows the points: all of them, or in LIVE all but far outliers.

    Args:
        x: abscissas, any length; non-finite values are ignored.
        y: ordinates, as long as ``x``.
        mode: ``ALL`` for every point, else far outliers stay outside.
    """
    near_only = mode is not ViewMode.ALL
    x_low, x_high = _limits(np.asarray(x, np.float64), near_only)
    y_low, y_high = _limits(np.asarray(y, np.float64), near_only)
    return Window(x_low, x_high, y_low, y_high)
