"""What the keys do to runs: requests to engines, exports, deletions. No widget enters."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from engine.errors import UsageError


def pause(run: Path) -> str:
    """Ask the engine of a run to pause; return what to tell the person.

    Raises:
        UsageError: no engine of this machine works on it.
    """
    _request(run, "pause")
    return f"{run.name}: asked to pause."


def stop(run: Path) -> str:
    """Ask the engine of a run to stop; what is finished stays.

    Raises:
        UsageError: no engine of this machine works on it.
    """
    _request(run, "stop")
    return f"{run.name}: asked to stop; finished candidates are kept, r resumes it."


def resume(run: Path, status: str) -> str:
    """Go on with a run: wake a paused engine, or start a new one where none is left.

    Raises:
        UsageError: there is nothing to resume, or it runs elsewhere.
    """
    from engine.control import start_engine
    from engine.store.liveness import HeartbeatClock, engine_life
    from engine.store.requests import send_request
    from oracle_tui.life import engine_sentence

    if not run.is_dir():
        raise UsageError(f"{run} is a copied run file, which no engine can work on.")
    life = engine_life(run, status, HeartbeatClock())
    if life.state == "silent" or (life.remote and status == "stalled"):
        take_over = f"take it over with `oracle-tui resume {run.name} --takeover`"
        raise UsageError(engine_sentence(life, "r starts a new one", take_over))
    if status == "done":
        raise UsageError(f"{run.name} is done; there is nothing to resume.")
    if life.state in ("none", "dead"):
        start_engine(run)
        return f"{run.name}: a new engine goes on where the last one stopped."
    if status != "paused":
        raise UsageError(f"{run.name} has its engine already.")
    send_request(run, "resume")
    return f"{run.name}: asked to go on."


def _request(run: Path, action: str) -> None:
    from engine.store.requests import send_request

    if not _has_engine(run):
        raise UsageError(f"{run.name} has no engine to {action}; r starts one.")
    send_request(run, action)


def _has_engine(run: Path) -> bool:
    """Whether an engine holds the run, be it silent, or another machine's.

    Raises:
        UsageError: it is a bare file.
    """
    from engine.store.liveness import HeartbeatClock, engine_state

    if not run.is_dir():
        raise UsageError(f"{run} is a copied run file, which no engine can work on.")
    return engine_state(run, HeartbeatClock()) in ("alive", "silent", "remote")


def export(run: Path, run_id: str, folder: Path | None) -> tuple[Path, ...]:
    """Write a run's candidates and summary as CSV, the same bytes as the subcommand.

    Args:
        run: the run.
        run_id: its id, the beginning of the files' names.
        folder: where to; None for the working directory, or the run's own where that is locked.

    Raises:
        UsageError: nothing can be written there, or the run cannot be read.
    """
    from engine.store.reader import RunReader
    from engine.tables import export_csv

    if folder is None:
        folder = Path.cwd()
        if not os.access(folder, os.W_OK):
            folder = run if run.is_dir() else run.parent
    reader = RunReader(run)
    written = []
    for table in ("candidates", "summary"):
        target = folder / f"{Path(run_id).name}-{table}.csv"
        _write(target, export_csv([reader], table))
        written.append(target)
    return tuple(written)


def _write(target: Path, data: bytes) -> None:
    from engine.store.disk import hand_over

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        hand_over(target, data)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written ({error.strerror}); name another folder as export_dir."
        ) from error


def delete(runs: Sequence[Path], runs_dir: Path) -> str:
    """Delete runs from the runs folder for good.

    Raises:
        UsageError: one is still worked on, is not in the folder, or cannot be removed.
    """
    for run in runs:
        if run.parent.resolve() != runs_dir.resolve() or run.is_symlink():
            raise UsageError(f"{run} is not in the runs folder {runs_dir}; delete it by hand.")
        if run.is_dir() and _has_engine(run):
            raise UsageError(f"{run.name} is still running; stop it first with s.")
    for run in runs:
        try:
            if run.is_dir():
                shutil.rmtree(run)
            else:
                run.unlink()
        except OSError as error:
            raise UsageError(f"{run} cannot be deleted: {error.strerror}.") from error
    return f"{runs[0].name} deleted." if len(runs) == 1 else f"{len(runs)} runs deleted."
