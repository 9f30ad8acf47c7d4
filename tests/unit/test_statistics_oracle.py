import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.statistics import (
    anomaly_ratio,
    bootstrap_anomaly,
    oracle_index,
    oracle_regret,
    top_overlap,
)

values = st.integers(0, 6).map(float)
columns = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(values, min_size=n, max_size=n), st.lists(values, min_size=n, max_size=n)
    )
)
nan = math.nan


def test_the_oracle_is_the_first_of_the_lowest_scores():
    assert oracle_index([3.0, 1.0, 1.0]) == 1
    assert oracle_index([nan, 2.0]) == 1
    assert oracle_index([nan]) == oracle_index([]) == -1


@given(columns, st.booleans())
@settings(max_examples=60, deadline=None)
def test_anomalies_are_counted_against_all_candidates(pair, higher):
    score, outcome = pair
    oracle = score.index(min(score))
    better = sum(o > outcome[oracle] if higher else o < outcome[oracle] for o in outcome)
    found = anomaly_ratio(score, outcome, higher)
    assert found.ratio == pytest.approx(better / len(score))
    assert found.ratio == found.by_reference[0]
    assert found.lowest == min(found.by_reference) <= found.highest == max(found.by_reference)
    assert len(found.by_reference) == min(5, len(score))


def test_ties_with_the_oracle_are_no_anomalies():
    assert anomaly_ratio([1, 2, 3, 4], [0.5, 0.5, 0.5, 0.6]).ratio == 0.25


def test_the_range_follows_the_five_lowest_scores():
    score = np.arange(10.0)
    accuracy = np.array([0.9, 0.1, 0.5, 0.3, 0.7, 0.95, 0.2, 0.4, 0.6, 0.8])
    found = anomaly_ratio(score, accuracy)
    expected = [(accuracy > accuracy[i]).mean() for i in range(5)]
    assert found.by_reference == pytest.approx(tuple(expected))
    assert (found.lowest, found.highest) == pytest.approx((0.1, 0.9))


def test_anomaly_bootstrap_is_that_of_drawn_candidates():
    rng = np.random.default_rng(2)
    score, accuracy = rng.permutation(40).astype(float), rng.normal(size=40)
    ratios = []
    for _ in range(4000):
        drawn = rng.integers(0, 40, 40)
        oracle = drawn[score[drawn].argmin()]
        ratios.append((accuracy[drawn] > accuracy[oracle]).mean())
    found = bootstrap_anomaly(score, accuracy, resamples=4000)
    assert (found.lower, found.upper) == pytest.approx(
        np.quantile(ratios, [0.025, 0.975]), abs=0.05
    )
    assert found.ratio == anomaly_ratio(score, accuracy).ratio
    assert found == bootstrap_anomaly(score, accuracy, resamples=4000)


@given(columns, st.booleans())
@settings(max_examples=60, deadline=None)
def test_regret_and_rank_are_those_of_a_plain_search(pair, higher):
    score, outcome = pair
    oracle = score.index(min(score))
    best = outcome.index(max(outcome) if higher else min(outcome))
    found = oracle_regret(score, outcome, higher)
    assert (found.oracle, found.best) == (oracle, best)
    assert found.regret == abs(outcome[best] - outcome[oracle])
    ranked = sorted(outcome, reverse=higher)
    assert found.rank == 1 + ranked.index(outcome[oracle])


def test_a_diverged_oracle_is_replaced_and_the_note_says_so():
    found = oracle_regret([1.0, 2.0, 3.0], [nan, 0.5, 0.9])
    assert (found.oracle, found.best, found.n) == (1, 2, 2)
    assert found.regret == pytest.approx(0.4)
    assert "lowest score (row 0) has no outcome" in found.note


@given(columns, st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_top_overlap_is_that_of_two_sorted_lists(pair, k):
    score, accuracy = pair
    n = len(score)
    kept = min(k, n)
    low = set(sorted(range(n), key=lambda i: score[i])[:kept])
    high = set(sorted(range(n), key=lambda i: -accuracy[i])[:kept])
    found = top_overlap(score, accuracy, k)
    assert (found.k, found.shared) == (kept, len(low & high))
    assert found.overlap == pytest.approx(len(low & high) / kept)
    assert found.by_chance == pytest.approx(kept / n)


def test_loss_turns_the_outcome_around():
    assert top_overlap([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], 2, higher_is_better=False).overlap == 1
    assert top_overlap([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], 2).overlap == 0


def test_nothing_to_compare_is_nan_not_a_crash():
    assert math.isnan(anomaly_ratio([], []).ratio)
    assert math.isnan(bootstrap_anomaly([nan], [1.0]).lower)
    assert oracle_regret([nan], [1.0]).oracle == -1
    assert math.isnan(top_overlap([], [], 3).overlap)
    with pytest.raises(ValueError, match="at least 1"):
        top_overlap([1.0], [1.0], 0)
