"""Real run files with fixed contents, and an app that reads and writes nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.control import run_config, run_name
from engine.presets import PRESETS
from engine.scores import BASE_SCORES
from engine.spec import StudySpec
from engine.store.layout import row_dtype
from engine.store.writer import RunWriter
from engine.summary import summarise_run
from oracle_tui.app import OracleApp
from oracle_tui.config import Config

MakeRun = Callable[..., Path]

#: Moment that all runs of these tests were made at, and "now" for the ages shown.
CREATED = "2026-01-02T03:04:05+00:00"
NOW = 1767323045.0 + 3 * 3600


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ORACLE_TUI_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(tmp_path / "cache"))
    for name in ("ORACLE_TUI_THEME", "ORACLE_TUI_MOUSE", "ORACLE_TUI_RUNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("oracle_tui.widgets.run_table.time.time", lambda: NOW)
    monkeypatch.setattr("oracle_tui.listing.example_folders", list)
    # What the engine of a test takes of this machine is the test's own memory.
    monkeypatch.setattr("oracle_tui.machine.Machine.words", lambda *_: "engine 0.31 GB")


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def make_run(runs_dir: Path) -> MakeRun:
    """Make a run file whose numbers follow from its seed.

    Candidates lose accuracy with their score, plus noise; `done` of them are retrained and, in a
    live run, `training` more are at their third epoch.
    """

    def make(
        status: str = "done",
        *,
        seed: int = 0,
        ratio: float = 0.2,
        repeats: int = 1,
        done: int | None = None,
        training: int = 0,
        message: str = "",
        live: dict[str, Any] | None = None,
        wiring: str = "correct",
        dataset: str = "mnist-5k",
        **changes: Any,
    ) -> Path:
        spec = PRESETS["quick"].spec.with_(
            seed=seed, ratios=(ratio,), repeats=repeats, wiring=wiring, dataset=dataset, **changes
        )
        folder = runs_dir / run_name(spec)
        config = {**run_config(spec, folder.name, "cpu"), "created": CREATED}
        if status != "queued":
            config["l1_pruned"] = [list(layer) for layer in spec.space[17]]
            config["base_test_acc"] = 0.955
        RunWriter.create(folder, config)
        writer = RunWriter.open(folder)
        rows, pruned = _scored(spec)
        if status != "queued":
            writer.append(rows, None, pruned)
        ended = _retrained(spec, rows, len(rows) if done is None else done)
        if len(ended):
            curves = np.full((len(ended), spec.retrain.epochs, 4), 0.5, np.float32)
            writer.append(ended, curves, None)
        document = {
            "status": status,
            "stage": "retraining",
            "stage_done": 3,
            "stage_total": spec.retrain.epochs,
            "stage_unit": "epochs",
            "n_done": len(ended),
            "n_total": spec.rows,
            "rate": 52_000.0,
            "eta_seconds": 75.0,
            "note": "",
            "provisional": [
                [int(row["candidate"]), int(row["repeat"]), 3, 0.93 + 0.0005 * (i % 5), 0.25]
                for i, row in enumerate(rows[len(ended) : len(ended) + training])
            ],
        }
        if status in ("running", "paused"):
            writer.beat({**document, **(live or {})})
        writer.log("stage: retraining")
        writer.set_status(status, message)
        writer.set_summary(summarise_run(config, status, ended))
        writer.publish(final=status == "done")
        writer.close()
        return folder

    return make


def _scored(spec: StudySpec) -> tuple[np.ndarray, list[list[list[int]]]]:
    generator = np.random.default_rng(spec.seed)
    candidates = len(spec.space)
    rows = np.zeros(candidates * spec.repeats, row_dtype(BASE_SCORES))
    for name in rows.dtype.names or ():
        if rows[name].dtype.kind == "f":
            rows[name] = np.nan
    rows["candidate"] = np.repeat(np.arange(candidates), spec.repeats)
    rows["repeat"] = np.tile(np.arange(spec.repeats), candidates)
    rows["status"] = 1
    loss = generator.gamma(2.0, 0.4, candidates) + 0.1
    rows["pruned_train_loss"] = np.repeat(loss, spec.repeats)
    rows["pruned_train_acc"] = np.exp(-rows["pruned_train_loss"])
    pruned = [[list(layer) for layer in spec.space[int(c)]] for c in rows["candidate"]]
    return rows, pruned


def _retrained(spec: StudySpec, rows: np.ndarray, count: int) -> np.ndarray:
    generator = np.random.default_rng(spec.seed + 1)
    accuracy = 0.95 - 0.01 * rows["pruned_train_loss"] + generator.normal(0, 0.004, len(rows))
    ended = rows[:count].copy()
    ended["status"] = 2
    for name in ("best_test_acc", "last_test_acc", "last5_test_acc"):
        ended[name] = accuracy[:count]
    for name in ("best_test_loss", "last_test_loss", "last5_test_loss"):
        ended[name] = 0.2 - (accuracy[:count] - 0.95) * 3
    ended["final_train_loss"] = ended["last_train_loss"] = 0.1
    ended["best_epoch"] = generator.integers(1, spec.retrain.epochs + 1, count)
    ended["epochs"] = spec.retrain.epochs
    ended["seconds"] = 2.0
    ended["finished_at"] = NOW + np.arange(count)
    return ended


@pytest.fixture
def make_app(runs_dir: Path) -> Callable[..., OracleApp]:
    """Make an app on the folder of these tests."""

    def make(open_run: Path | None = None, **settings: Any) -> OracleApp:
        return OracleApp(
            runs_dir,
            open_run=None if open_run is None else open_run.name,
            config=Config(**settings),
        )

    return make


@pytest.fixture
def app(make_app: Callable[..., OracleApp], make_run: MakeRun) -> OracleApp:
    """Make an app that opens a finished run of 45 candidates."""
    return make_app(make_run("done"))
