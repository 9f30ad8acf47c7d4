"""From rows (one per retraining) to candidates (their mean over repeats)."""

import numpy as np
from numpy.typing import NDArray

from engine.statistics.pairs import FloatArray

_DECIMALS = 12


def mean_over_repeats(
    candidate: NDArray[np.uint32], values: FloatArray, repeats: int
) -> tuple[NDArray[np.uint32], FloatArray]:
    """Averages scores and outcomes over repeats, as the published study does before correlating.

    A candidate counts once all its repeats are finished. A diverged repeat (NaN) makes the
    candidate's mean NaN: a mean over the repeats that happened to survive would flatter it.
    Means are rounded to 12 decimals, so that accuracies that are equal as fractions also tie as
    floating point numbers, in whatever order their repeats were added.

    Args:
        candidate: uint32[m], the candidate of each finished row, in any order.
        values: float64[m, c], one column per score or outcome.
        repeats: how many rows a candidate needs.

    Returns:
        candidates uint32[k], increasing, and means float64[k, c].

    Raises:
        ValueError: shapes do not match, or `repeats` is below one.
    """
    ids = np.asarray(candidate, dtype=np.uint32)
    columns = np.asarray(values, dtype=np.float64)
    if columns.ndim != 2 or ids.shape != columns.shape[:1]:
        raise ValueError(f"expected [m] and [m, c], got {ids.shape} and {columns.shape}")
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, needs at least 1")
    order = np.argsort(ids, kind="stable")
    unique, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    if len(unique) == 0:
        return unique, columns[:0]
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.add.reduceat(columns[order], starts, axis=0) / counts[:, None]
    roundable = np.abs(means) < 1e3  # beyond, the twelfth decimal is past float64's digits
    means[roundable] = means[roundable].round(_DECIMALS)
    complete = counts >= repeats
    return unique[complete], means[complete]
