"""Two studies of the same candidates: by how much their taus differ, and how sure that is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from engine.statistics.concordance import PairOrder
from engine.statistics.intervals import draw_weights, percentile_ends
from engine.statistics.pairs import is_constant

NAN = float("nan")
MINIMUM = 3


@dataclass(frozen=True)
class TauDifference:
    """The second study's tau minus the first's, over the candidates they share.

    Attributes:
        difference: the estimate; NaN when a tau is undefined.
        lower: lower end of its percentile bootstrap interval.
        upper: upper end.
        level: the share of resamples between the ends.
        n: candidates with all four values finite.
        note: what a reader must know; empty when nothing.
    """

    difference: float
    lower: float
    upper: float
    level: float
    n: int
    note: str


def tau_difference(
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    resamples: int = 1_000,
    seed: int = 0,
    level: float = 0.95,
) -> TauDifference:
    """Bootstraps the difference of two taus with the same candidates drawn for both.

    What makes a candidate easy or hard in both studies cancels, so this is narrower than the
    difference of two separate intervals. As they, it says nothing of another base network.

    Args:
        first: score float[n] and outcome float[n] of the first study.
        second: the same of the second study, candidate by candidate.
        resamples: how many resamples.
        seed: the same seed gives the same interval.
        level: the share of resamples between the ends.

    Raises:
        ValueError: the four columns are not of one length.
    """
    table = np.array([*first, *second], dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"expected four columns of one length, got shape {table.shape}")
    table = table[:, np.isfinite(table).all(axis=0)]
    n = table.shape[1]
    if n < MINIMUM:
        return TauDifference(NAN, NAN, NAN, level, n, f"{n} of at least {MINIMUM} candidates")
    if any(is_constant(column) for column in table):
        return TauDifference(NAN, NAN, NAN, level, n, "a column is constant")
    orders = [PairOrder(table[0], table[1]), PairOrder(table[2], table[3])]
    found = np.concatenate(
        [
            orders[1].resampled_tau(weights) - orders[0].resampled_tau(weights)
            for weights in draw_weights(n, resamples, seed)
        ]
    )
    lower, upper = percentile_ends(found[np.isfinite(found)], level)
    estimate = orders[1].counts().tau - orders[0].counts().tau
    return TauDifference(estimate, lower, upper, level, n, "")
