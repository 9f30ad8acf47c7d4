"""Real studies by real engine processes, kept small."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from engine.control import create_run
from engine.entries import read_entries
from engine.own_scores import CriterionFile
from engine.store.reader import RunReader

SMALL = {
    "layers": "conv1",
    "ratio": "0.2",
    "candidates": "6",
    "epochs": "2",
    "pretrain_epochs": "8",
    "repeats": "2",
}


@pytest.fixture
def make_run(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Returns a function that makes a queued run from entries."""
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(shared_cache))

    def make(
        entries: Mapping[str, str] | None = None,
        criteria: Sequence[CriterionFile] = (),
        **more: str,
    ) -> Path:
        own = [file.score for file in criteria]
        spec = read_entries({**SMALL, **(entries or {}), **more}, None, own)
        return create_run(tmp_path / "runs", spec, "cpu", criteria)

    return make


def start(run: Path) -> "subprocess.Popen[bytes]":
    """Starts an engine whose end the test can wait for."""
    return subprocess.Popen([sys.executable, "-m", "engine", str(run)], start_new_session=True)


def work_through(run: Path) -> None:
    """Runs an engine to its end."""
    subprocess.run([sys.executable, "-m", "engine", str(run)], check=True, timeout=240)


def wait_for(
    condition: Callable[[], bool],
    what: str,
    engine: "subprocess.Popen[bytes] | None" = None,
    seconds: float = 120,
) -> None:
    """Waits until something holds; fails naming it, at once when the engine has ended before."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {seconds:g} s")
        if engine is not None and engine.poll() is not None and not condition():
            pytest.fail(f"the engine ended with {engine.returncode} before {what}")
        time.sleep(0.02)


def finished(run: Path) -> set[tuple[int, int]]:
    """Returns the (candidate, repeat) keys that a reader counts as finished."""
    rows = RunReader(run).rows
    done = rows[rows["status"] >= 2]
    return {(int(row["candidate"]), int(row["repeat"])) for row in done}


os.environ.setdefault("PYTHONUNBUFFERED", "1")
