import math

import numpy as np
import pytest
from scipy import stats

from engine.statistics import bootstrap_tau, tau_interval
from engine.statistics.concordance import pair_counts
from engine.statistics.intervals import draw_weights, standard_error
from engine.statistics.published import tau_variance

NOMINAL = 0.95


def correlated(rng, n, r):
    x = rng.normal(size=n)
    return x, r * x + math.sqrt(1 - r * r) * rng.normal(size=n)


def true_tau(r):
    return 2 / math.pi * math.asin(r)


def observed_coverage(interval, n, r, studies, seed=0):
    rng = np.random.default_rng(seed)
    hits = 0
    for study in range(studies):
        found = interval(*correlated(rng, n, r), study)
        hits += found.lower <= true_tau(r) <= found.upper
    return hits / studies


def live(x, y, _):
    return tau_interval(x, y, NOMINAL)


def bootstrap(x, y, seed):
    return bootstrap_tau(x, y, resamples=1_000, seed=seed, level=NOMINAL)


def cell(n, r):
    """A seed of its own for each size and strength, so that their coverages are independent."""
    return 1000 * n + round(100 * abs(r))


def allowed(studies, slack):
    """Three standard errors of an observed coverage, and what the approximation may lose."""
    return 3 * math.sqrt(NOMINAL * (1 - NOMINAL) / studies) + slack


@pytest.mark.parametrize(("n", "r"), [(45, 0.0), (45, -0.8), (210, -0.5)])
def test_live_interval_covers_about_as_often_as_it_says(n, r):
    assert observed_coverage(live, n, r, 400) == pytest.approx(NOMINAL, abs=allowed(400, 0.02))


def test_bootstrap_interval_covers_about_as_often_as_it_says():
    assert observed_coverage(bootstrap, 45, -0.5, 200) == pytest.approx(
        NOMINAL, abs=allowed(200, 0.02)
    )


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.0, -0.5, -0.8, -0.95])
@pytest.mark.parametrize(
    ("n", "studies", "slack"),
    [(10, 4000, 0.05), (20, 4000, 0.03), (45, 4000, 0.02), (210, 4000, 0.01), (1000, 2000, 0.01)],
)
def test_live_coverage_over_sizes_and_strengths(n, studies, slack, r, record_property):
    coverage = observed_coverage(live, n, r, studies, seed=cell(n, r))
    record_property("nominal", NOMINAL)
    record_property("observed", coverage)
    print(f"live n={n} r={r}: nominal {NOMINAL}, observed {coverage:.3f}")
    assert coverage == pytest.approx(NOMINAL, abs=allowed(studies, slack))


@pytest.mark.slow
@pytest.mark.parametrize("r", [0.0, -0.5, -0.8])
@pytest.mark.parametrize("n", [45, 210, 1000])
def test_bootstrap_coverage_over_sizes_and_strengths(n, r, record_property):
    coverage = observed_coverage(bootstrap, n, r, 300, seed=cell(n, r))
    record_property("nominal", NOMINAL)
    record_property("observed", coverage)
    print(f"bootstrap n={n} r={r}: nominal {NOMINAL}, observed {coverage:.3f}")
    assert coverage == pytest.approx(NOMINAL, abs=allowed(300, 0.02))


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 60, 252])
@pytest.mark.parametrize("shape", ["12 levels", "5 levels", "clusters", "wedge"])
def test_live_coverage_of_other_shapes(shape, n):
    def drawn(rng, size):
        x, y = rng.normal(size=(2, size))
        near = -0.45 * x + 0.89 * y
        if shape == "clusters":
            apart = 6 * (rng.random(size) < 0.5)
            return x + apart, near - apart
        if shape == "wedge":  # noise grows with the score
            x = rng.random(size)
            return x, -x + 0.7 * x * y
        step = 0.5 if shape == "12 levels" else 1.0
        return x, np.round(near / step) * step

    rng = np.random.default_rng(9)
    truth = np.mean([stats.kendalltau(*drawn(rng, 20_000)).statistic for _ in range(8)])
    found = [tau_interval(*drawn(rng, n)) for _ in range(1_500)]
    observed = np.mean([one.lower <= truth <= one.upper for one in found])
    print(f"{shape}, n={n}, tau {truth:+.2f}: nominal 0.95, observed {observed:.3f}")
    assert observed == pytest.approx(0.95, abs=0.05 if n == 20 else 0.025)


def test_standard_error_is_the_spread_of_tau_under_ties():
    rng = np.random.default_rng(3)
    taus, errors = [], []
    for _ in range(1500):
        x, y = correlated(rng, 60, -0.6)
        counts = pair_counts(np.round(x), np.round(2 * y))
        taus.append(counts.tau)
        errors.append(standard_error(counts))
    assert np.mean(errors) == pytest.approx(np.std(taus), rel=0.1)


