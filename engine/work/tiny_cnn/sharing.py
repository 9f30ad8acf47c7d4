"""Which sums candidates share: the plan that the scoring kernels follow. Pure Python and numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# All subsets of so many channels, 2**5 entries, make one table.
_CHANNELS_TOGETHER = 5
# A table of released wiring: at least two positions if that needs no more entries than _MOST.
_ENOUGH, _MOST = 64, 256


@dataclass(frozen=True)
class SharingPlan:
    """What each candidate's response to the next layer is summed from.

    Attributes:
        pairs: int32 ``[P, 2]``: filter of the pruned layer, input channel of the next one it meets.
        entries: int32 ``[E, 2]``: an earlier entry and the pair added to it; entry 0 is zero.
        terms: int32 ``[n, T]``: the entries each candidate is the sum of.
    """

    pairs: NDArray[np.int32]
    entries: NDArray[np.int32]
    terms: NDArray[np.int32]

    @classmethod
    def of(
        cls, filters: int, kept: Sequence[Sequence[int]], consumers: Sequence[int] | None
    ) -> SharingPlan:
        """Plan the sums for these candidates.

        How a candidate's channels are grouped depends on itself and `filters` alone, so its sums
        are the same bits whichever other candidates are scored with it.

        Args:
            filters: filters of the unpruned layer.
            kept: each candidate's kept filters, ascending.
            consumers: input channels of the next layer that the kept filters feed, in this order;
                None: each feeds its own.
        """
        pairs: dict[tuple[int, int], int] = {}
        entries: dict[tuple[tuple[int, int], ...], int] = {(): 0}
        rows: list[tuple[int, int]] = [(0, 0)]
        candidates: list[list[int]] = []
        for own in kept:
            meets = own if consumers is None else consumers
            groups: dict[int, list[tuple[int, int]]] = {}
            together = _positions_together(filters, len(own))
            for position, pair in enumerate(zip(own, meets, strict=True)):
                group = pair[0] // _CHANNELS_TOGETHER if consumers is None else position // together
                groups.setdefault(group, []).append(pair)
            terms = []
            for members in groups.values():
                prefix: tuple[tuple[int, int], ...] = ()
                for pair in members:
                    longer = (*prefix, pair)
                    if longer not in entries:
                        entries[longer] = len(rows)
                        rows.append((entries[prefix], pairs.setdefault(pair, len(pairs))))
                    prefix = longer
                terms.append(entries[prefix])
            candidates.append(terms)
        most = max(map(len, candidates))
        padded = [terms + [0] * (most - len(terms)) for terms in candidates]
        return cls(
            np.array(list(pairs), np.int32).reshape(-1, 2),
            np.array(rows, np.int32),
            np.array(padded, np.int32),
        )


def _positions_together(filters: int, kept: int) -> int:
    """How many neighbouring positions of a kept set make one table in released wiring.

    A position can hold ``filters - kept + 1`` different filters, `s` neighbouring ones about as
    many ascending tuples as multisets of that size.
    """
    choices = filters - kept + 1

    def tuples(size: int) -> int:
        return math.comb(choices + size - 1, size)

    size = 1
    while size < kept and tuples(size + 1) <= (_ENOUGH if size > 1 else _MOST):
        size += 1
    return size
