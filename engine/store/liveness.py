"""Does the engine of a run still live? Nothing here writes or locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from engine.store.layout import LIVE_NAME, LOCK_NAME
from engine.store.live import read_live
from engine.store.lock import read_holder

EngineState = Literal["none", "alive", "silent", "dead", "remote"]
SILENT_AFTER_SECONDS = 30.0


class HeartbeatClock:
    """Remembers when each run's heartbeat was last seen to change, by the reader's own clock.

    Clocks differ between hosts, so the times that an engine writes are never compared with ours.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: dict[Path, tuple[object, float]] = {}

    def seconds_unchanged(self, folder: Path, beat: object) -> float:
        """Return for how long this reader has seen the same `beat`; 0 when it is new."""
        now = self._now()
        last, since = self._seen.get(folder, (None, now))
        if last != beat:
            since = now
        self._seen[folder] = (beat, since)
        return now - since


def engine_state(folder: Path, clock: HeartbeatClock) -> EngineState:
    """Tell what can be known of the process that writes a run.

    Args:
        folder: the run folder.
        clock: keep one over successive calls; a silence is only heard over time.

    Returns:
        "none" (nobody holds the lock), "alive", "silent" (its process is there but its heartbeat
        has not changed for 30 s), "dead" (its process is gone) or "remote" (another host's).
    """
    try:
        holder = read_holder(folder / LOCK_NAME)
    except FileNotFoundError:
        return "none"
    if holder is not None and holder.state() != "alive":
        return "dead" if holder.state() == "dead" else "remote"
    live = read_live(folder)
    beat = (holder, None if live is None else (live["heartbeat"], _changed(folder)))
    if clock.seconds_unchanged(folder, beat) >= SILENT_AFTER_SECONDS:
        return "silent"
    return "alive"


def effective_status(status: str, state: EngineState) -> str:
    """Return the status to show: "stalled" where the run waits for an engine that is not there.

    A queued run without an engine is still queued: its engine is about to start.
    """
    gone = state in ("dead", "silent")
    if (status == "running" and (gone or state == "none")) or (
        status in ("queued", "paused") and gone
    ):
        return "stalled"
    return status


def _changed(folder: Path) -> int:
    # A restarted engine may happen to write the same count again; its file is another one.
    try:
        return (folder / LIVE_NAME).stat(follow_symlinks=False).st_ino
    except OSError:
        return 0
