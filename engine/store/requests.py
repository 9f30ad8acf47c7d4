"""Requests left beside a run for its engine: pause, resume, stop."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import RunFileError, UsageError
from engine.store.disk import read_small, reason, remove, replace_file
from engine.store.documents import dump_document, parse_document
from engine.store.layout import FILE_MODE, HDF5_NAME, REQUEST_NAME
from engine.store.text import printable

ACTIONS = ("pause", "resume", "stop")
_MAX_BYTES = 4096


def send_request(folder: Path, action: str) -> None:
    """Leave a request for the engine of a run; it replaces one not yet obeyed.

    Raises:
        UsageError: the action is unknown, or the folder is no run or cannot be written.
    """
    if action not in ACTIONS:
        raise UsageError(f"{printable(action)!r} is not a request; use {', '.join(ACTIONS)}.")
    if not os.path.isfile(folder / HDF5_NAME):
        raise UsageError(f"{printable(str(folder))} is not the folder of a run.")
    time = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        for other in ACTIONS:
            remove(folder / _name_of(other))
        replace_file(
            folder / REQUEST_NAME, dump_document({"action": action, "time": time}), durable=False
        )
    except OSError as error:
        if _leave_name(folder, action):
            return
        raise UsageError(
            f"the request cannot be left in {printable(str(folder))} ({reason(error)})."
        ) from error


def _leave_name(folder: Path, action: str) -> bool:
    """Leave the request as the name of an empty file, for which a full disk has room."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(OSError):
        clear_request(folder)
        os.close(os.open(folder / _name_of(action), flags, FILE_MODE))
        return True
    return False


def _name_of(action: str) -> str:
    return f"request.{action}"


def pending_request(folder: Path) -> str | None:
    """Return the action that was asked for and not yet obeyed; anything else counts as none."""
    for action in ACTIONS:
        if os.path.lexists(folder / _name_of(action)):
            return action
    try:
        data = read_small(folder / REQUEST_NAME, _MAX_BYTES)
        asked = parse_document(data, REQUEST_NAME, _MAX_BYTES).get("action")
    except (FileNotFoundError, RunFileError):
        return None
    return asked if asked in ACTIONS else None


def clear_request(folder: Path) -> None:
    """Remove the request file.

    Raises:
        OSError: it is there and cannot be removed.
    """
    for name in (REQUEST_NAME, *map(_name_of, ACTIONS)):
        remove(folder / name)
