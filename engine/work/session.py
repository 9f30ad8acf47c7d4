"""An engine's dealings with the outside: heartbeat, requests, log, and disks that are full."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from engine.store.writer import RunWriter

Result = TypeVar("Result")

_BEAT_SECONDS = 1.0
_RETRY_SECONDS = 2.0
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StopRequested(Exception):
    """Somebody asked the study to stop; everything acknowledged is on disk."""


class TakenOver(Exception):
    """Another host's engine was told to take the run over; this one must not write any more."""


class Session:
    """One engine's time with a run: says what it is doing, and obeys pause, resume and stop.

    A thread of its own publishes the heartbeat, so that it goes on during a long computation.
    """

    def __init__(self, writer: RunWriter, n_total: int) -> None:
        """Takes the run's writer and how many rows the finished study has."""
        self.writer = writer
        # Called with True when the study is to rest, and with False when it goes on.
        self.on_hold: Callable[[bool], None] = lambda held: None
        self._live: dict[str, Any] = {
            "status": "running",
            "stage": "preparing",
            "stage_done": 0,
            "stage_total": 0,
            "stage_unit": "",
            "n_done": 0,
            "n_total": n_total,
            "rate": None,
            "eta_seconds": None,
            "provisional": [],
            "note": "",
        }
        self._guard = threading.Lock()
        self._told_to_stop = False
        self._taken_over = ""
        self._ended = threading.Event()
        self._changed = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Session:
        """Starts the heartbeat."""
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the heartbeat with a last word."""
        self._ended.set()
        self._changed.set()
        self._heart.join()

    def say(self, **changes: Any) -> None:
        """Changes what is published about the progress; the keys are those of `live.json`."""
        with self._guard:
            self._live.update(changes)
        self._changed.set()

    def stage(self, name: str, total: int = 0, unit: str = "") -> None:
        """Begins a stage, in the log too."""
        self.say(stage=name, stage_done=0, stage_total=total, stage_unit=unit, eta_seconds=None)
        self.writer.log(f"stage: {name}")

    def stop(self) -> None:
        """Asks for a stop from inside the process, as a request from outside does."""
        self._told_to_stop = True

    def checkpoint(self) -> None:
        """Obeys what was requested; called between steps, at least every few seconds.

        Raises:
            StopRequested: The study is to stop here.
            TakenOver: The run is another engine's now.
        """
        if self._taken_over:
            raise TakenOver(self._taken_over)
        request = self._request()
        if request == "pause":
            self._pause()
        elif request == "stop":
            raise StopRequested
        elif request is not None:
            self.writer.obeyed()

    def _request(self) -> str | None:
        return "stop" if self._told_to_stop else self.writer.request()

    def keep(self, write: Callable[[], Result]) -> Result:
        """Runs something that writes to disk, waiting for as long as there is no room for it.

        Raises:
            StopRequested: A stop was requested while waiting.
            TakenOver: The run is another engine's now; nothing was written.
        """
        waited = False
        while True:
            self._require_own()
            try:
                result = write()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                if not waited:
                    self._say_full(error)
                waited = True
                if self._request() == "stop":
                    raise StopRequested from error
                time.sleep(_RETRY_SECONDS)
                continue
            if waited:
                self.say(status="running", note="")
                self.writer.log("there is room again; going on")
            return result

    def _say_full(self, error: OSError) -> None:
        note = f"The disk is full ({error.strerror}); waiting for room."
        self.say(status="paused", note=note)
        self.writer.log(note)

    def _require_own(self) -> None:
        holder = self.writer.taken_over_by()
        if holder is not None:
            self._taken_over = f"The run was taken over by {holder}; this engine ends."
        elif self.writer.moved():
            where = self.writer.folder
            self._taken_over = f"The run is no longer at {where}; this engine ends."
        if self._taken_over:
            raise TakenOver(self._taken_over)

    def _pause(self) -> None:
        self.writer.obeyed()
        self.on_hold(True)
        self.keep(lambda: self.writer.set_status("paused"))
        self.keep(self.writer.publish)
        self.say(status="paused")
        self.writer.log("paused")
        while (request := self._request()) not in ("resume", "stop"):
            if request is not None:
                self.writer.obeyed()
            time.sleep(0.2)
        if request == "stop":
            raise StopRequested
        self.writer.obeyed()
        self.keep(lambda: self.writer.set_status("running"))
        self.on_hold(False)
        self.say(status="running")
        self.writer.log("resumed")

    def _beat(self) -> None:
        while True:
            with self._guard:
                live = dict(self._live)
            try:
                self._require_own()
            except TakenOver:  # the next checkpoint raises it where the work is done
                return
            self.writer.beat(live)
            if self._ended.is_set():
                return
            self._changed.wait(_BEAT_SECONDS)
            self._changed.clear()
            self._ended.wait(0.1)
