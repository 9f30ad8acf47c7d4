"""Outcomes against hand-made curves."""

import numpy as np
import pytest

from engine.outcomes import diverged, outcomes_of


def curve(accuracies: list[float], losses: list[float]) -> np.ndarray:
    """One retraining whose train loss is twice its test loss."""
    test_loss = np.asarray(losses)
    return np.stack([2 * test_loss, 0 * test_loss, test_loss, np.asarray(accuracies)], axis=1)


def test_best_is_the_first_epoch_of_best_test_accuracy() -> None:
    found = outcomes_of(np.stack([curve([0.5, 0.75, 0.75, 0.625], [4, 2, 1, 3])]))
    assert found["best_epoch"] == [2]
    assert found["best_test_acc"] == [0.75]
    assert found["best_test_loss"] == [2]
    assert found["final_train_loss"] == [4]
    assert found["last_test_acc"] == [0.625]
    assert found["last_test_loss"] == [3]
    assert found["last_train_loss"] == [6]


def test_last5_is_the_mean_of_the_last_five_epochs_or_of_all_there_are() -> None:
    seven = np.stack([curve([0, 0, 0.25, 0.5, 0.25, 0.5, 1.0], [9, 9, 1, 2, 3, 4, 5])])
    assert outcomes_of(seven)["last5_test_acc"] == [0.5]
    assert outcomes_of(seven)["last5_test_loss"] == [3]
    two = np.stack([curve([0.25, 0.75], [1, 2])])
    assert outcomes_of(two)["last5_test_acc"] == [0.5]


def test_a_diverged_retraining_keeps_what_it_reached() -> None:
    curves = np.stack(
        [curve([0.5, np.nan, np.nan], [1, np.nan, np.nan]), curve([0.5, 0.5, 0.75], [1, 1, 1])]
    )
    assert diverged(curves).tolist() == [True, False]
    found = outcomes_of(curves)
    assert found["best_test_acc"].tolist() == [0.5, 0.75]
    assert np.isnan(found["last_test_loss"]).tolist() == [True, False]


def test_what_a_diverged_network_answers_is_no_accuracy() -> None:
    # Every image is of the first class to a network of NaNs: a tenth is right, of ten classes.
    curves = np.stack([curve([0.1, 0.1], [np.nan, np.nan]), curve([0.05, 0.1], [2, np.nan])])
    found = outcomes_of(curves)
    assert np.isnan(found["best_test_acc"]).tolist() == [True, False]
    assert (found["best_test_acc"][1], found["best_epoch"][1]) == (0.05, 1)
    for name in ("last_test_acc", "last5_test_acc", "last_test_loss"):
        assert np.isnan(found[name]).all()


@pytest.mark.parametrize("epochs", [1, 3, 8])
def test_agrees_with_a_plain_loop(epochs: int) -> None:
    curves = np.random.default_rng(epochs).random((20, epochs, 4))
    found = outcomes_of(curves)
    for i, plain in enumerate(curves.astype(float)):
        accuracies = [float(value) for value in plain[:, 3]]
        best = accuracies.index(max(accuracies))
        assert found["best_epoch"][i] == best + 1
        assert found["best_test_loss"][i] == plain[best, 2]
        assert found["last5_test_acc"][i] == pytest.approx(np.mean(accuracies[-5:]), abs=1e-12)
