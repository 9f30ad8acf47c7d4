"""The candidates: how many, which, and that their ids never change."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.space import CandidateSpace, pruned_count, unrank_combination

FIRST_OF_SEED_0 = ((0, 6, 7, 8, 9),)
THIRD_OF_SEED_0 = ((1, 2, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 19, 20, 22, 30, 31, 35, 38, 39),)
ORDER_OF_SEED_0 = [8, 10, 0, 24, 20]


@pytest.mark.parametrize(
    ("ratio", "candidates"),
    [(0.2, 45), (0.3, 120), (0.4, 210), (0.5, 252), (0.6, 210), (0.7, 120), (0.8, 45)],
)
def test_the_protocols_candidate_counts(ratio, candidates):
    assert len(CandidateSpace((10,), (pruned_count(10, ratio),), None, 0)) == candidates


def test_an_exact_product_stays_exact():
    assert pruned_count(100, 0.07) == 7  # 7.000000000000001 in floats
    assert pruned_count(10, 0.3) == 3
    assert pruned_count(10, 0.21) == 3
    assert pruned_count(64, 0.4375) == 28


@given(st.integers(1, 500), st.integers(1, 999))
def test_pruned_count_is_the_ceiling_of_the_written_ratio(filters, thousandths):
    assert pruned_count(filters, thousandths / 1000) == -(-filters * thousandths // 1000)


@pytest.mark.parametrize(("n", "k"), [(5, 0), (5, 1), (6, 3), (10, 2), (7, 7)])
def test_ranks_are_lexicographic(n, k):
    expected = list(itertools.combinations(range(n), k))
    assert [unrank_combination(rank, n, k) for rank in range(len(expected))] == expected


def test_all_candidates_of_two_layers_are_the_product_in_order():
    space = CandidateSpace((4, 3), (2, 1), None, 0)
    expected = list(
        itertools.product(itertools.combinations(range(4), 2), itertools.combinations(range(3), 1))
    )
    assert [space[candidate] for candidate in range(len(space))] == expected


def test_a_larger_sample_begins_with_the_smaller_one():
    small = CandidateSpace((10, 10), (5, 5), 50, 3)
    large = CandidateSpace((10, 10), (5, 5), 500, 3)
    assert [small[i] for i in range(50)] == [large[i] for i in range(50)]


@pytest.mark.parametrize("filters", [(10,), (10, 10), (40,)])
def test_a_sample_is_without_replacement_and_follows_the_seed(filters):
    pruned = tuple(n // 2 for n in filters)
    total = math.prod(math.comb(n, k) for n, k in zip(filters, pruned, strict=True))
    size = min(total, 252)
    space = CandidateSpace(filters, pruned, size, 1)
    drawn = [space[i] for i in range(size)]
    assert len(set(drawn)) == size
    for candidate in drawn:
        for removed, n, k in zip(candidate, filters, pruned, strict=True):
            assert list(removed) == sorted(set(removed))
            assert len(removed) == k
            assert 0 <= removed[0] <= removed[-1] < n
    again, other = (CandidateSpace(filters, pruned, size, seed) for seed in (1, 2))
    assert drawn == [again[i] for i in range(size)]
    assert drawn != [other[i] for i in range(size)]


def test_sampled_candidates_are_spread_over_the_space():
    """Each of 40 filters is removed by about half of the candidates, not only the first ones."""
    space = CandidateSpace((40,), (20,), 1_000, 0)
    counts = [0] * 40
    for candidate in range(1_000):
        for index in space[candidate][0]:
            counts[index] += 1
    assert min(counts) > 420
    assert max(counts) < 580


@pytest.mark.parametrize("sample", [0, -1, 253])
def test_a_sample_that_does_not_exist_is_refused(sample):
    with pytest.raises(UsageError, match="Between 1 and 252"):
        CandidateSpace((10,), (5,), sample, 0)


def test_too_many_candidates_ask_for_a_sample():
    with pytest.raises(UsageError, match="sample some"):
        CandidateSpace((40,), (20,), None, 0)


@pytest.mark.parametrize("candidate", [-1, 45])
def test_ids_outside_are_no_candidates(candidate):
    with pytest.raises(IndexError):
        CandidateSpace((10,), (2,), None, 0)[candidate]


def test_work_order_holds_every_candidate_once_and_follows_the_seed():
    space = CandidateSpace((10,), (5,), None, 4)
    order = space.work_order()
    assert sorted(order) == list(range(252))
    assert order != sorted(order)
    assert order == CandidateSpace((10,), (5,), None, 4).work_order()
    assert order != CandidateSpace((10,), (5,), None, 5).work_order()


def test_ids_of_a_sample_do_not_move_between_versions():
    """Written down once: another order would give old runs other candidates under the same ids."""
    assert CandidateSpace((10,), (5,), 3, 0)[0] == FIRST_OF_SEED_0
    assert CandidateSpace((40,), (20,), 3, 0)[2] == THIRD_OF_SEED_0
    assert CandidateSpace((10,), (2,), None, 0).work_order()[:5] == ORDER_OF_SEED_0


def test_formula_is_what_a_person_would_write():
    assert CandidateSpace((10,), (2,), None, 0).formula() == "C(10,2) = 45"
    two = CandidateSpace((10, 10), (5, 5), 1_000, 0)
    assert two.formula() == "1,000 of C(10,5) x C(10,5) = 63,504"
