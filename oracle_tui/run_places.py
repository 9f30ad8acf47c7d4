"""Which place among the glyphs, and so among the colours, a run has in comparisons. No widget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b


def places_of(
    ids: Sequence[str], count: int, before: Mapping[str, int], *, first: int | None = None
) -> dict[str, int]:
    """Give each run a place, the same one in every comparison as far as there are enough of them.

    A run has a liking for each place, which follows from its id alone, and takes the best of those
    that are free. One that was given a place before keeps it; a new one leaves the places of
    runs that are not compared now alone while there are others.

    Args:
        ids: runs that are compared; their order does not matter.
        count: how many places there are; more runs than that share them evenly.
        before: places that were given to these and to other runs.
        first: how many places, the first ones, are to be taken before the others.
    """
    found: dict[str, int] = {}
    left = sorted(set(ids))
    spoken_for = {place for run, place in before.items() if run not in left}
    while left:
        free = set(range(count))
        wishes = sorted(
            (
                before.get(run) != place,
                place in spoken_for,
                first is not None and place >= first,
                -_liking(run, place),
                run,
                place,
            )
            for run in left
            for place in free
        )
        for *_, run, place in wishes:
            if place in free and run not in found:
                found[run] = place
                free.discard(place)
        left = [run for run in left if run not in found]
    return found


def _liking(run: str, place: int) -> int:
    return int.from_bytes(blake2b(f"{place} {run}".encode(), digest_size=8).digest())
