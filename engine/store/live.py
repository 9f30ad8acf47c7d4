"""The engine's live.json: what it says of the moment, written, and read with checks and bounds."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from engine.errors import RunFileError
from engine.store.disk import read_small, replace_file, write_at
from engine.store.documents import dump_document, parse_document
from engine.store.layout import LIVE_NAME, RUN_STATUSES

STAGES = ("preparing", "pretraining", "compiling", "scoring", "retraining", "finished")
MAX_LIVE_BYTES = 1 << 18
MAX_PROVISIONAL = 4096
_MAX_TEXT = 500
# A file has at least this much room once it has any.
_BLOCK_BYTES = 4096


def write_live(folder: Path, document: dict[str, Any]) -> None:
    """Write live.json; where the disk is full, over the old one, within the room it has.

    Written over, the file may be unreadable for a reader of that very moment; the engine can
    still say that it waits for room.

    Raises:
        OSError: not even that was possible.
    """
    path = folder / LIVE_NAME
    # By the clock that all processes of this machine share, a reader sees how old this is.
    document = document | {"pid": os.getpid(), "monotonic": round(time.monotonic(), 3)}
    document["provisional"] = document.get("provisional", [])[-MAX_PROVISIONAL:]
    try:
        replace_file(path, dump_document(document), durable=False)
        return
    except OSError as error:
        full = error
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, flags)
    try:
        room = os.fstat(fd).st_size
        short = dump_document(document | {"provisional": []})
        if len(short) > max(room, _BLOCK_BYTES):
            raise full
        write_at(fd, short.ljust(room), 0)
    finally:
        os.close(fd)


def read_live(folder: Path) -> dict[str, Any] | None:
    """Return what the engine last said, or None where there is nothing readable.

    Every key of the document is there, with its own type; what is missing or of another type
    becomes 0, "" or None. Provisional outcomes that are not five numbers are left out.
    """
    try:
        document = parse_document(
            read_small(folder / LIVE_NAME, MAX_LIVE_BYTES), LIVE_NAME, MAX_LIVE_BYTES
        )
    except (FileNotFoundError, RunFileError):
        return None
    live: dict[str, Any] = {
        key: _count(document.get(key))
        for key in ("heartbeat", "stage_done", "stage_total", "n_done", "n_total", "pid")
    }
    live["status"] = _one_of(document.get("status"), RUN_STATUSES)
    live["stage"] = _one_of(document.get("stage"), STAGES)
    live["stage_unit"] = _text(document.get("stage_unit"))
    live["note"] = _text(document.get("note"))
    live["rate"] = _number(document.get("rate"))
    live["eta_seconds"] = _number(document.get("eta_seconds"))
    live["monotonic"] = _number(document.get("monotonic"))
    live["provisional"] = _provisional(document.get("provisional"))
    return live


def _provisional(value: object) -> list[list[float]]:
    """Return (candidate, repeat, epoch, test accuracy, test loss) records that are numbers."""
    if not isinstance(value, list):
        return []
    return [
        record
        for record in value[:MAX_PROVISIONAL]
        if isinstance(record, list)
        and len(record) == 5
        and all(_number(item) is not None for item in record)
        and all(type(item) is int and 0 <= item < 1 << 32 for item in record[:3])
    ]


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1 << 63 else 0


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def _text(value: object) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _one_of(value: object, known: tuple[str, ...]) -> str:
    return value if isinstance(value, str) and value in known else ""
