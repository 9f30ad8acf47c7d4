"""The oracle: which candidate the lowest score picks, and how good a pick that was."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from engine.statistics.pairs import complete_pairs, join_notes

NAN = float("nan")


@dataclass(frozen=True)
class OracleRegret:
    """What trusting the lowest score costs.

    Attributes:
        oracle: position of the candidate with the lowest score, first on ties; -1 when there is
            none.
        best: position of the candidate with the best outcome, first on ties; -1 when none.
        regret: best outcome minus the oracle's (for a loss: the oracle's minus the best); at
            least 0, in the outcome's unit.
        rank: the oracle's rank by outcome, 1 is best; 1 + how many are strictly better.
        n: candidates compared.
        note: what a reader must know; empty when nothing.
    """

    oracle: int
    best: int
    regret: float
    rank: int
    n: int
    note: str


@dataclass(frozen=True)
class TopOverlap:
    """How many of the k best by score are among the k best by outcome.

    Attributes:
        k: how many were compared; at most n.
        shared: how many are in both.
        overlap: shared / k; NaN when there are no candidates.
        by_chance: k / n, what a random score reaches on average.
        n: candidates compared.
        note: what a reader must know; empty when nothing.
    """

    k: int
    shared: int
    overlap: float
    by_chance: float
    n: int
    note: str


def oracle_index(score: ArrayLike) -> int:
    """Position of the lowest finite score, the first on ties; -1 when there is none."""
    values = np.asarray(score, dtype=np.float64)
    finite = np.flatnonzero(np.isfinite(values))
    return int(finite[np.argmin(values[finite])]) if len(finite) else -1


def oracle_note(score: ArrayLike, oracle: int) -> str:
    """Says so when the lowest score of all belongs to a candidate that has no outcome."""
    first = oracle_index(score)
    if oracle in (-1, first):
        return ""
    return f"the lowest score (row {first}) has no outcome; the oracle is the lowest that has one"


def oracle_regret(
    score: ArrayLike, outcome: ArrayLike, higher_is_better: bool = True
) -> OracleRegret:
    """Compares the oracle with the best candidate.

    Args:
        score: float[n], low is what the oracle picks.
        outcome: float[n]; candidates with a NaN on either side are dropped.
        higher_is_better: true for accuracies, false for losses.
    """
    pairs = complete_pairs(score, outcome)
    if pairs.n == 0:
        return OracleRegret(-1, -1, NAN, 0, 0, pairs.note)
    gain = pairs.y if higher_is_better else -pairs.y
    chosen, best = int(np.argmin(pairs.x)), int(np.argmax(gain))
    oracle = int(pairs.index[chosen])
    return OracleRegret(
        oracle=oracle,
        best=int(pairs.index[best]),
        regret=float(gain[best] - gain[chosen]),
        rank=1 + int((gain > gain[chosen]).sum()),
        n=pairs.n,
        note=join_notes((pairs.note, oracle_note(score, oracle))),
    )


def top_overlap(
    score: ArrayLike, outcome: ArrayLike, k: int, higher_is_better: bool = True
) -> TopOverlap:
    """Overlap of the k lowest scores with the k best outcomes; ties are cut first come first.

    Args:
        score: float[n].
        outcome: float[n]; candidates with a NaN on either side are dropped.
        k: how many to compare.
        higher_is_better: true for accuracies, false for losses.

    Raises:
        ValueError: k is below one.
    """
    if k < 1:
        raise ValueError(f"k is {k}, needs at least 1")
    pairs = complete_pairs(score, outcome)
    if pairs.n == 0:
        return TopOverlap(0, 0, NAN, NAN, 0, pairs.note)
    k = min(k, pairs.n)
    gain = pairs.y if higher_is_better else -pairs.y
    chosen = np.argsort(pairs.x, kind="stable")[:k]
    best = np.argsort(-gain, kind="stable")[:k]
    shared = len(np.intersect1d(chosen, best))
    return TopOverlap(k, shared, shared / k, k / pairs.n, pairs.n, pairs.note)
