"""`pause`, `resume` and `stop`: requests to an engine, and a new engine where none is left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.manual import command, option
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import (
    chosen_runs_folder,
    resume_hint,
    run_argument,
    runs_dir_option,
)
from oracle_tui.cli.summaries import life_columns, life_of

if TYPE_CHECKING:
    from engine.store.liveness import EngineLife
    from engine.store.reader import RunReader

# An engine obeys between two steps; longer than this a person is told that it will.
_WAIT_SECONDS = 8.0
_POLL_SECONDS = 0.1
# How long a heartbeat is waited for before an engine of another host may be taken for gone.
_LISTEN_SECONDS = 5.0


@command(
    examples=(("oracle-tui pause 1a2b", "The engine waits at its next step; `resume` wakes it."),)
)
@run_argument
@runs_dir_option
def pause(run: str) -> ExitCode:
    """Ask a run's engine to pause; it keeps its memory and its place.

    The command waits 8 seconds for the engine, which obeys between two steps; the request stays.
    """
    folder, life = _find(run)
    if life.status == "paused" and _has_engine(life):
        say(f"{folder.name} is paused already.")
        return ExitCode.OK
    return _request(folder, life, "pause", "paused")


@command(examples=(("oracle-tui stop 1a2b", "The engine ends; `resume` starts another one."),))
@run_argument
@runs_dir_option
def stop(run: str) -> ExitCode:
    """Ask a run's engine to stop; what is finished is kept.

    The command waits 8 seconds for the engine, which obeys between two steps; the request stays.
    """
    folder, life = _find(run)
    if life.status == "stopped":
        say(f"{folder.name} is stopped already.")
        return ExitCode.OK
    return _request(folder, life, "stop", "stopped")


@command(
    examples=(
        ("oracle-tui resume 1a2b", "In the background."),
        ("oracle-tui resume 1a2b --follow", "With progress, until the run is done."),
    )
)
@run_argument
@option("--follow", is_flag=True, help="Stay and show progress, as `run` does.")
@option(
    "--takeover",
    is_flag=True,
    help="Take the run over from the engine of another machine, once it has been silent for "
    "5 seconds.",
)
@runs_dir_option
def resume(run: str, follow: bool, takeover: bool) -> ExitCode:
    """Go on with a run that is paused, stopped, failed or left alone.

    Where its engine is gone, another one is started. Nothing finished is computed again, and the
    numbers are those of an uninterrupted run.
    """
    folder, life = _find(run)
    if life.status == "done":
        raise UsageError(f"{folder.name} is done; there is nothing to resume.")
    if takeover and life.remote:
        return _take_over(folder, life, follow)
    if life.state in ("none", "dead"):
        return _start_again(folder, follow)
    if life.state == "silent":
        raise UsageError(f"{folder.name}: {_hint(folder, life)}")
    if life.status == "running":
        hint = _hint(folder, life)
        say(f"{folder.name} is running already{f': {hint}' if hint else '.'}")
        return ExitCode.OK
    return _request(folder, life, "resume", "running")


def _find(text: str) -> tuple[Path, EngineLife]:
    from engine.store.listing import find_run
    from engine.store.reader import RunReader

    path = find_run(chosen_runs_folder(), text)
    if not path.is_dir():
        raise UsageError(f"{path} is a copied run file, which no engine can work on.")
    return path, life_of(path, RunReader(path).status)


def _has_engine(life: EngineLife) -> bool:
    """Whether an engine is there to be asked: one of this host, or one of another host."""
    return life.state in ("alive", "remote")


def _hint(folder: Path, life: EngineLife) -> str:
    return life_columns(folder, life)["hint"]


def _take_over(folder: Path, life: EngineLife, follow: bool) -> ExitCode:
    """Starts an engine in place of another host's, unless that one is heard meanwhile."""
    from engine.store.liveness import heartbeat_changes

    if heartbeat_changes(folder, _LISTEN_SECONDS):
        raise UsageError(
            f"The engine of {folder.name}, {life.holder}, lives: its heartbeat changes; stop it "
            "before taking the run over."
        )
    return _start_again(folder, follow, takeover=True)


def _request(folder: Path, life: EngineLife, action: str, wanted: str) -> ExitCode:
    """Sends a request and tells whether it was obeyed within a few seconds.

    Raises:
        UsageError: There is no engine, or it does not answer.
    """
    from engine.store.reader import RunReader
    from engine.store.requests import send_request

    if life.state == "silent":
        raise UsageError(f"{folder.name} cannot {action}: {_hint(folder, life)}")
    if not _has_engine(life):
        hint = "" if life.status == "done" else f"; go on with `{resume_hint(folder)}`"
        raise UsageError(
            f"{folder.name} has no engine to {action}, its status is {life.status}{hint}."
        )
    send_request(folder, action)
    reader = RunReader(folder)
    before = _heartbeat(reader)
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        reader.refresh()
        if reader.status == wanted:
            say(f"{folder.name} is {wanted}.")
            return ExitCode.OK
        if reader.status in ("done", "failed"):
            raise UsageError(f"{folder.name} was {reader.status} before it could {action}.")
        time.sleep(_POLL_SECONDS)
    if _heartbeat(reader) == before and life.remote:
        raise UsageError(
            f"The engine of {folder.name} has not answered yet; the request stays for it. "
            f"{_hint(folder, life)}"
        )
    if _heartbeat(reader) == before:
        raise UsageError(
            f"The engine of {folder.name} does not answer; if it hangs, end the process named in "
            f"{folder / 'lock'} and resume the run."
        )
    say(f"{folder.name} was asked to {action}; its engine obeys at its next step.")
    return ExitCode.OK


def _heartbeat(reader: RunReader) -> int | None:
    live = reader.live()
    return None if live is None else int(live["heartbeat"])


def _start_again(folder: Path, follow: bool, *, takeover: bool = False) -> ExitCode:
    from engine.control import start_engine
    from engine.store.liveness import HeartbeatClock, engine_state
    from oracle_tui.cli import following

    engine = start_engine(folder, takeover=takeover)
    if follow:
        return following.follow(folder, engine)
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        if engine.poll():
            why = following.early_words(folder) or "see engine.log in its folder"
            raise UsageError(f"The engine of {folder.name} could not begin: {why}")
        if engine.poll() == 0 or engine_state(folder, HeartbeatClock()) == "alive":
            break
        time.sleep(_POLL_SECONDS)
    say(f"A new engine goes on with {folder.name}.")
    return ExitCode.OK
