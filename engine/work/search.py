"""Looking for the oracle where not all candidates can be tried: greedy removal, and swaps.

Both are guided by the pruned train loss with shared scoring. They look at sets of filters through
one function that scores many at once; networks and files may not enter.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Filters lost, one tuple per pruned layer.
Pruned = tuple[tuple[int, ...], ...]
# Pruned train losses, float64[n], of sets that lose equally many filters of each layer.
Losses = Callable[[Sequence[Pruned]], NDArray[np.float64]]

# Networks that one search evaluates at most; beyond it, steps look at a random part of the options.
BUDGET = 20_000
_SWAPS_AT_A_TIME = 512
_FRUITLESS_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What a search saw.

    Attributes:
        candidates: Complete candidates with their pruned train loss, lowest first.
        evaluated: How many networks were evaluated, incomplete ones too.
    """

    candidates: tuple[tuple[Pruned, float], ...]
    evaluated: int


def greedy_removal(
    filters: Sequence[int],
    pruned: Sequence[int],
    losses: Losses,
    seed: int,
    budget: int = BUDGET,
) -> Found:
    """Removes the one filter whose loss raises the train loss least, until enough are gone.

    Every step looks at every filter of every layer that has some to lose. Where that is more than
    the budget, it looks at an equal, random part of them (Mirzasoleiman et al., AAAI 2015).

    Args:
        filters: Filters of each layer.
        pruned: How many each layer loses.
        losses: The loss of sets that lose equally many filters of each layer.
        seed: Chooses the part that is looked at.
        budget: Networks to evaluate at most.
    """
    generator = random.Random(f"{seed}/greedy")
    at_a_step = max(1, budget // sum(pruned))
    gone: Pruned = tuple(() for _ in filters)
    last: list[tuple[Pruned, float]] = []
    evaluated = 0
    for _ in range(sum(pruned)):
        options = [
            (layer, _with(gone, layer, one))
            for layer, count in enumerate(filters)
            if len(gone[layer]) < pruned[layer]
            for one in range(count)
            if one not in gone[layer]
        ]
        if len(options) > at_a_step:
            options = sorted(generator.sample(options, at_a_step))
        last = []
        for layer in dict.fromkeys(place for place, _ in options):
            some = [option for place, option in options if place == layer]
            last.extend(_scored(some, losses))
        evaluated += len(last)
        gone = min(last, key=_by_loss)[0]
    return Found(tuple(sorted(last, key=_by_loss)), evaluated)


def swap_search(
    filters: Sequence[int],
    start: Pruned,
    losses: Losses,
    seed: int,
    budget: int = BUDGET,
) -> Found:
    """Exchanges one lost filter for a kept one of its layer, always the best such swap.

    It ends where no swap is better. Where a candidate has more than 512 swaps a round looks at a
    random 512, and three rounds without a better one end it.

    Args:
        filters: Filters of each layer.
        start: The candidate to begin with.
        losses: The loss of candidates.
        seed: Chooses the swaps that are looked at.
        budget: Networks to evaluate at most.
    """
    generator = random.Random(f"{seed}/swap")
    here, best = _scored([start], losses)[0]
    seen = {here: best}
    fruitless = 0
    while len(seen) < budget and fruitless < _FRUITLESS_ROUNDS:
        options = _swaps(here, filters)
        everything = len(options) <= _SWAPS_AT_A_TIME
        if not everything:
            options = sorted(generator.sample(options, _SWAPS_AT_A_TIME))
        fresh = [option for option in options if option not in seen][: budget - len(seen)]
        if fresh:
            seen.update(_scored(fresh, losses))
        candidate, loss = min(((o, seen[o]) for o in options if o in seen), key=_by_loss)
        if loss < best:
            here, best, fruitless = candidate, loss, 0
        elif everything:
            break
        else:
            fruitless += 1
    return Found(tuple(sorted(seen.items(), key=_by_loss)), len(seen))


def _swaps(here: Pruned, filters: Sequence[int]) -> list[Pruned]:
    swaps = []
    for layer, count in enumerate(filters):
        for gone in here[layer]:
            rest = tuple(tuple(f for f in part if f != gone) if i == layer else part
                         for i, part in enumerate(here))  # fmt: skip
            swaps += [_with(rest, layer, one) for one in range(count) if one not in here[layer]]
    return swaps


def _with(gone: Pruned, layer: int, one: int) -> Pruned:
    return tuple(
        tuple(sorted((*part, one))) if place == layer else part for place, part in enumerate(gone)
    )


def _scored(options: Sequence[Pruned], losses: Losses) -> list[tuple[Pruned, float]]:
    """Pairs options with their losses; one that is not finite is as bad as can be."""
    found = losses(options)
    return [
        (one, float(loss) if np.isfinite(loss) else np.inf)
        for one, loss in zip(options, found, strict=True)
    ]


def _by_loss(scored: tuple[Pruned, float]) -> tuple[float, Pruned]:
    """Lowest loss first; of equal ones the first in order of filters."""
    candidate, loss = scored
    return loss, candidate
