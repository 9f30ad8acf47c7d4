"""The pairs a statistic is computed from: what is kept, what is dropped, and a note saying so.

Every statistic starts here, so that missing and diverged candidates are treated one way.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MINIMUM_CANDIDATES = 3
"""With two candidates every rank correlation is plus or minus one and says nothing."""


@dataclass(frozen=True)
class Pairs:
    """The candidates whose two values are both finite.

    Attributes:
        x: float64[n], usually a score.
        y: float64[n], usually an outcome.
        index: int64[n], positions of the kept candidates in the arrays that were given.
        dropped: how many candidates were left out.
        note: why the statistics of these pairs need care; empty when they do not.
    """

    x: FloatArray
    y: FloatArray
    index: IntArray
    dropped: int
    note: str

    @property
    def n(self) -> int:
        """How many candidates are kept."""
        return len(self.x)

    @property
    def usable(self) -> bool:
        """Whether a rank correlation is defined: enough candidates and neither side constant."""
        return self.n >= MINIMUM_CANDIDATES and not is_constant(self.x) and not is_constant(self.y)


def is_constant(values: FloatArray) -> bool:
    """Whether all values are equal (also true of no values)."""
    return len(values) == 0 or bool(values.min() == values.max())


def join_notes(notes: Iterable[str]) -> str:
    """Joins the notes that say something, each once, in order."""
    return "; ".join(dict.fromkeys(note for note in notes if note))


def complete_pairs(x: ArrayLike, y: ArrayLike) -> Pairs:
    """Keeps the candidates with two finite values and says what is wrong with the rest.

    Args:
        x: float[n].
        y: float[n], NaN where a candidate diverged or is not finished.

    Raises:
        ValueError: the arrays are not one-dimensional and of equal length.
    """
    first = np.asarray(x, dtype=np.float64)
    second = np.asarray(y, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"expected two equally long columns, got {first.shape} and {second.shape}")
    keep = np.isfinite(first) & np.isfinite(second)
    index = np.flatnonzero(keep).astype(np.int64)
    kept_x, kept_y = first[keep], second[keep]
    dropped = len(first) - len(index)
    return Pairs(kept_x, kept_y, index, dropped, _note(kept_x, kept_y, dropped))


def _note(x: FloatArray, y: FloatArray, dropped: int) -> str:
    notes = []
    if dropped:
        noun = "candidate" if dropped == 1 else "candidates"
        notes.append(f"{dropped} {noun} without a finite value dropped")
    if len(x) < MINIMUM_CANDIDATES:
        notes.append(f"{len(x)} of at least {MINIMUM_CANDIDATES} candidates")
    else:
        if is_constant(x):
            notes.append("all scores are equal")
        if is_constant(y):
            notes.append("all outcomes are equal")
    return join_notes(notes)
