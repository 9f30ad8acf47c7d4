import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from engine.statistics import mean_over_repeats, running_grid, running_tau, summarise, tau_interval

nan = math.nan


def study(n=252, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.lognormal(size=n)
    accuracy = np.round(0.98 - 0.002 * np.log(score) + 0.003 * rng.normal(size=n), 4)
    return score, accuracy, 1 - accuracy + 0.001 * rng.normal(size=n)


def test_summary_is_what_scipy_gives_on_the_same_columns():
    score, accuracy, loss = study()
    found = summarise(score, accuracy, loss)
    by_accuracy, by_loss = stats.kendalltau(score, accuracy), stats.kendalltau(score, loss)
    oracle = int(score.argmin())
    expected = {
        "n": 252,
        "n_loss": 252,
        "kendall_tau_acc": by_accuracy.statistic,
        "kendall_p_acc": by_accuracy.pvalue,
        "kendall_tau_loss": by_loss.statistic,
        "kendall_p_loss": by_loss.pvalue,
        "spearman_acc": stats.spearmanr(score, accuracy).statistic,
        "pearson_acc": stats.pearsonr(score, accuracy).statistic,
        "anomaly_ratio_acc": (accuracy > accuracy[oracle]).mean(),
        "anomaly_ratio_loss": (loss < loss[oracle]).mean(),
        "oracle": oracle,
        "best": int(accuracy.argmax()),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-12), name
        assert type(getattr(found, name)) in (int, float)
    assert found.note == ""


def test_diverged_candidates_leave_the_statistics_and_are_named():
    score, accuracy, loss = study()
    oracle = int(score.argmin())
    accuracy[oracle] = loss[oracle] = nan
    loss[5 if oracle != 5 else 6] = nan
    found = summarise(score, accuracy, loss)
    keep = np.isfinite(accuracy)
    assert (found.n, found.n_loss) == (251, 250)
    assert found.kendall_tau_acc == pytest.approx(
        stats.kendalltau(score[keep], accuracy[keep]).statistic, abs=1e-12
    )
    assert found.oracle == int(np.where(keep, score, np.inf).argmin())
    dropped = "1 candidate without a finite value dropped"
    assert found.note.startswith(f"accuracy: {dropped}; the lowest score (row {oracle}) has no")
    assert found.note.endswith("loss: 2 candidates without a finite value dropped")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_candidates_give_nan_and_a_note(n):
    found = summarise(np.arange(n), np.arange(n), np.arange(n))
    assert math.isnan(found.kendall_tau_acc)
    assert math.isnan(found.pearson_acc)
    assert found.oracle == min(n, 1) - 1
    assert f"{n} of at least 3 candidates" in found.note


def test_a_study_without_losses_still_has_accuracy_statistics():
    score, accuracy, _ = study()
    found = summarise(score, accuracy, np.full(252, nan))
    assert np.isfinite(found.kendall_tau_acc)
    assert math.isnan(found.kendall_tau_loss)
    assert math.isnan(found.anomaly_ratio_loss)


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_summary_does_not_depend_on_the_order_of_candidates(random):
    score, accuracy, loss = study(60)
    order = np.array(random.sample(range(60), 60))
    plain, shuffled = (
        summarise(score, accuracy, loss),
        summarise(score[order], accuracy[order], loss[order]),
    )
    assert shuffled.kendall_tau_acc == pytest.approx(plain.kendall_tau_acc, abs=1e-12)
    assert shuffled.anomaly_ratio_acc == plain.anomaly_ratio_acc
    assert order[shuffled.oracle] == plain.oracle


def test_means_are_over_candidates_with_all_repeats():
    candidate = np.array([7, 3, 7, 3, 9, 7, 3], dtype=np.uint32)
    values = np.array([[1.0], [10.0], [2.0], [20.0], [5.0], [6.0], [nan]])
    ids, means = mean_over_repeats(candidate, values, 3)
    assert ids.tolist() == [3, 7]
    assert ids.dtype == np.uint32
    assert math.isnan(means[0, 0])
    assert means[1, 0] == 3.0


@given(st.lists(st.integers(0, 10_000), min_size=3, max_size=3), st.permutations(range(3)))
def test_equal_mean_accuracies_tie_whatever_order_the_repeats_came_in(correct, order):
    accuracy = np.array(correct) / 10_000
    twin = accuracy[list(order)]
    shifted = np.array([correct[0] + 1, correct[1] - 1, correct[2]]) / 10_000  # the same sum
    _, means = mean_over_repeats(
        np.repeat([0, 1, 2], 3).astype(np.uint32),
        np.concatenate([accuracy, twin, shifted])[:, None],
        3,
    )
    assert means[0, 0] == means[1, 0] == means[2, 0]
    assert means[0, 0] == pytest.approx(accuracy.mean(), abs=1e-9)


def test_means_of_no_rows_and_of_huge_losses():
    ids, means = mean_over_repeats(np.empty(0, np.uint32), np.empty((0, 2)), 3)
    assert (ids.shape, means.shape) == ((0,), (0, 2))
    _, means = mean_over_repeats(np.zeros(1, np.uint32), np.array([[1e300]]), 1)
    assert means[0, 0] == 1e300


def test_misshapen_rows_are_refused():
    with pytest.raises(ValueError, match="expected"):
        mean_over_repeats(np.zeros(2, np.uint32), np.zeros(2), 1)
    with pytest.raises(ValueError, match="repeats is 0"):
        mean_over_repeats(np.zeros(2, np.uint32), np.zeros((2, 1)), 0)


@pytest.mark.parametrize("decimals", [1, 12])
def test_running_tau_is_the_tau_of_every_prefix(decimals):
    rng = np.random.default_rng(1)
    x = np.round(rng.normal(size=150), decimals)
    y = np.round(rng.normal(size=150) - x, decimals)
    found = running_tau(x, y)
    assert found.n.tolist() == list(range(3, 151))
    for n, tau, lower, upper in zip(found.n, found.tau, found.lower, found.upper, strict=True):
        assert tau == pytest.approx(stats.kendalltau(x[:n], y[:n]).statistic, abs=1e-12)
        one = tau_interval(x[:n], y[:n])
        assert (lower, upper) == pytest.approx((one.lower, one.upper), abs=1e-12)


def test_running_tau_is_undefined_while_a_column_is_constant():
    found = running_tau([1.0, 1.0, 1.0, 2.0, nan], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.n.tolist() == [3, 4]
    assert math.isnan(found.tau[0])
    assert np.isfinite(found.tau[1])
    assert "dropped" in found.note


def test_running_tau_of_nothing_is_empty():
    assert running_tau([], []).tau.shape == (0,)


@given(st.integers(0, 50_000), st.integers(1, 300))
@settings(deadline=None)
def test_the_grid_grows_to_n_within_its_size(n, points):
    grid = running_grid(n, points)
    assert len(grid) <= points
    assert (np.diff(grid) > 0).all()
    if n >= 3:
        assert grid[-1] == n
    else:
        assert len(grid) == 0


def test_importing_the_statistics_imports_no_torch_and_the_engine_imports_no_scipy():
    script = (
        "import sys, engine; assert 'scipy' not in sys.modules;"
        "import engine.statistics; assert 'torch' not in sys.modules;"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
