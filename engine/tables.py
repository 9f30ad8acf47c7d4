"""A run as CSV: the same bytes from the app and from the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine.analysis import analyse
from engine.comparison import comparison_record
from engine.findings import search_findings
from engine.leaderboard import leaderboard
from engine.masks import told
from engine.outcomes import OUTCOMES
from engine.store.layout import CURVE_COLUMNS, RowStatus
from engine.store.reader import RunReader
from engine.summary import summarise_run


def candidates_table(run: RunReader) -> pd.DataFrame:
    """Returns one row per scored (candidate, repeat); outcomes are empty until it is retrained."""
    rows = run.rows
    layers = run.config["layers"]
    distinct, place = np.unique(rows["candidate"], return_inverse=True)
    pruned = []
    masked = (run.config.get("spec") or {}).get("granularity") == "weights"
    for candidate in distinct:
        indices = run.pruned(int(candidate))
        known = any(indices)  # an imported run may not say which filters went
        each: Sequence[Any] = list(map(told, indices)) if known and masked else indices
        pruned.append(json.dumps(dict(zip(layers, each, strict=True))) if known else None)
    columns: dict[str, Any] = {
        "id": run.config["run_id"],
        "candidate": rows["candidate"],
        "repeat": rows["repeat"],
        "status": [RowStatus(code).name.lower() for code in rows["status"]],
        "pruned": [pruned[index] for index in place],
    }
    finished = rows["epochs"] > 0
    for name in (*run.config["score_names"], "best_epoch", *OUTCOMES):
        columns[name] = rows[name]
    columns["best_epoch"] = pd.array(
        np.where(finished, rows["best_epoch"], 0), dtype="Int64"
    ).copy()
    columns["best_epoch"][~finished] = pd.NA
    columns["seed"] = rows["seed"]
    columns["seconds"] = rows["seconds"]
    searched = {one["candidate"]: one["method"] for one in search_findings(run.config, rows)}
    if searched:
        columns["found_by"] = [searched.get(int(c), "sample") for c in rows["candidate"]]
    return pd.DataFrame(columns, index=np.arange(len(rows)))


def summary_table(run: RunReader) -> pd.DataFrame:
    """Returns the run's summary as a table of one row."""
    return pd.DataFrame([summarise_run(run.config, run.status, run.rows)])


def curves_table(run: RunReader) -> pd.DataFrame:
    """Returns one row per (candidate, repeat, epoch) that was trained; epochs count from 1."""
    rows, curves = run.rows, run.curves()
    trained = np.argwhere(~np.isnan(curves).all(axis=2))
    row, epoch = trained.T
    table = {
        "id": run.config["run_id"],
        "candidate": rows["candidate"][row],
        "repeat": rows["repeat"][row],
        "epoch": epoch + 1,
    }
    for column, name in enumerate(CURVE_COLUMNS):
        table[name] = curves[row, epoch, column]
    return pd.DataFrame(table, index=np.arange(len(row)))


def leaderboard_table(run: RunReader) -> pd.DataFrame:
    """Returns one row per score: how well it predicts the best test accuracy, best first."""
    board = [standing.to_json() for standing in leaderboard(run.config, run.rows)]
    table = pd.DataFrame(board)
    table.insert(0, "id", run.config["run_id"])
    return table


def compare_table(run: RunReader) -> pd.DataFrame:
    """Returns the run beside the published panel of the same study as a table of one row."""
    return pd.DataFrame([comparison_record(analyse(run))])


TABLES: Mapping[str, Callable[[RunReader], pd.DataFrame]] = {
    "candidates": candidates_table,
    "summary": summary_table,
    "curves": curves_table,
    "leaderboard": leaderboard_table,
    "compare": compare_table,
}


def export_csv(runs: Sequence[RunReader], table: str) -> bytes:
    """Returns one of `TABLES` of one or several runs, one below the other, as UTF-8 CSV.

    Numbers are written so that reading them gives the same float back. Runs that were made with
    other scores have their own columns, empty for the rest.

    Raises:
        UsageError: A run holds no valid spec or origin.
    """
    frames = [TABLES[table](run) for run in runs]
    joined = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    text = io.StringIO()
    joined.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue().encode()
