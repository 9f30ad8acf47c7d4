"""Does the engine of a run still live? Nothing here writes or locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine.store.layout import LIVE_NAME, LOCK_NAME
from engine.store.live import read_live
from engine.store.lock import Holder, boot_id, read_holder

EngineState = Literal["none", "alive", "silent", "dead", "remote"]
SILENT_AFTER_SECONDS = 30.0


class HeartbeatClock:
    """Remembers when each run's heartbeat was last seen to change, by the reader's own clock.

    Clocks differ between hosts, so the times that an engine writes are never compared with ours.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: dict[Path, tuple[object, float]] = {}

    def now(self) -> float:
        """Return the reader's own time in seconds."""
        return self._now()

    def seconds_unchanged(self, folder: Path, beat: object) -> float:
        """Return for how long this reader has seen the same `beat`; 0 when it is new."""
        now = self._now()
        last, since = self._seen.get(folder, (None, now))
        if last != beat:
            since = now
        self._seen[folder] = (beat, since)
        return now - since


@dataclass(frozen=True)
class EngineLife:
    """What a reader can tell of the engine of a run.

    Attributes:
        state: see `engine_state`.
        status: the status to show a person; "paused" also where the engine waits for disk room.
        holder: the process that the lock names, or None.
        remote: whether that process is another host's, so that it may live unseen.
        note: what a living engine says it is waiting for, or "".
    """

    state: EngineState
    status: str
    holder: Holder | None = None
    remote: bool = False
    note: str = ""

    @property
    def restarted(self) -> bool:
        """Whether the machine was started anew since the engine began."""
        return self.state == "dead" and self.holder is not None and self.holder.boot != boot_id()


def engine_state(folder: Path, clock: HeartbeatClock) -> EngineState:
    """Tell what can be known of the process that writes a run.

    Args:
        folder: the run folder.
        clock: keep one over successive calls; the silence of another host's engine is only heard
            over time. That of this machine's is known at once, because the engine says when it
            last spoke by a clock that all processes of a machine share.

    Returns:
        "none" (nobody holds the lock), "alive", "silent" (its process is there, or is another
        host's, and its heartbeat has not changed for 30 s), "dead" (its process is gone) or
        "remote" (another host's, not known to be silent).
    """
    return engine_life(folder, "", clock).state


def engine_life(folder: Path, status: str, clock: HeartbeatClock) -> EngineLife:
    """Tell what can be known of a run's engine and which status to show.

    Args:
        folder: the run folder.
        status: the durable status.
        clock: see `engine_state`.
    """
    try:
        holder = read_holder(folder / LOCK_NAME)
    except FileNotFoundError:
        return EngineLife("none", effective_status(status, "none"))
    process = holder.state() if holder else "alive"
    if process == "dead":
        return EngineLife("dead", effective_status(status, "dead"), holder)
    live = read_live(folder)
    beat = (holder, None if live is None else (live["heartbeat"], _changed(folder)))
    silent = clock.seconds_unchanged(folder, beat) >= SILENT_AFTER_SECONDS
    state: EngineState = "alive" if process == "alive" else "remote"
    if silent or (state == "alive" and _last_spoke(holder, live, clock) >= SILENT_AFTER_SECONDS):
        state = "silent"
    shown, note = effective_status(status, state), ""
    # A full disk takes no status, not even that of a stopped run that was resumed; the engine can
    # still say that it waits, and why.
    if state != "silent" and shown != "done" and _waits(holder, live):
        shown, note = "paused", str(live["note"]) if live else ""
    return EngineLife(state, shown, holder, process == "remote", note)


def heartbeat_changes(folder: Path, seconds: float) -> bool:
    """Watch a run until its heartbeat changes, for at most `seconds`; tell whether it did."""
    clock = HeartbeatClock()
    first, end = _beat(folder), clock.now() + seconds
    while clock.now() < end:
        time.sleep(0.1)
        if _beat(folder) != first:
            return True
    return False


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


def _last_spoke(holder: Holder | None, live: dict[str, Any] | None, clock: HeartbeatClock) -> float:
    """Return how many seconds ago an engine of this machine wrote live.json; 0 if not known."""
    if holder is None or live is None or live["pid"] != holder.pid or live["monotonic"] is None:
        return 0.0
    return max(0.0, clock.now() - float(live["monotonic"]))


def _waits(holder: Holder | None, live: dict[str, Any] | None) -> bool:
    """Tell whether the engine that holds the run, not one before it, says that it waits."""
    if live is None or live["status"] != "paused":
        return False
    return holder is None or live["pid"] == holder.pid


def _beat(folder: Path) -> tuple[int, int]:
    live = read_live(folder)
    return (0 if live is None else live["heartbeat"], _changed(folder))


def _changed(folder: Path) -> int:
    # A restarted engine may happen to write the same count again; its file is another one.
    try:
        return (folder / LIVE_NAME).stat(follow_symlinks=False).st_ino
    except OSError:
        return 0
