"""Greedy removal and swap search: against all candidates of small spaces, whose best is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from engine.entries import problems_in, read_entries
from engine.presets import QUICK
from engine.work.search import Pruned, greedy_removal, swap_search

FILTERS, PRUNED = (6, 5), (3, 2)


class Landscape:
    """Losses that add up over filters, with an interaction of every pair of lost filters."""

    def __init__(self, seed: int, interaction: float) -> None:
        generator = np.random.default_rng(seed)
        total = sum(FILTERS)
        self.alone = generator.random(total)
        self.together = interaction * generator.standard_normal((total, total))
        self.calls: list[list[Pruned]] = []

    def __call__(self, some: Sequence[Pruned]) -> np.ndarray:
        assert len({tuple(map(len, one)) for one in some}) == 1, "one shape at a time"
        self.calls.append(list(some))
        return np.array([self.loss(one) for one in some])

    def loss(self, one: Pruned) -> float:
        lost = [f + sum(FILTERS[:layer]) for layer, gone in enumerate(one) for f in gone]
        pairs = sum(self.together[a, b] for a, b in itertools.combinations(lost, 2))
        return float(self.alone[lost].sum() + pairs)


def everything() -> list[Pruned]:
    parts = [itertools.combinations(range(n), k) for n, k in zip(FILTERS, PRUNED, strict=True)]
    return [tuple(one) for one in itertools.product(*parts)]


def brute_force_greedy(landscape: Landscape) -> Pruned:
    gone: list[set[int]] = [set() for _ in FILTERS]
    for _ in range(sum(PRUNED)):
        best = None
        for layer, count in enumerate(FILTERS):
            for one in set(range(count)) - gone[layer]:
                if len(gone[layer]) == PRUNED[layer]:
                    continue
                tried = [s | {one} if i == layer else s for i, s in enumerate(gone)]
                loss = landscape.loss(tuple(tuple(sorted(s)) for s in tried))
                if best is None or loss < best[0]:
                    best = (loss, tried)
        assert best is not None
        gone = best[1]
    return tuple(tuple(sorted(s)) for s in gone)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_takes_the_best_filter_at_every_step(seed: int) -> None:
    landscape = Landscape(seed, 0.3)
    found = greedy_removal(FILTERS, PRUNED, landscape, seed=0)
    pick, loss = found.candidates[0]
    assert pick == brute_force_greedy(landscape)
    assert loss == pytest.approx(landscape.loss(pick))
    assert all(tuple(map(len, one)) == PRUNED for one, _ in found.candidates)
    assert found.evaluated == sum(map(len, landscape.calls))


@pytest.mark.parametrize("search", ["greedy", "swap"])
def test_without_interactions_both_find_the_oracle(search: str) -> None:
    landscape = Landscape(1, 0.0)
    best = min(everything(), key=landscape.loss)
    if search == "greedy":
        found = greedy_removal(FILTERS, PRUNED, landscape, seed=0)
    else:
        found = swap_search(FILTERS, ((3, 4, 5), (3, 4)), landscape, seed=0)
    assert found.candidates[0][0] == best


@pytest.mark.parametrize("seed", range(5))
def test_swaps_end_where_no_swap_is_better(seed: int) -> None:
    landscape = Landscape(seed, 0.5)
    start = ((0, 1, 2), (0, 1))
    found = swap_search(FILTERS, start, landscape, seed=0)
    pick, loss = found.candidates[0]
    assert loss <= landscape.loss(start)
    neighbours = [
        one
        for one in everything()
        if sum(len(set(a) - set(b)) for a, b in zip(one, pick, strict=True)) == 1
    ]
    assert len(neighbours) == 3 * 3 + 2 * 3
    assert all(landscape.loss(one) >= loss for one in neighbours)
    seen = list(itertools.chain(*landscape.calls))
    assert len(set(seen)) == len(seen) == found.evaluated == len(found.candidates)


def test_the_same_seed_searches_alike_and_budgets_hold() -> None:
    runs = [greedy_removal(FILTERS, PRUNED, Landscape(2, 0.4), seed=5, budget=20) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].evaluated <= 20
    swaps = swap_search(FILTERS, ((0, 1, 2), (0, 1)), Landscape(2, 0.4), seed=5, budget=20)
    assert swaps.evaluated <= 20


def test_large_neighbourhoods_are_looked_at_in_part() -> None:
    filters, start = (64, 64), (tuple(range(32)), tuple(range(32)))
    weights = np.random.default_rng(0).random((2, 64))

    def losses(some: Sequence[Pruned]) -> np.ndarray:
        return np.array(
            [sum(weights[i, list(part)].sum() for i, part in enumerate(o)) for o in some]
        )

    found = swap_search(filters, start, losses, seed=0, budget=5_000)
    assert found.evaluated <= 5_000
    assert found.candidates[0][1] < losses([start])[0] - 5


def test_candidates_without_a_loss_are_never_picked() -> None:
    def losses(some: Sequence[Pruned]) -> np.ndarray:
        return np.array([math.nan if 0 in one[0] else float(sum(one[0])) for one in some])

    assert greedy_removal((4,), (2,), losses, seed=0).candidates[0][0] == ((1, 2),)
    assert swap_search((4,), ((0, 3),), losses, seed=0).candidates[0][0] == ((1, 2),)


def test_a_search_is_for_samples_and_makes_another_study() -> None:
    spec = read_entries({"candidates": "10", "search": "greedy,swap"}, QUICK)
    assert spec.search == ("greedy", "swap")
    assert spec.rows == 12
    assert spec.hash != spec.with_(search=()).hash
    assert spec.with_(search=()).hash == read_entries({"candidates": "10"}, QUICK).hash
    assert type(spec).from_json(spec.to_json()) == spec
    for entries, says in (
        ({"search": "greedy"}, "All candidates are studied"),
        ({"search": "greedy,swap", "candidates": "44"}, "Only 1 candidates"),
        ({"search": "hill", "candidates": "10"}, "greedy, swap or l1"),
        ({"search": "swap,swap", "candidates": "10"}, "twice"),
    ):
        problems = problems_in(entries, QUICK)
        assert set(problems) == {"search"}
        assert says in problems["search"]
