"""Outcomes of a retraining, read off its curve: best, last and last5, which are never mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LAST_EPOCHS = 5

OUTCOMES = (
    "best_test_acc",
    "best_test_loss",
    "last_test_acc",
    "last_test_loss",
    "last5_test_acc",
    "last5_test_loss",
    "final_train_loss",
    "last_train_loss",
)


def outcomes_of(curves: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Returns each outcome of each retraining, and `best_epoch`.

    "best" is the epoch of best test accuracy, the first on ties: the paper's "final", which is
    selected on the test set. "last5" is the mean over the last five epochs, or over all of them
    where there are fewer. `final_train_loss` is the train loss at the best epoch. After an epoch
    whose test loss is NaN no accuracy counts: what such a network answers is the first class, or
    nothing, by the way it is computed.

    Args:
        curves: (n, epochs, 4): train loss, train accuracy, test loss and test accuracy after
            each epoch.

    Returns:
        Arrays of shape (n,), keyed by name; best_epoch is how many epochs had been trained, from 1.
    """
    train_loss, _, test_loss, test_acc = np.moveaxis(curves, 2, 0)
    test_acc = np.where(np.isnan(test_loss), np.nan, test_acc)
    rows = np.arange(len(curves))
    best = np.argmax(np.where(np.isnan(test_acc), -1.0, test_acc), axis=1)
    return {
        "best_epoch": (best + 1).astype(np.float64),
        "best_test_acc": test_acc[rows, best],
        "best_test_loss": test_loss[rows, best],
        "last_test_acc": test_acc[:, -1],
        "last_test_loss": test_loss[:, -1],
        "last5_test_acc": test_acc[:, -LAST_EPOCHS:].mean(axis=1),
        "last5_test_loss": test_loss[:, -LAST_EPOCHS:].mean(axis=1),
        "final_train_loss": train_loss[rows, best],
        "last_train_loss": train_loss[:, -1],
    }


def diverged(curves: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns, for curves of shape (n, epochs, 4), which retrainings met a non-finite loss."""
    losses = curves[:, :, (0, 2)].reshape(len(curves), -1)
    return np.asarray(~np.isfinite(losses).all(axis=1))
