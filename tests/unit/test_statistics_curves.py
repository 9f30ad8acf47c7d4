import math

import numpy as np
import pytest
from scipy import stats

from engine.statistics import budget_agreement, epoch_agreement, tau_interval


def learning(n=80, epochs=6, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n, epochs)) / np.arange(1, epochs + 1)
    return rng.normal(size=n)[:, None] + noise


def test_every_epoch_is_correlated_with_the_final_outcome():
    curves = learning()
    final = curves[:, -1]
    found = epoch_agreement(curves, final)
    assert found.epoch.tolist() == [1, 2, 3, 4, 5, 6]
    for e in range(6):
        expected = stats.kendalltau(curves[:, e], final)
        assert found.tau[e] == pytest.approx(expected.statistic, abs=1e-12)
        assert found.p[e] == pytest.approx(expected.pvalue, abs=1e-12)
        interval = tau_interval(curves[:, e], final)
        assert (found.lower[e], found.upper[e]) == (interval.lower, interval.upper)
    assert found.tau[-1] == pytest.approx(1.0)
    assert found.tau[0] < found.tau[-2]


def test_epochs_without_values_are_nan_and_named():
    curves = learning()
    final = curves[:, -1].copy()
    curves[:, 0] = 0.1
    curves[3, 1] = np.nan
    found = epoch_agreement(curves, final)
    assert math.isnan(found.tau[0])
    assert found.n.tolist() == [80, 79, 80, 80, 80, 80]
    assert found.note == "epoch 1: all scores are equal; 1 more epochs with notes"


def test_curves_and_finals_must_belong_together():
    with pytest.raises(ValueError, match="expected"):
        epoch_agreement(np.zeros((4, 2)), np.zeros(3))


def test_schedules_are_matched_by_candidate_not_by_position():
    rng = np.random.default_rng(1)
    full_id = np.arange(30, dtype=np.uint32)
    full = rng.normal(size=30)
    short_id = rng.permutation(40).astype(np.uint32)
    short = np.where(short_id < 30, full[np.minimum(short_id, 29)] ** 3, 0.0)
    found = budget_agreement(short_id, short, full_id, full)
    assert found.value == pytest.approx(1.0)
    assert (found.n, found.note) == (30, "10 candidates are on one schedule only")


def test_schedules_with_nothing_in_common_have_no_agreement():
    ids = np.arange(3, dtype=np.uint32)
    found = budget_agreement(ids, np.zeros(3), ids + 10, np.zeros(3))
    assert math.isnan(found.value)
    assert found.note.startswith("0 of at least 3 candidates")
