"""A p-value that knows that candidates share filters: tau after the filters are renamed at random.

The usual p takes candidates for independent. Two candidates that lose the same filters are not: of
252 candidates of ten filters, ten numbers can decide both columns.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.statistics.concordance import pair_counts
from engine.statistics.pairs import FloatArray, IntArray, complete_pairs

NAN = float("nan")
_Words = NDArray[np.uint64]
_WORK = 5_000_000
"""Candidates times renamings at most, so that an n of 50,000 takes seconds; 99 at least."""
_LEAST = 99


@dataclass(frozen=True)
class RenamedTau:
    """How often chance gives a tau as far from 0, where only the filters' names are chance.

    Attributes:
        tau: tau-b of the candidates; NaN when undefined.
        p: share of renamings, the given names among them, with a tau as far from 0; NaN when
            there is none.
        spread: standard deviation of tau over the renamings; NaN when there is none.
        renamings: how many were drawn.
        n: candidates compared.
        note: what a reader must know; empty when nothing.
    """

    tau: float
    p: float
    spread: float
    renamings: int
    n: int
    note: str


def renamed_tau(
    score: ArrayLike,
    outcome: ArrayLike,
    lost: NDArray[np.bool_],
    filters: tuple[int, ...],
    renamings: int = 2_000,
    seed: int = 0,
) -> RenamedTau:
    """Tests tau against outcomes whose filters are renamed at random (Mantel 1967).

    Each renaming permutes the filters of every layer and gives a candidate the outcome of the
    candidate that it is then. How candidates overlap stays as it is; which filters matter for the
    outcome has nothing to do any more with which matter for the score. It needs every candidate
    there is: a renamed candidate of a sample is most often not in it.

    Args:
        score: float[n].
        outcome: float[n]; all values must be finite.
        lost: bool[n, sum of filters], the filters that each candidate loses, layer after layer.
        filters: filters of each layer.
        renamings: how many; fewer where n is large.
        seed: the same seed draws the same renamings.

    Raises:
        ValueError: the arrays do not belong together.
    """
    pairs = complete_pairs(score, outcome)
    gone = np.asarray(lost, dtype=bool)
    if gone.shape != (pairs.n + pairs.dropped, sum(filters)):
        raise ValueError(f"expected [n, {sum(filters)}] lost filters, got {gone.shape}")
    if not pairs.usable:
        return RenamedTau(NAN, NAN, NAN, 0, pairs.n, pairs.note)
    tau = pair_counts(pairs.x, pairs.y).tau
    if pairs.dropped or not _are_all(gone, filters):
        note = "filters can be renamed only where every candidate there is has an outcome"
        return RenamedTau(tau, NAN, NAN, 0, pairs.n, note)
    rng = np.random.default_rng(seed)
    names = _Names(gone, rng)
    count = max(min(renamings, _WORK // pairs.n), _LEAST)
    taus = np.array([_tau(pairs.x, pairs.y[names.renamed(filters)]) for _ in range(count)])
    as_far = int((np.abs(taus) >= abs(tau) - 1e-12).sum())
    return RenamedTau(
        tau, (1 + as_far) / (1 + count), float(taus.std()), count, pairs.n, pairs.note
    )


def _tau(x: FloatArray, y: FloatArray) -> float:
    return pair_counts(x, y).tau


class _Names:
    """Finds candidates by the filters they lose."""

    def __init__(self, gone: NDArray[np.bool_], rng: np.random.Generator) -> None:
        self._gone, self._rng = gone, rng
        # A sum of random 64-bit numbers, one for each filter, names a set of filters.
        self._words: _Words = rng.integers(0, 1 << 63, gone.shape[1:], dtype=np.uint64)
        keys = self._keys(self._words)
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def renamed(self, filters: tuple[int, ...]) -> IntArray:
        """int64[n]: which candidate each one is after a random renaming of each layer's filters."""
        starts = np.cumsum((0, *filters[:-1]))
        order = np.concatenate(
            [start + self._rng.permutation(n) for start, n in zip(starts, filters, strict=True)]
        )
        places = np.searchsorted(self._sorted, self._keys(self._words[order]))
        return np.asarray(self._order[places], dtype=np.int64)

    def _keys(self, words: _Words) -> _Words:
        keys: _Words = np.zeros(len(self._gone), dtype=np.uint64)
        for place, word in enumerate(words):
            keys[self._gone[:, place]] += word
        return keys


def _are_all(gone: NDArray[np.bool_], filters: tuple[int, ...]) -> bool:
    """Whether these are, each once, all candidates that lose so many filters of each layer."""
    counts = [part.sum(axis=1) for part in np.split(gone, np.cumsum(filters)[:-1], axis=1)]
    if any((count != count[0]).any() for count in counts):
        return False
    total = math.prod(math.comb(n, int(c[0])) for n, c in zip(filters, counts, strict=True))
    return total == len(gone) == len(np.unique(np.packbits(gone, axis=1), axis=0))
