"""The command line as a person meets it: what it prints, where, and its exit code."""

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.control import create_run
from engine.entries import read_entries
from engine.presets import QUICK
from engine.store.layout import RowStatus, empty_rows
from engine.store.writer import RunWriter
from engine.summary import summarise_run
from oracle_tui.cli.main import run_command_line


@dataclass(frozen=True)
class Answer:
    """What one command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON; NaN and infinities are refused, as a strict parser does."""
        return json.loads(self.out, parse_constant=_refuse)


Command = Callable[..., Answer]


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture
def oracle_tui() -> Command:
    """Runs one command in this process."""

    def run(*arguments: str) -> Answer:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_command_line(arguments)
            out.flush()
        return Answer(int(code), out.buffer.getvalue().decode(), err.getvalue())

    return run


@pytest.fixture
def make_run(own_folders: Path) -> Callable[..., Path]:
    """Makes a run in the test's runs folder, written by the store itself.

    Candidate i has pruned train loss i and, where finished, best test accuracy .9 - i / 100 but
    for candidate 3, which is better than the oracle.
    """

    def make(entries: dict[str, str] | None = None, *, finished: int = 45, status: str = "done"):
        spec = read_entries(entries or {}, QUICK)
        run = create_run(own_folders / "runs", spec, "cpu")
        with RunWriter.open(run) as writer:
            n = spec.rows
            rows = empty_rows(n)
            rows["candidate"] = np.arange(n) // spec.repeats
            rows["repeat"] = np.arange(n) % spec.repeats
            rows["status"] = RowStatus.SCORED
            rows["pruned_train_loss"] = rows["candidate"]
            rows["pruned_train_acc"] = 0.5
            rows["status"][:finished] = RowStatus.DONE
            accuracy = np.where(rows["candidate"] == 3, 0.95, 0.9 - rows["candidate"] / 100)
            curves = np.full((n, spec.retrain.epochs, 4), np.nan, np.float32)
            for row in range(finished):
                rows["best_epoch"][row] = rows["epochs"][row] = spec.retrain.epochs
                curves[row] = (0.3, 0.9, 0.2, accuracy[row])
                for name in ("best_test", "last_test", "last5_test"):
                    rows[f"{name}_acc"][row] = accuracy[row]
                    rows[f"{name}_loss"][row] = 1 - accuracy[row]
                rows["final_train_loss"][row] = rows["last_train_loss"][row] = 0.3
                rows["seconds"][row], rows["finished_at"][row] = 1.5, 1_000_000.0 + row
            pruned = [
                [list(layer) for layer in spec.space[int(candidate)]]
                for candidate in rows["candidate"]
            ]
            writer.append(rows, curves, pruned)
            writer.set_status(status)
            writer.set_summary(summarise_run(writer.config, status, writer.rows))
            writer.publish(final=status == "done")
        return run

    return make
