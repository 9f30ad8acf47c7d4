"""Works through the queue of runs: `python -m engine --queue RUNS_FOLDER`, an engine for each."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.control import start_engine
from engine.errors import OracleError, UsageError
from engine.gpus import choose, this_user, visible_gpus
from engine.placement import read_placement
from engine.store.liveness import HeartbeatClock, engine_state
from engine.store.lock import RunLock
from engine.store.reader import RunReader
from engine.store.requests import send_request
from engine.waiting import ENGINE_LOCK_NAME, RunQueue

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Slot:
    """Room for one run: a GPU by its uuid, a share of the cores, or everything there is."""

    gpu: str = ""
    cores: frozenset[int] = frozenset()
    everything: bool = False

    def __str__(self) -> str:
        if self.everything:
            return "all devices"
        return f"GPU {self.gpu}" if self.gpu else f"{len(self.cores)} cores"


class QueueEngine:
    """Keeps as many engines at work as there are devices for, in the queue's order.

    The order may change at any time; a run that has begun goes on. Engines live on their own: if
    this process is killed, the next one finds their runs in work, and waits for them.
    """

    def __init__(self, runs_folder: Path, at_once: int | None, say: Callable[[str], None]) -> None:
        """Takes the folder of runs, and how many runs share the cores of a machine without GPUs."""
        self._queue, self._say = RunQueue(runs_folder), say
        self._at_once = max(1, at_once or 1)
        self._clock = HeartbeatClock()
        self._started: dict[str, tuple[subprocess.Popen[bytes], _Slot]] = {}
        self._stopping = False
        self._told = ""

    def stop(self) -> None:
        """Asks the runs in work to stop; they stay in the queue."""
        self._stopping = True

    def run(self) -> None:
        """Works until the queue is empty, or until told to stop.

        Raises:
            RunFileError: Another process works through this queue.
        """
        lock = RunLock.acquire(self._queue.folder / ENGINE_LOCK_NAME)
        try:
            while not self._stopping and self._step():
                time.sleep(_POLL_SECONDS)
            if self._stopping:
                self._stop_engines()
        finally:
            lock.release()

    def _step(self) -> bool:
        """Takes note of what has ended and starts what there is room for; False at the end."""
        self._take_off()
        names = self._queue.names()
        found = [name for name in names if name not in self._started and self._in_work(name)]
        for name in names:
            if name in self._started or name in found:
                continue
            try:
                slot = self._free_slot(name, len(found))
                if slot is None:
                    break
                self._start(name, slot)
            except OracleError as error:
                self._say(f"{name} is taken off the queue: {error}")
                self._queue.remove(name)
        return bool(names)

    def _take_off(self) -> None:
        for name, (engine, _) in list(self._started.items()):
            if engine.poll() is None:
                continue
            del self._started[name]
            said = self._status(name)
            ended = (
                f"ended unexpectedly as {said}" if said in ("queued", "running", "paused") else said
            )
            self._say(f"{name}: {ended}")
            if name in self._queue.names():
                self._queue.remove(name)

    def _start(self, name: str, slot: _Slot) -> None:
        run = self._queue.folder / name
        if RunReader(run).status == "done":
            self._queue.remove(name)
            return
        env = {"CUDA_VISIBLE_DEVICES": slot.gpu} if slot.gpu else {}
        engine = start_engine(run, env=env)
        if slot.cores:
            os.sched_setaffinity(engine.pid, slot.cores)
        self._started[name] = (engine, slot)
        self._say(f"{name}: started on {slot}, process {engine.pid}")

    def _free_slot(self, name: str, found: int) -> _Slot | None:
        """Returns room for a run, or None where it has to wait.

        Args:
            name: The run.
            found: How many runs are in work that this process has not started.
        """
        slots = [slot for _, slot in self._started.values()]
        config = RunReader(self._queue.folder / name).config
        if read_placement(str(config.get("executor") or "inline")).kind != "inline":
            # Its executor takes every device it finds.
            return None if slots or found else _Slot(everything=True)
        if any(slot.everything for slot in slots) or found:
            return None
        device = str(config.get("device_asked") or config.get("device") or "auto")
        gpus = visible_gpus() if device in ("auto", "cuda") else []
        taken = {slot.gpu for slot in slots}
        if gpus:
            left = [gpu for gpu in gpus if gpu.uuid not in taken]
            try:
                return _Slot(gpu=choose(left, 1, this_user())[0].uuid) if left else None
            except UsageError as error:
                self._say_once(str(error))
                return None
        if device.startswith("cuda"):
            return _Slot(everything=True) if not slots else None
        return self._free_cores([slot for slot in slots if slot.cores])

    def _free_cores(self, slots: list[_Slot]) -> _Slot | None:
        cores = sorted(os.sched_getaffinity(0))
        count = min(self._at_once, len(cores))
        taken = {slot.cores for slot in slots}
        for place in range(count):
            share = frozenset(cores[place::count])
            if share not in taken:
                return _Slot(cores=share)
        return None

    def _in_work(self, name: str) -> bool:
        state = engine_state(self._queue.folder / name, self._clock)
        return state in ("alive", "silent", "remote")

    def _status(self, name: str) -> str:
        try:
            return RunReader(self._queue.folder / name).status
        except OracleError as error:
            return str(error)

    def _stop_engines(self) -> None:
        for name in self._started:
            send_request(self._queue.folder / name, "stop")
        for name, (engine, _) in self._started.items():
            engine.wait()
            self._say(f"{name}: {self._status(name)}; it stays in the queue")

    def _say_once(self, sentence: str) -> None:
        if sentence != self._told:
            self._say(sentence)
        self._told = sentence


def work_through_queue(runs_folder: Path, at_once: int | None) -> None:
    """Works through a folder's queue in this process; SIGTERM and Ctrl-C stop it orderly.

    Raises:
        RunFileError: Another process works through this queue.
    """

    def say(sentence: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {sentence}", flush=True)

    engine = QueueEngine(runs_folder, at_once, say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: engine.stop())
    engine.run()
