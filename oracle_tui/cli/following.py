"""Watches an engine from outside, by what it publishes, until it has ended."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import resume_hint
from oracle_tui.cli.progress import ProgressLine

if TYPE_CHECKING:
    import subprocess

    from engine.store.reader import RunReader

_POLL_SECONDS = 0.25
_MAX_ERRORS_BYTES = 1 << 20
_LAST = frozenset({"done", "failed", "stopped"})


def follow(run: Path, engine: subprocess.Popen[bytes]) -> ExitCode:
    """Shows progress until the engine ends, says how it ended, and returns the exit code of that.

    Ctrl-C asks the engine to stop and waits until it has kept everything; a second one leaves it
    to do so by itself.
    """
    from engine.store.reader import RunReader
    from engine.store.requests import send_request

    reader = RunReader(run)
    progress = ProgressLine()
    progress.show({"stage": "starting"})
    interrupted = False
    while True:
        try:
            _watch(reader, engine, progress)
            break
        except KeyboardInterrupt:
            progress.end()
            if interrupted:
                say(f"The engine stops by itself; go on later with `{resume_hint(run)}`.")
                return ExitCode.INTERRUPTED
            interrupted = True
            send_request(run, "stop")
            say("Stopping; what is finished is kept. Ctrl-C again leaves the engine to it.")
    return _conclude(reader, run)


def early_words(run: Path) -> str:
    """Returns the last line an engine left that ended before it could write to its run."""
    from engine.control import ERRORS_NAME
    from engine.errors import RunFileError
    from engine.store.disk import read_small

    try:
        text = read_small(run / ERRORS_NAME, _MAX_ERRORS_BYTES).decode(errors="replace")
    except (OSError, RunFileError):
        return ""
    lines = text.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _watch(reader: RunReader, engine: subprocess.Popen[bytes], progress: ProgressLine) -> None:
    """Shows progress until the engine process has ended."""
    while engine.poll() is None:
        time.sleep(_POLL_SECONDS)
        # A live record of an engine before this one says nothing about this one.
        live = reader.live()
        reader.refresh()
        if live is not None and reader.status not in _LAST:
            progress.show(live)
    progress.end()
    reader.refresh()


def _conclude(reader: RunReader, run: Path) -> ExitCode:
    finished = f"{_finished(reader):,} of {reader.config['n_total']:,}"
    if reader.status == "done":
        say(f"Done: {finished} retrainings.")
        return ExitCode.OK
    if reader.status == "failed":
        say(reader.message or "The study failed; see engine.log in the run's folder.")
        return ExitCode.FAILED
    if reader.status == "stopped":
        say(f"Stopped at {finished} retrainings; go on with `{resume_hint(run)}`.")
        return ExitCode.INTERRUPTED
    why = early_words(run)
    say(
        f"The engine ended unexpectedly at {finished} retrainings{f' ({why})' if why else ''}; "
        f"go on with `{resume_hint(run)}`."
    )
    return ExitCode.FAILED


def _finished(reader: RunReader) -> int:
    from engine.summary import finished_rows

    return len(finished_rows(reader.rows))