@pytest.mark.parametrize("r", [0.0, -0.5, -0.9])
def test_standard_error_agrees_with_esschers_variance_on_normal_data(r):
    x, y = correlated(np.random.default_rng(4), 20_000, r)
    expected = math.sqrt(tau_variance(true_tau(r), 20_000))
    assert standard_error(pair_counts(x, y)) == pytest.approx(expected, rel=0.03)


def test_esschers_variance_at_zero_is_the_exact_one_of_independence():
    assert tau_variance(0.0, 45) == pytest.approx(2 * (2 * 45 + 5) / (9 * 45 * 44))


def test_influence_is_the_change_from_leaving_a_candidate_out():
    rng = np.random.default_rng(8)
    x, y = correlated(rng, 50, -0.6)
    x, y = np.round(x, 1), np.round(y, 1)
    n = len(x)
    left_out = np.array(
        [stats.kendalltau(np.delete(x, i), np.delete(y, i)).statistic for i in range(n)]
    )
    jackknife = math.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())
    assert standard_error(pair_counts(x, y)) == pytest.approx(jackknife, rel=0.01)


def test_interval_centre_is_scipys_tau_and_level_widens_it():
    x, y = correlated(np.random.default_rng(5), 100, -0.5)
    narrow, wide = tau_interval(x, y, 0.8), tau_interval(x, y, 0.99)
    assert narrow.tau == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert wide.lower < narrow.lower < narrow.tau < narrow.upper < wide.upper


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_perfect_agreement_keeps_an_honest_width(sign):
    x = np.arange(10.0)
    found = tau_interval(x, sign * x)
    # Five disjoint pairs, none discordant: at 97.5 % at most 1 - .025**(1/5) are.
    weakest = 1 - 2 * (1 - 0.025 ** (1 / 5))
    assert sorted(abs(v) for v in (found.lower, found.upper)) == pytest.approx([abs(weakest), 1.0])
    assert found.tau == sign
    assert "all pairs agree" in found.note


def test_a_bootstrap_of_perfect_agreement_is_no_surer_than_the_live_interval():
    x = np.arange(6.0)
    found = bootstrap_tau(x, -x)
    assert found == tau_interval(x, -x)
    assert found.upper > 0  # else six candidates would make a verdict


def test_repeating_tied_values_does_not_narrow_a_perfect_interval():
    x = np.arange(10.0)
    once, thrice = tau_interval(x, x), tau_interval(np.repeat(x, 3), np.repeat(x, 3))
    assert thrice.lower == pytest.approx(once.lower)


def test_an_even_projection_does_not_give_an_interval_of_no_width():
    found = tau_interval([1, 2, 3, 4], [2, 1, 4, 3])
    assert found.tau == pytest.approx(1 / 3)
    assert found.upper - found.lower > 0.5
    assert "rough" in found.note


@pytest.mark.parametrize("interval", [tau_interval, bootstrap_tau])
def test_undefined_is_nan_and_says_why(interval):
    found = interval([1.0, 2.0, 3.0, np.nan], [5.0, 5.0, 5.0, 1.0])
    assert all(math.isnan(v) for v in (found.tau, found.lower, found.upper))
    assert found.note == "1 candidate without a finite value dropped; all outcomes are equal"


def test_bootstrap_is_that_of_scipy():
    x, y = correlated(np.random.default_rng(6), 80, -0.5)
    found = bootstrap_tau(x, y, resamples=4000)
    expected = stats.bootstrap(
        (x, y),
        lambda a, b: stats.kendalltau(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=0.015)


def test_bootstrap_repeats_with_its_seed_only():
    x, y = correlated(np.random.default_rng(7), 60, -0.5)
    assert bootstrap_tau(x, y, seed=1) == bootstrap_tau(x, y, seed=1)
    assert bootstrap_tau(x, y, seed=1) != bootstrap_tau(x, y, seed=2)


def test_bootstrap_blocks_are_bounded_and_complete():
    blocks = list(draw_weights(40_000, 60, seed=0))
    assert max(block.size for block in blocks) <= 1_000_000
    assert sum(block.shape[1] for block in blocks) == 60
    assert all((block.sum(axis=0) == 40_000).all() for block in blocks)


def test_bootstrap_says_how_many_constant_resamples_it_left_out():
    found = bootstrap_tau([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], resamples=200)
    assert "constant resamples left out" in found.note
    assert np.isfinite(found.lower)
