"""One run in one flat record: what is studied, how far it is, and its statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.facts import facts_of
from engine.statistics import mean_over_repeats, summarise
from engine.store.layout import RowStatus


def finished_rows(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Returns the rows, of the store's dtype, whose retraining has ended."""
    return rows[rows["status"] >= RowStatus.DONE]


def finished_means(
    rows: NDArray[np.void], repeats: int, columns: tuple[str, ...]
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Returns the candidates with every repeat finished, and the means of columns over repeats.

    Args:
        rows: Rows of the store's dtype, in any order.
        repeats: How many repeats a finished candidate has.
        columns: Names of c columns of the rows.

    Returns:
        Candidate ids of shape (n,), ascending, and their means of shape (n, c).
    """
    done = finished_rows(rows)
    values = np.column_stack([done[column].astype(np.float64) for column in columns])
    return mean_over_repeats(done["candidate"], values, repeats)


def searched(config: Mapping[str, Any]) -> list[int]:
    """Returns the ids of the candidates that a search chose, which are not of the sample."""
    recorded = config.get("search")
    records = recorded if isinstance(recorded, list) else []
    ids = [one.get("candidate") for one in records if isinstance(one, Mapping)]
    return [one for one in ids if isinstance(one, int) and 0 <= one < 1 << 32]


def sampled_rows(config: Mapping[str, Any], rows: NDArray[np.void]) -> NDArray[np.void]:
    """Returns the rows that statistics are over: those of the sample.

    A search chooses by the score itself; with its picks in it, the sample would not be random.
    """
    picks = searched(config)
    return rows[~np.isin(rows["candidate"], picks)] if picks else rows


def summarise_run(config: Mapping[str, Any], status: str, rows: NDArray[np.void]) -> dict[str, Any]:
    """Returns the summary of a run: one row of the summary table, every value a JSON scalar.

    `n` counts the candidates the statistics are over: those with every repeat finished and an
    accuracy; `n_loss` those with a loss. `n_done`
    and `n_total` count (candidate, repeat) rows. A statistic that does not exist is None.

    Args:
        config: The run's config.
        status: The run's status.
        rows: Rows of the store's dtype.

    Raises:
        UsageError: The config holds no valid spec or origin.
    """
    facts = facts_of(config)
    candidates, means = finished_means(
        sampled_rows(config, rows),
        facts.repeats,
        ("pruned_train_loss", "best_test_acc", "best_test_loss"),
    )
    score, accuracy, loss = means.T
    found = summarise(score, accuracy, loss)
    record: dict[str, Any] = {
        "id": config["run_id"],
        "status": status,
        "n_done": len(finished_rows(rows)),
        "n_total": int(config.get("n_total", facts.rows)),
        **facts.columns,
        "n": found.n,
        "n_loss": found.n_loss,
        "kendall_tau_acc": found.kendall_tau_acc,
        "kendall_p_acc": found.kendall_p_acc,
        "kendall_tau_loss": found.kendall_tau_loss,
        "kendall_p_loss": found.kendall_p_loss,
        "spearman_acc": found.spearman_acc,
        "pearson_acc": found.pearson_acc,
        "anomaly_ratio_acc": found.anomaly_ratio_acc,
        "anomaly_ratio_loss": found.anomaly_ratio_loss,
    }
    for name, index in (("oracle", found.oracle), ("best", found.best)):
        known = index >= 0
        record[f"{name}_candidate"] = int(candidates[index]) if known else None
        record[f"{name}_pruned_train_loss"] = score[index] if known else math.nan
        record[f"{name}_test_acc"] = accuracy[index] if known else math.nan
    record["base_test_acc"] = config.get("base_test_acc")
    record["device"] = config.get("device")
    record["created"] = config.get("created")
    record["note"] = found.note
    return plain_scalars(record)


def plain_scalars(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record with every value a JSON scalar; what is not finite becomes None."""
    return {key: _scalar(value) for key, value in record.items()}


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
