"""Tau as a line over the number of finished candidates, while a run goes on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from engine.statistics.concordance import PairOrder
from engine.statistics.intervals import interval_from_counts
from engine.statistics.pairs import MINIMUM_CANDIDATES, FloatArray, IntArray, complete_pairs

GRID_POINTS = 200


@dataclass(frozen=True)
class RunningTau:
    """Tau after the first n candidates, for growing n.

    Attributes:
        n: int64[g], increasing; the last is the number of candidates with both values.
        tau: float64[g]; NaN while a column is constant.
        lower: float64[g], lower end of the pointwise interval.
        upper: float64[g], upper end.
        note: what a reader must know; empty when nothing.
    """

    n: IntArray
    tau: FloatArray
    lower: FloatArray
    upper: FloatArray
    note: str


def running_grid(n: int, points: int = GRID_POINTS) -> IntArray:
    """At most `points` values of n from 3 to n: every one while they fit, else evenly spaced."""
    if n < MINIMUM_CANDIDATES:
        return np.empty(0, dtype=np.int64)
    count = min(points, n - MINIMUM_CANDIDATES + 1)
    return np.unique(np.linspace(n, MINIMUM_CANDIDATES, count).round().astype(np.int64))


def running_tau(
    score: ArrayLike, outcome: ArrayLike, points: int = GRID_POINTS, level: float = 0.95
) -> RunningTau:
    """Tau-b and its live interval over growing prefixes.

    Sorts once; each grid point then costs O(n log n) without a sort.

    Args:
        score: float[n], in the order in which the candidates finished.
        outcome: float[n], same order; candidates with a NaN on either side are dropped.
        points: the most grid points.
        level: nominal pointwise coverage of the interval.
    """
    pairs = complete_pairs(score, outcome)
    grid = running_grid(pairs.n, points)
    order = PairOrder(pairs.x, pairs.y)
    rows = np.array([interval_from_counts(order.counts(int(n)), level)[:3] for n in grid])
    tau, lower, upper = rows.reshape(len(grid), 3).T.copy()
    return RunningTau(grid, tau, lower, upper, pairs.note)
