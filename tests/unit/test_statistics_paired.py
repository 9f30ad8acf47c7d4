"""The difference of two taus over the same candidates, against scipy and against known truth."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from engine.statistics import tau_difference, tau_interval


def two_studies(n, seed, noise=1.0):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    outcome = -score + rng.normal(size=n)
    return (score, outcome), (score + noise * rng.normal(size=n), outcome)


def test_the_estimate_and_every_resample_are_scipys():
    first, second = two_studies(40, 0)
    found = tau_difference(first, second, resamples=200, seed=3)
    assert found.difference == pytest.approx(
        kendalltau(*second).statistic - kendalltau(*first).statistic
    )
    rng = np.random.default_rng(3)
    again = []
    for _ in range(200):
        drawn = np.repeat(np.arange(40), np.bincount(rng.integers(0, 40, 40), minlength=40))
        taus = [kendalltau(x[drawn], y[drawn]).statistic for x, y in (first, second)]
        again.append(taus[1] - taus[0])
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(again, [0.025, 0.975])))
    assert found.n == 40


def test_the_same_study_twice_has_no_difference():
    first, _ = two_studies(30, 1)
    found = tau_difference(first, first)
    assert (found.difference, found.lower, found.upper) == (0, 0, 0)


def test_pairing_is_narrower_than_two_intervals():
    first, second = two_studies(200, 2, noise=0.2)
    found = tau_difference(first, second)
    apart = sum(i.upper - i.lower for i in (tau_interval(*first), tau_interval(*second)))
    assert found.upper - found.lower < 0.6 * apart


def test_it_covers_the_true_difference():
    truth = (np.arcsin(-1 / np.sqrt(2 * 2)) - np.arcsin(-1 / np.sqrt(2))) * 2 / np.pi
    studies = 150
    held = 0
    for seed in range(studies):
        found = tau_difference(*two_studies(60, seed), resamples=300)
        held += found.lower <= truth <= found.upper
    assert 0.90 <= held / studies <= 0.99


def test_what_cannot_be_compared_is_said():
    first, second = two_studies(5, 0)
    assert tau_difference((first[0][:2], first[1][:2]), (second[0][:2], second[1][:2])).note
    assert "constant" in tau_difference(first, (np.ones(5), second[1])).note
    holes = np.where(np.arange(5) == 2, np.nan, first[0])
    assert tau_difference((holes, first[1]), second).n == 4
    with pytest.raises(ValueError, match=r"length|inhomogeneous"):
        tau_difference(first, (second[0][:3], second[1]))
