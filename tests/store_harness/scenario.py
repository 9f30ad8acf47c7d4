"""One recorded life of a writer, and the question asked of every state it may be cut off in."""

from __future__ import annotations

from pathlib import Path

from engine.errors import OracleError
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from tests.store_harness.cases import batch, config, missing_rows, wrong_rows
from tests.store_harness.recorder import Change, Recorder

ROWS = 120
N_ROWS = 8 * ROWS


def record_life(parent: Path) -> list[Change]:
    """Return what a writer does: appends, three publishes (one final), a second opening."""
    folder = parent / "life"
    RunWriter.create(folder, config("life", n_total=N_ROWS))
    with Recorder(folder).recording() as recorder:
        for half in range(2):
            with RunWriter.open(folder) as writer:
                writer.set_status("running")
                for i in range(4):
                    writer.append(*batch((4 * half + i) * ROWS, ROWS))
                    recorder.acknowledge((4 * half + i + 1) * ROWS)
                    if i in (1, 3):
                        writer.publish(half == 1 and i == 3)
                    writer.beat({"status": "running", "n_done": i})
                writer.set_status("done")
    return recorder.changes


def problem(folder: Path, acknowledged: int) -> str | None:
    """Return what is wrong with a folder in which these rows were acknowledged, or None.

    It must read at once, resume, take more rows, publish, and read again.
    """
    try:
        with RunReader(folder) as reader:
            if missing_rows(reader, acknowledged):
                return "rows lost"
            if wrong_rows(reader):
                return "rows torn"
        with RunWriter.open(folder) as writer:
            there = len(writer.rows)
            writer.append(*batch(there, ROWS))
            writer.publish()
            writer.append(*batch(there + ROWS, 1))
        with RunReader(folder) as reader:
            if missing_rows(reader, there + ROWS + 1) or wrong_rows(reader):
                return "wrong after resuming"
    except OracleError as error:
        return f"unreadable: {error}"
    return None
