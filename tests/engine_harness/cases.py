"""Real studies, real engine processes, and tables of two runs that can be compared."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from engine.control import create_run
from engine.entries import read_entries
from engine.store.reader import RunReader
from engine.store.requests import send_request
from engine.tables import export_csv

PATIENCE = 300.0


def make_run(runs: Path, entries: Mapping[str, str]) -> Path:
    """Make a queued run on the CPU."""
    return create_run(runs, read_entries(entries), "cpu")


def start(run: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Start an engine whose end can be waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "engine", str(run)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)


def finished(run: Path) -> set[tuple[int, int]]:
    """Return the (candidate, repeat) keys that a reader counts as finished."""
    with RunReader(run) as reader:
        rows = reader.rows[reader.rows["status"] >= 2]
        return {(int(row["candidate"]), int(row["repeat"])) for row in rows}


def status(run: Path) -> str:
    """Return the durable status."""
    with RunReader(run) as reader:
        return reader.status


def stop(run: Path, engine: subprocess.Popen[bytes]) -> None:
    """Ask an engine to stop and wait for it."""
    if engine.poll() is None:
        send_request(run, "stop")
        engine.wait(PATIENCE)


def table(run: Path, name: str) -> pd.DataFrame:
    """Return a table of a run as its CSV says it, without what differs between equal runs."""
    with RunReader(run) as reader:
        frame = pd.read_csv(io.BytesIO(export_csv([reader], name)))
    return frame.drop(columns=["id", "seconds"], errors="ignore")


def differences(first: Path, second: Path) -> list[str]:
    """Return the names of the tables in which two runs differ in any value."""
    names = ("candidates", "curves")
    return [name for name in names if not table(first, name).equals(table(second, name))]
