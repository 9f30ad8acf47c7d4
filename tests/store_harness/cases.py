"""Runs whose every value follows from its key, so that a lost or torn row shows itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from engine.store.layout import RowStatus, empty_rows
from engine.store.lock import Holder

SCORES = ["pruned_train_loss", "pruned_train_acc"]
LAYERS = ["conv1", "conv2"]
REPEATS = 3
EPOCHS = 5


def config(run_id: str = "case", *, epochs: int = EPOCHS, n_total: int = 300, **more: Any) -> dict:
    """Return a config that the store accepts."""
    return {
        "run_id": run_id,
        "score_names": SCORES,
        "layers": LAYERS,
        "epochs": epochs,
        "n_total": n_total,
        "spec": {"model": "lenet5-mini", "ratio": 0.5},
        "environment": {"torch": "none"},
        "created": "2026-01-01T00:00:00Z",
        **more,
    }


def rows_at(index: np.ndarray, status: int = RowStatus.DONE, epochs: int = EPOCHS) -> np.ndarray:
    """Return rows by number; row i is repeat i % 3 of candidate i // 3."""
    rows = empty_rows(len(index), SCORES)
    rows["candidate"], rows["repeat"] = index // REPEATS, index % REPEATS
    rows["status"] = status
    rows["seed"] = index * 7919
    rows["pruned_train_loss"] = index * 0.5
    rows["pruned_train_acc"] = 1 / (index + 1)
    if status >= RowStatus.DONE:
        rows["epochs"] = rows["best_epoch"] = epochs
        rows["best_test_acc"] = 1 / (index + 2)
        rows["last_test_loss"] = index * 0.125
        rows["finished_at"] = index * 3.0
    return rows


def make_curves(rows: np.ndarray, epochs: int = EPOCHS) -> np.ndarray:
    """Return the learning curves that belong to `rows`."""
    level = rows["seed"].astype(np.float64) * 0.25
    shape = np.arange(epochs * 4, dtype=np.float64).reshape(1, epochs, 4)
    return (level[:, None, None] + shape).astype(np.float32)


def make_pruned(rows: np.ndarray) -> list[list[list[int]]]:
    """Return the pruned filters that belong to `rows`."""
    return [
        [[candidate % 7, candidate % 7 + 3], [candidate % 5]]
        for candidate in rows["candidate"].tolist()
    ]


def batch(start: int, n: int, epochs: int = EPOCHS) -> tuple[Any, Any, Any]:
    """Return what `RunWriter.append` takes for finished rows `start` to `start + n`."""
    rows = rows_at(np.arange(start, start + n), epochs=epochs)
    return rows, make_curves(rows, epochs), make_pruned(rows)


def missing_rows(reader: Any, n: int) -> int:
    """Count which of the rows 0 to `n` a reader does not have."""
    rows = reader.rows
    there = rows["candidate"].astype(np.int64) * REPEATS + rows["repeat"]
    return n - int(np.isin(np.arange(n), there).sum())


def wrong_rows(reader: Any, epochs: int = EPOCHS) -> int:
    """Count the finished rows of a reader that are not, in every value, as they were made."""
    rows = reader.rows
    expected = rows_at(rows["candidate"].astype(np.int64) * REPEATS + rows["repeat"], epochs=epochs)
    wrong = np.zeros(len(rows), bool)
    for name in rows.dtype.names:
        if name not in ("pruned_offset", "pruned_length"):
            same = rows[name] == expected[name]
            if rows[name].dtype.kind == "f":
                same |= np.isnan(rows[name]) & np.isnan(expected[name])
            wrong |= ~same
    wrong |= (reader.curves() != make_curves(expected, epochs)).any(axis=(1, 2))
    pruned = make_pruned(expected)
    for i in range(0, len(rows), REPEATS):
        wrong[i] |= reader.pruned(int(rows["candidate"][i])) != pruned[i]
    return int(wrong.sum())


def write_lock(path: Path, **changes: object) -> None:
    """Write a lock that names this process, but for the `changes`."""
    document = json.loads(Holder.this_process().encode()) | changes
    path.write_text(json.dumps(document))
