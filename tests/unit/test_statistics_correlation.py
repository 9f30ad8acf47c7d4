import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.statistics import kendall, pearson, spearman, weighted_tau
from engine.statistics.concordance import PairOrder, pair_counts

small = st.integers(-4, 4).map(float)
columns = st.integers(3, 40).flatmap(
    lambda n: st.tuples(
        st.lists(small, min_size=n, max_size=n), st.lists(small, min_size=n, max_size=n)
    )
)


def brute_tau(x: np.ndarray, y: np.ndarray) -> float:
    """Tau-b from its definition, pair by pair."""
    balance = untied_x = untied_y = 0
    for i in range(len(x)):
        for j in range(i):
            dx, dy = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            balance += dx * dy
            untied_x += abs(dx)
            untied_y += abs(dy)
    scale = untied_x * untied_y
    return float(balance / math.sqrt(scale)) if scale else math.nan


@given(columns)
@settings(max_examples=60, deadline=None)
def test_tau_is_its_definition_with_ties(pair):
    x, y = map(np.array, pair)
    expected = brute_tau(x, y)
    assert kendall(x, y).value == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert pair_counts(x, y).tau == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(columns, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_candidates_does_not_matter(pair, random):
    x, y = map(np.array, pair)
    shuffled = np.array(random.sample(range(len(x)), len(x)))
    for coefficient in (kendall, spearman, pearson):
        assert coefficient(x[shuffled], y[shuffled]).value == pytest.approx(
            coefficient(x, y).value, abs=1e-12, nan_ok=True
        )


@given(columns, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_weighted_tau_does_not_depend_on_the_order_of_tied_candidates(pair, random):
    x, y = map(np.array, pair)
    shuffled = np.array(random.sample(range(len(x)), len(x)))
    assert weighted_tau(x[shuffled], y[shuffled]).value == pytest.approx(
        weighted_tau(x, y).value, abs=1e-12, nan_ok=True
    )


@given(columns)
@settings(max_examples=40, deadline=None)
def test_rank_correlations_see_ranks_only(pair):
    x, y = map(np.array, pair)
    for coefficient in (kendall, spearman):
        plain = coefficient(x, y).value
        assert coefficient(np.exp(x), y**3).value == pytest.approx(plain, abs=1e-12, nan_ok=True)
        assert coefficient(-x, y).value == pytest.approx(-plain, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("n", [3, 10, 33, 34, 300])
def test_coefficients_and_p_values_are_those_of_scipy(n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    y = np.round(rng.normal(size=n) - x, 1)
    for ours, theirs in (
        (kendall, stats.kendalltau),
        (spearman, stats.spearmanr),
        (pearson, stats.pearsonr),
    ):
        found, expected = ours(x, y), theirs(x, y)
        assert found.value == pytest.approx(expected.statistic, abs=1e-12)
        assert found.p == pytest.approx(expected.pvalue, abs=1e-12)
        assert (found.n, found.note) == (n, "")


def test_weighted_tau_is_its_definition():
    rng = np.random.default_rng(5)
    x, y = rng.permutation(12).astype(float), rng.normal(size=12)
    weight = 1 / (1 + x)  # x are ranks: 0 is the lowest score
    top = bottom = 0.0
    for i in range(12):
        for j in range(i):
            pair = weight[i] + weight[j]
            top += pair * np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])
            bottom += pair
    found = weighted_tau(x, y)
    assert found.value == pytest.approx(top / bottom, abs=1e-12)
    assert math.isnan(found.p)


def test_weighted_tau_weighs_the_low_scores():
    score = np.arange(20.0)
    good_start, good_end = np.arange(20.0), np.arange(20.0)
    good_start[15:] = good_start[15:][::-1]
    good_end[:5] = good_end[:5][::-1]
    assert weighted_tau(score, good_start).value > weighted_tau(score, good_end).value
    assert kendall(score, good_start).value == pytest.approx(kendall(score, good_end).value)


@given(columns)
@settings(max_examples=60, deadline=None)
def test_counts_per_candidate_are_those_of_all_pairs(pair):
    x, y = map(np.array, pair)
    sx, sy = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    found = pair_counts(x, y)
    assert found.balance.tolist() == (sx * sy).sum(axis=1).tolist()
    assert found.untied_x.tolist() == np.abs(sx).sum(axis=1).tolist()
    assert found.untied_y.tolist() == np.abs(sy).sum(axis=1).tolist()
    assert found.untied_both.tolist() == np.abs(sx * sy).sum(axis=1).tolist()


@given(columns, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_resampled_tau_is_the_tau_of_the_resample(pair, seed):
    x, y = map(np.array, pair)
    n = len(x)
    drawn = np.random.default_rng(seed).integers(0, n, (n, 3))
    weights = np.stack([np.bincount(column, minlength=n) for column in drawn.T], axis=1)
    found = PairOrder(x, y).resampled_tau(weights.astype(float))
    expected = [brute_tau(x[column], y[column]) for column in drawn.T]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_large_counts_agree_with_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=40_000), rng.integers(0, 500, 40_000).astype(float)
    assert pair_counts(x, y).tau == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize("coefficient", [kendall, spearman, pearson, weighted_tau])
@pytest.mark.parametrize(
    ("x", "y", "n", "note"),
    [
        ([], [], 0, "0 of at least 3 candidates"),
        ([1, 2], [3, 4], 2, "2 of at least 3 candidates"),
        ([1, 2, np.nan], [3, 4, 5], 2, "1 candidate without a finite value dropped; 2 of at least"),
        ([1, 1, 1], [3, 4, 5], 3, "all scores are equal"),
        ([1, 2, 3], [4, 4, 4], 3, "all outcomes are equal"),
    ],
)
def test_undefined_is_nan_and_says_why(coefficient, x, y, n, note):
    found = coefficient(x, y)
    assert math.isnan(found.value)
    assert math.isnan(found.p)
    assert found.n == n
    assert found.note.startswith(note)


@pytest.mark.parametrize("coefficient", [kendall, spearman, pearson, weighted_tau])
def test_diverged_candidates_are_dropped_and_counted(coefficient):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=30), rng.normal(size=30)
    holes = y.copy()
    holes[[3, 7]] = np.nan, np.inf
    keep = np.isfinite(holes)
    found = coefficient(x, holes)
    assert found.value == pytest.approx(coefficient(x[keep], y[keep]).value, abs=1e-15)
    assert (found.n, found.note) == (28, "2 candidates without a finite value dropped")


def test_pearson_beyond_float_range_is_undefined_not_wrong():
    found = pearson([1e308, -1e308, 1e308, 0.0], [1.0, 2.0, 3.0, 4.0])
    assert math.isnan(found.value) == ("Pearson" in found.note)


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="equally long"):
        kendall([1, 2, 3], [1, 2])
