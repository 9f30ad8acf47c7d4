import math

import numpy as np
import pytest
from scipy import stats

from engine.statistics import against_ceiling, noise_ceiling
from engine.statistics.noise import ceiling_from_tau, r_to_tau, reliability_of_mean, tau_to_r


def planted(rng, n, repeats, reliability):
    """True values, and repeats of which each has the planted reliability."""
    true = rng.normal(size=n)
    noise = rng.normal(size=(n, repeats)) * math.sqrt(1 / reliability - 1)
    return true, true[:, None] + noise


@pytest.mark.parametrize("reliability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("repeats", [2, 3, 5])
def test_planted_reliability_is_recovered(reliability, repeats):
    rng = np.random.default_rng(repeats)
    true, outcomes = planted(rng, 20_000, repeats, reliability)
    found = noise_ceiling(outcomes)
    assert found.between_repeats == pytest.approx(r_to_tau(reliability), abs=0.02)
    mean = outcomes.mean(axis=1)
    assert found.reliability == pytest.approx(np.corrcoef(true, mean)[0, 1] ** 2, abs=0.03)
    # Nothing can be known beyond the true values: their tau with the mean is the ceiling.
    assert found.ceiling == pytest.approx(stats.kendalltau(true, mean).statistic, abs=0.02)
    assert (found.n, found.repeats, found.note) == (20_000, repeats, "")


@pytest.mark.parametrize("reliability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", ["uniform", "skewed", "heavy"])
def test_the_ceiling_is_off_by_little_when_true_values_are_not_normal(shape, reliability):
    rng = np.random.default_rng(6)
    true = {
        "uniform": rng.uniform(-1, 1, 20_000) * math.sqrt(3),
        "skewed": -rng.exponential(size=20_000),
        "heavy": rng.standard_t(3, size=20_000) / math.sqrt(3),
    }[shape]
    noise = rng.normal(size=(20_000, 3)) * math.sqrt(1 / reliability - 1)
    outcomes = true[:, None] + noise
    expected = stats.kendalltau(true, outcomes.mean(axis=1)).statistic
    assert noise_ceiling(outcomes).ceiling == pytest.approx(expected, abs=0.06)


def test_mean_tau_is_over_all_pairs_of_repeats():
    outcomes = np.random.default_rng(1).normal(size=(40, 4)) + np.arange(40)[:, None] / 15
    taus = [
        stats.kendalltau(outcomes[:, i], outcomes[:, j]).statistic
        for i in range(4)
        for j in range(i)
    ]
    assert noise_ceiling(outcomes).between_repeats == pytest.approx(np.mean(taus), abs=1e-12)


@pytest.mark.parametrize(("n", "studies"), [(45, 300)])
def test_interval_covers_the_planted_agreement(n, studies):
    coverage = interval_coverage(n, 0.5, studies)
    assert coverage == pytest.approx(0.95, abs=3 * math.sqrt(0.0475 / studies) + 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("reliability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("n", [45, 252])
def test_interval_coverage_over_sizes_and_reliabilities(n, reliability, record_property):
    coverage = interval_coverage(n, reliability, 3000)
    record_property("nominal", 0.95)
    record_property("observed", coverage)
    print(f"between repeats n={n} rho={reliability}: nominal 0.95, observed {coverage:.3f}")
    assert coverage == pytest.approx(0.95, abs=3 * math.sqrt(0.0475 / 3000) + 0.02)


def interval_coverage(n, reliability, studies):
    rng = np.random.default_rng(n)
    hits = 0
    for _ in range(studies):
        found = noise_ceiling(planted(rng, n, 3, reliability)[1])
        hits += found.lower <= r_to_tau(reliability) <= found.upper
        assert found.ceiling_lower <= found.ceiling <= found.ceiling_upper
    return hits / studies


@pytest.mark.parametrize("strength", [-0.3, -0.7])
def test_the_tau_behind_the_noise_is_recovered(strength):
    rng = np.random.default_rng(2)
    true, outcomes = planted(rng, 20_000, 3, 0.3)
    score = strength * true + math.sqrt(1 - strength**2) * rng.normal(size=20_000)
    observed = stats.kendalltau(score, outcomes.mean(axis=1)).statistic
    ceiling = noise_ceiling(outcomes)
    found = against_ceiling(observed, ceiling)
    assert abs(observed) < abs(r_to_tau(strength))
    assert found.noise_free == pytest.approx(r_to_tau(strength), abs=0.02)
    assert found.share == pytest.approx(abs(observed) / ceiling.ceiling)


def test_spearman_brown_is_a_known_example():
    # Two halves that correlate .6 make a test of reliability .75.
    assert reliability_of_mean(0.6, 2) == pytest.approx(0.75)
    assert reliability_of_mean(0.6, 1) == pytest.approx(0.6)
    assert reliability_of_mean(-0.2, 3) == 0.0


def test_greiner_goes_there_and_back():
    assert tau_to_r(1 / 3) == pytest.approx(0.5)
    assert r_to_tau(tau_to_r(-0.37)) == pytest.approx(-0.37)


def test_more_repeats_raise_the_ceiling_up_to_one():
    ceilings = [ceiling_from_tau(0.2, repeats) for repeats in (1, 2, 3, 10, 10_000)]
    assert ceilings == sorted(ceilings)
    assert ceilings[-1] > 0.97
    assert ceiling_from_tau(1.0, 3) == pytest.approx(1.0)
    assert ceiling_from_tau(0.0, 3) == ceiling_from_tau(-0.1, 3) == 0.0


def test_pure_noise_is_said_to_be_noise():
    outcomes = np.random.default_rng(3).normal(size=(200, 3))
    found = noise_ceiling(outcomes)
    assert found.lower <= 0 <= found.upper
    assert "no better than chance" in found.note


@pytest.mark.parametrize("n", [3, 5, 8])
def test_a_few_candidates_in_the_same_order_do_not_make_a_sure_ceiling(n):
    # Three candidates fall into the same order twice by chance in one of six studies.
    found = noise_ceiling(np.arange(n)[:, None] + np.array([0.0, 0.1]))
    assert found.between_repeats == found.ceiling == found.ceiling_upper == 1.0
    assert found.ceiling_lower < 0.6
    assert "rough" in found.note


def test_interval_of_few_candidates_holds_the_planted_agreement():
    assert interval_coverage(5, 0.98, 300) > 0.9


def test_ties_and_strong_skew_raise_the_ceiling():
    # How far docs/reference/statistics.md says: what the interval does not know of.
    rng = np.random.default_rng(8)
    for true, half_step, off in (
        (rng.normal(size=20_000), 0.0, 0.0),
        (rng.normal(size=20_000), 0.5, 0.01),
        (-(np.exp(rng.normal(size=20_000))) / 2.16, 0.0, 0.07),
        (-(np.exp(rng.normal(size=20_000))) / 2.16, 0.5, 0.09),
    ):
        outcomes = (true[:, None] + rng.normal(size=(20_000, 3))) / math.sqrt(2)
        if half_step:
            outcomes = np.round(outcomes / half_step) * half_step
        expected = stats.kendalltau(true, outcomes.mean(axis=1).round(9)).statistic
        assert noise_ceiling(outcomes).ceiling - expected == pytest.approx(off, abs=0.02)


def test_no_claim_under_a_ceiling_of_zero():
    opposed = np.column_stack([np.arange(10.0), -np.arange(10.0)])
    found = against_ceiling(-0.3, noise_ceiling(opposed))
    assert math.isnan(found.noise_free)
    assert "no score can be judged" in found.note


def test_a_tau_beyond_its_ceiling_is_said():
    _, outcomes = planted(np.random.default_rng(4), 500, 2, 0.1)
    found = against_ceiling(-0.95, noise_ceiling(outcomes))
    assert found.noise_free == -1.0
    assert found.share > 1
    assert "beyond its ceiling" in found.note


@pytest.mark.parametrize(
    ("outcomes", "note"),
    [
        (np.zeros((10, 1)), "at least 2 repeats"),
        (np.zeros((2, 3)), "2 of at least 3 candidates"),
        (np.column_stack([np.arange(5.0), np.zeros(5)]), "all outcomes of a repeat are equal"),
        (np.full((5, 2), np.nan), "5 candidates without all repeats finite dropped"),
    ],
)
def test_undefined_is_nan_and_says_why(outcomes, note):
    found = noise_ceiling(outcomes)
    assert math.isnan(found.between_repeats)
    assert math.isnan(found.ceiling)
    assert note in found.note
    assert math.isnan(against_ceiling(-0.3, found).noise_free)


def test_candidates_with_a_diverged_repeat_are_dropped():
    _, outcomes = planted(np.random.default_rng(5), 50, 3, 0.7)
    holes = outcomes.copy()
    holes[4, 1] = np.nan
    found = noise_ceiling(holes)
    assert found.n == 49
    assert found.between_repeats == noise_ceiling(np.delete(outcomes, 4, axis=0)).between_repeats


def test_a_flat_list_is_refused():
    with pytest.raises(ValueError, match="candidates, repeats"):
        noise_ceiling(np.zeros(3))
