"""How early a candidate's final rank is known: learning curves and short schedules."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.statistics.correlation import Correlation, kendall
from engine.statistics.intervals import tau_interval
from engine.statistics.pairs import FloatArray, IntArray, join_notes

NAN = float("nan")


@dataclass(frozen=True)
class EpochAgreement:
    """Tau-b between accuracy after e epochs and final accuracy, for every e.

    Attributes:
        epoch: int64[E], 1 to E: epochs of retraining done.
        tau: float64[E]; NaN where undefined.
        p: float64[E], two-sided p-values.
        lower: float64[E], lower ends of the pointwise intervals.
        upper: float64[E], upper ends.
        n: int64[E], candidates with both values.
        note: what a reader must know; empty when nothing.
    """

    epoch: IntArray
    tau: FloatArray
    p: FloatArray
    lower: FloatArray
    upper: FloatArray
    n: IntArray
    note: str


def epoch_agreement(curves: ArrayLike, final: ArrayLike, level: float = 0.95) -> EpochAgreement:
    """Correlates every epoch of the learning curves with the final outcome.

    The last epochs agree partly because they are what "final" is made of; read the early ones.

    Args:
        curves: float[n, E], one outcome after each epoch, mean over repeats; NaN where missing.
        final: float[n], the final outcome of the same candidates.
        level: nominal coverage of the intervals.

    Raises:
        ValueError: shapes do not match.
    """
    table = np.asarray(curves, dtype=np.float64)
    last = np.asarray(final, dtype=np.float64)
    if table.ndim != 2 or last.shape != table.shape[:1]:
        raise ValueError(f"expected [n, E] and [n], got {table.shape} and {last.shape}")
    ours = [kendall(column, last) for column in table.T]
    ends = [tau_interval(column, last, level) for column in table.T]
    notes = [c.note and f"epoch {e}: {c.note}" for e, c in enumerate(ours, start=1)]
    shown = [note for note in notes if note]
    if len(shown) > 1:
        shown = [shown[0], f"{len(shown) - 1} more epochs with notes"]
    return EpochAgreement(
        epoch=np.arange(1, len(ours) + 1, dtype=np.int64),
        tau=np.array([c.value for c in ours], dtype=np.float64),
        p=np.array([c.p for c in ours], dtype=np.float64),
        lower=np.array([i.lower for i in ends], dtype=np.float64),
        upper=np.array([i.upper for i in ends], dtype=np.float64),
        n=np.array([c.n for c in ours], dtype=np.int64),
        note=join_notes(shown),
    )


def budget_agreement(
    short_candidate: NDArray[np.uint32],
    short: FloatArray,
    full_candidate: NDArray[np.uint32],
    full: FloatArray,
) -> Correlation:
    """Tau-b between final outcomes on a short and on the full schedule, matched by candidate.

    Args:
        short_candidate: uint32[a], distinct candidates of the short schedule.
        short: float64[a], their outcomes.
        full_candidate: uint32[b], distinct candidates of the full schedule.
        full: float64[b], their outcomes.
    """
    _, at_short, at_full = np.intersect1d(
        short_candidate, full_candidate, assume_unique=True, return_indices=True
    )
    found = kendall(np.asarray(short)[at_short], np.asarray(full)[at_full])
    alone = len(short_candidate) + len(full_candidate) - 2 * len(at_short)
    note = f"{alone} candidates are on one schedule only" if alone else ""
    return Correlation(found.value, found.p, found.n, join_notes((found.note, note)))
