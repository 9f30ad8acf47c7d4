"""How strongly a score and an outcome go together: Kendall, Spearman, Pearson, weighted tau."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from engine.statistics.pairs import Pairs, complete_pairs, join_notes

NAN = float("nan")


@dataclass(frozen=True)
class Correlation:
    """One correlation coefficient.

    Attributes:
        value: -1 to 1; NaN when undefined, and then `note` says why.
        p: two-sided p-value against "no association"; NaN where none exists.
        n: candidates it was computed from.
        note: what a reader must know; empty when nothing.
    """

    value: float
    p: float
    n: int
    note: str


def kendall(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Kendall's tau-b with its p-value, as `scipy.stats.kendalltau` gives them.

    Args:
        x: float[n].
        y: float[n]; candidates with a NaN on either side are dropped.
    """
    pairs = complete_pairs(x, y)
    if not pairs.usable:
        return _undefined(pairs)
    result = stats.kendalltau(pairs.x, pairs.y)
    return Correlation(float(result.statistic), float(result.pvalue), pairs.n, pairs.note)


def spearman(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Spearman's rank correlation (mean ranks on ties); arguments as in `kendall`."""
    pairs = complete_pairs(x, y)
    if not pairs.usable:
        return _undefined(pairs)
    result = stats.spearmanr(pairs.x, pairs.y)
    return Correlation(float(result.statistic), float(result.pvalue), pairs.n, pairs.note)


def pearson(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Pearson's correlation; arguments as in `kendall`.

    It follows single far-out losses, which pruned networks have; read it beside a rank
    correlation, never alone.
    """
    pairs = complete_pairs(x, y)
    if not pairs.usable:
        return _undefined(pairs)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what scipy would warn of is said in the note instead
        result = stats.pearsonr(pairs.x, pairs.y)
    value = float(result.statistic)
    overflow = "" if np.isfinite(value) else "values too large or too alike for Pearson"
    return Correlation(value, float(result.pvalue), pairs.n, join_notes((pairs.note, overflow)))


def weighted_tau(score: ArrayLike, outcome: ArrayLike) -> Correlation:
    """Kendall's tau with the most weight on the candidates of the lowest score (Vigna 2015).

    Hyperbolic additive weights, ranks by score from the lowest (ties: by outcome, so that the
    order of the candidates does not matter). No p-value exists for it.

    Args:
        score: float[n], low is what a pruner would choose.
        outcome: float[n]; candidates with a NaN on either side are dropped.
    """
    pairs = complete_pairs(score, outcome)
    if not pairs.usable:
        return _undefined(pairs)
    rank = np.empty(pairs.n, dtype=np.intp)
    rank[np.lexsort((pairs.y, pairs.x))] = np.arange(pairs.n)
    result = stats.weightedtau(pairs.x, pairs.y, rank=rank)
    return Correlation(float(result.statistic), NAN, pairs.n, pairs.note)


def _undefined(pairs: Pairs) -> Correlation:
    return Correlation(NAN, NAN, pairs.n, pairs.note)
