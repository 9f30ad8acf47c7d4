"""What can be asked of a queue, from the command line and from the app: see, edit, start, stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.control import package_search_path
from engine.errors import OracleError, UsageError
from engine.estimate import estimate
from engine.folders import ensure_private
from engine.spec import StudySpec
from engine.store.liveness import HeartbeatClock, engine_life
from engine.store.lock import read_holder
from engine.store.reader import RunReader
from engine.summary import finished_rows
from engine.waiting import ENGINE_LOCK_NAME, LOG_NAME, RunQueue

_MOST_SAID = 4_096


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run in the queue, as it was last seen.

    Attributes:
        id: Its name.
        status: As a person should see it, `stalled` and `missing` among them.
        n_done: Retrainings that are finished.
        n_total: Retrainings in all.
        where: Executor and device; of a run that cannot be read, why.
        workers: What its engine wrote of who works on it.
        pid: The engine's process on this machine, while there is one.
        seconds: How long it will still take, by its engine or else by the estimate for this
            machine; None where nobody can tell.
    """

    id: str
    status: str
    n_done: int = 0
    n_total: int = 0
    where: str = ""
    workers: tuple[Any, ...] = ()
    pid: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue: its runs in order, and the process on this machine that works through it."""

    runs: tuple[QueuedRun, ...]
    engine: int | None

    @property
    def seconds(self) -> float:
        """How long all of it will take, one run after the other, as far as it is known."""
        return sum(run.seconds or 0.0 for run in self.runs)


class QueueReader:
    """Looks at a folder's queue, again and again; what has not changed is not read again."""

    def __init__(self, runs_folder: Path) -> None:
        """Takes the folder of runs; it need not exist."""
        self.folder = runs_folder
        self._clock = HeartbeatClock()
        self._readers: dict[str, RunReader] = {}
        self._estimates: dict[str, float | None] = {}

    def read(self) -> QueueState:
        """Returns the queue as it is now."""
        names = RunQueue(self.folder).names()
        self._readers = {name: self._readers[name] for name in names if name in self._readers}
        return QueueState(tuple(map(self._look, names)), queue_engine_pid(self.folder))

    def _look(self, name: str) -> QueuedRun:
        folder = self.folder / name
        try:
            reader = self._readers.get(name)
            if reader is None:
                reader = self._readers[name] = RunReader(folder)
            else:
                reader.refresh()
        except OracleError as error:
            self._readers.pop(name, None)
            why = str(error) if folder.exists() else "the run was deleted"
            return QueuedRun(name, "missing", where=why)
        life = engine_life(folder, reader.status, self._clock)
        holder = life.holder if life.state in ("alive", "silent") and not life.remote else None
        environment = reader.config.get("environment") or {}
        done, total = len(finished_rows(reader.rows)), int(reader.config["n_total"])
        live = (reader.live() or {}) if life.state == "alive" else {}
        seconds = live.get("eta_seconds")
        if seconds is None and total:
            guess = self._estimate(name, reader)
            seconds = None if guess is None else guess * (total - done) / total
        return QueuedRun(
            name,
            life.status,
            done,
            total,
            f"{reader.config.get('executor') or 'inline'}, {reader.config.get('device')}",
            tuple(environment.get("workers") or ()),
            None if holder is None else holder.pid,
            seconds,
        )

    def _estimate(self, name: str, reader: RunReader) -> float | None:
        if name not in self._estimates:
            try:
                spec = StudySpec.from_json(reader.config["spec"])
                device = str(reader.config.get("device") or "auto")
                self._estimates[name] = estimate(spec, device).seconds
            except (OracleError, KeyError):  # another version's spec: nobody can tell
                self._estimates[name] = None
        return self._estimates[name]


def queue_engine_pid(runs_folder: Path) -> int | None:
    """Returns the process on this machine that works through the queue, if there is one."""
    try:
        holder = read_holder(runs_folder / ENGINE_LOCK_NAME)
    except FileNotFoundError:
        return None
    return holder.pid if holder is not None and holder.state() == "alive" else None


def last_word(runs_folder: Path) -> str:
    """Returns the last line that whoever works through the queue has written; "" for none."""
    try:
        with (runs_folder / LOG_NAME).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_SAID))
            lines = file.read(_MOST_SAID).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def find_queued(names: Sequence[str], text: str) -> str:
    """Returns the queued run that a name, or the beginning of one, means.

    Raises:
        UsageError: None does, or several do.
    """
    if text in names:
        return text
    matches = [name for name in names if text and name.startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{text!r} matches {len(matches)} queued runs; give more of the id.")
    raise UsageError(f"No run in the queue begins with {text!r}; `oracle-tui queue` lists it.")


def add_runs(runs_folder: Path, runs: Sequence[Path]) -> list[str]:
    """Puts runs at the end of the queue and returns their names.

    Raises:
        UsageError: One is not of this folder, or done; then none is put there.
    """
    for run in runs:
        if run.parent.resolve() != runs_folder.resolve() or not run.is_dir():
            raise UsageError(f"{run} is not a run of {runs_folder}, so its queue cannot hold it.")
        if RunReader(run).status == "done":
            raise UsageError(f"{run.name} is done; there is nothing to queue.")
    names = [run.name for run in runs]
    RunQueue(runs_folder).add(names)
    return names


def queue_command(runs_folder: Path, at_once: int | None) -> list[str]:
    """Returns the command of the process that works through a queue."""
    count = [] if at_once is None else [str(at_once)]
    return [sys.executable, "-P", "-m", "engine", "--queue", str(runs_folder.resolve()), *count]


def queue_environment() -> dict[str, str]:
    """Returns the environment of that process."""
    return {**os.environ, "PYTHONPATH": package_search_path()}


def start_queue(runs_folder: Path, at_once: int | None = None) -> str:
    """Works through the queue in a process of its own; returns what to tell the person.

    Raises:
        UsageError: Its log cannot be written, or the process cannot be started.
    """
    if queue_engine_pid(runs_folder) is not None:
        return "The queue is being worked through already."
    ensure_private(runs_folder)
    log = runs_folder / LOG_NAME
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(log, flags, 0o600)
    except OSError as error:
        raise UsageError(f"{log} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "ab") as file:
        try:
            engine = subprocess.Popen(
                queue_command(runs_folder, at_once),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=queue_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise UsageError(f"The queue's engine cannot be started: {error}.") from error
    # Somebody has to collect the exit status, or an engine that was killed looks alive.
    threading.Thread(target=engine.wait, daemon=True).start()
    return f"The queue is worked through in the background; {log} says how it goes."


def stop_queue(runs_folder: Path) -> str:
    """Asks whoever works through the queue, and its runs, to stop; returns what to tell.

    Raises:
        UsageError: Nobody on this machine does.
    """
    pid = queue_engine_pid(runs_folder)
    if pid is None:
        raise UsageError(f"Nobody on this machine works through the queue of {runs_folder}.")
    os.kill(pid, signal.SIGTERM)
    return "The runs in work are asked to stop; they stay in the queue."
