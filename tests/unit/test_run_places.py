"""Places among glyphs belong to runs, not to their order in a comparison."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from oracle_tui.run_places import places_of

IDS = st.lists(st.text("abcdef0123456789", min_size=1, max_size=6), unique=True, max_size=40)


def test_the_order_does_not_matter() -> None:
    for ids in permutations(["73a173", "8017a1", "0d98c6", "d0258f"]):
        assert places_of(ids, 16, {}) == places_of(sorted(ids), 16, {})


@given(IDS, st.integers(1, 16))
def test_places_are_shared_evenly(ids: list[str], count: int) -> None:
    places = list(places_of(ids, count, {}).values())
    used = [places.count(place) for place in range(count)]
    assert max(used) - min(used) <= 1


@given(IDS, IDS, st.integers(1, 16))
def test_who_was_compared_before_keeps_its_place(
    ids: list[str], more: list[str], count: int
) -> None:
    before = places_of(ids[:count], count, {})
    together = list(dict.fromkeys([*before, *more]))[:count]
    after = places_of(together, count, before)
    assert all(after[run] == before[run] for run in before if run in together)


def test_the_first_places_are_taken_first() -> None:
    for number in range(20):
        ids = [f"{number} {each}" for each in range(8)]
        assert sorted(places_of(ids, 16, {}, first=8).values()) == list(range(8))


def test_a_new_run_leaves_the_places_of_absent_ones_alone() -> None:
    before = places_of(["a", "b", "c"], 16, {})
    for number in range(40):
        assert places_of([f"new {number}"], 16, before)[f"new {number}"] not in before.values()


def test_a_place_follows_from_the_id_alone() -> None:
    assert {run: places_of([run], 16, {})[run] for run in ("73a173", "8017a1")} == {
        run: places_of(["other", run], 16, {})[run] for run in ("73a173", "8017a1")
    }
