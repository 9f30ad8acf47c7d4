"""The anomaly ratio: how many candidates beat the oracle, and how far that hangs on one candidate.

A candidate is an anomaly when it ends strictly better than the one with the lowest score.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from engine.statistics.intervals import draw_weights, percentile_ends
from engine.statistics.pairs import FloatArray, Pairs, complete_pairs

NAN = float("nan")
REFERENCES = 5


@dataclass(frozen=True)
class AnomalyRatio:
    """Share of candidates strictly better than the oracle, never shown without its range.

    Attributes:
        ratio: 0 to 1, of ALL n candidates (the oracle included); NaN when there are none.
        lowest: the smallest ratio when each of the lowest-score candidates is the reference.
        highest: the largest of these.
        by_reference: those ratios, from the lowest score upwards; the first is `ratio`.
        n: candidates compared.
        note: what a reader must know; empty when nothing.
    """

    ratio: float
    lowest: float
    highest: float
    by_reference: tuple[float, ...]
    n: int
    note: str


@dataclass(frozen=True)
class AnomalyInterval:
    """A bootstrap interval of the anomaly ratio.

    Attributes:
        ratio: the estimate; NaN when there are no candidates.
        lower: lower end.
        upper: upper end.
        level: the share of resamples between the ends.
        n: candidates compared.
        note: what a reader must know; empty when nothing.
    """

    ratio: float
    lower: float
    upper: float
    level: float
    n: int
    note: str


def anomaly_ratio(
    score: ArrayLike,
    outcome: ArrayLike,
    higher_is_better: bool = True,
    references: int = REFERENCES,
) -> AnomalyRatio:
    """The anomaly ratio, and its range over the candidates of the lowest scores.

    Args:
        score: float[n].
        outcome: float[n]; candidates with a NaN on either side are dropped.
        higher_is_better: true for accuracies, false for losses.
        references: how many low-score candidates take the oracle's place in turn.
    """
    pairs = complete_pairs(score, outcome)
    if pairs.n == 0:
        return AnomalyRatio(NAN, NAN, NAN, (), 0, pairs.note)
    gain = _gain(pairs, higher_is_better)
    low = np.argsort(pairs.x, kind="stable")[: max(references, 1)]
    ratios = tuple(float((gain > gain[i]).mean()) for i in low)
    return AnomalyRatio(ratios[0], min(ratios), max(ratios), ratios, pairs.n, pairs.note)


def bootstrap_anomaly(
    score: ArrayLike,
    outcome: ArrayLike,
    higher_is_better: bool = True,
    resamples: int = 1_000,
    seed: int = 0,
    level: float = 0.95,
) -> AnomalyInterval:
    """Percentile bootstrap of the anomaly ratio; each resample has its own oracle.

    The oracle is a minimum, so the bootstrap jumps among the few lowest-score candidates. It
    shows how unsteady the ratio is; it is not an interval of proven coverage.

    Args:
        score: float[n].
        outcome: float[n]; candidates with a NaN on either side are dropped.
        higher_is_better: true for accuracies, false for losses.
        resamples: how many resamples.
        seed: the same seed gives the same interval.
        level: the share of resamples between the ends.
    """
    pairs = complete_pairs(score, outcome)
    if pairs.n == 0:
        return AnomalyInterval(NAN, NAN, NAN, level, 0, pairs.note)
    order = np.argsort(pairs.x, kind="stable")
    gain = _gain(pairs, higher_is_better)[order]
    ratios = []
    for weights in draw_weights(pairs.n, resamples, seed):
        oracles = (weights > 0).argmax(axis=0)
        for oracle in np.unique(oracles):
            mine = weights[:, oracles == oracle]
            ratios.append((gain > gain[oracle]).astype(np.float64) @ mine / pairs.n)
    lower, upper = percentile_ends(np.concatenate(ratios), level)
    ratio = float((gain > gain[0]).mean())
    return AnomalyInterval(ratio, lower, upper, level, pairs.n, pairs.note)


def _gain(pairs: Pairs, higher_is_better: bool) -> FloatArray:
    return pairs.y if higher_is_better else -pairs.y
