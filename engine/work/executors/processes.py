"""The executor of one machine: worker processes, each with a device or a share of the cores."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from engine.work.executors.base import Broken, Chunk, ChunkDone, Lost, Report, Setup, Tell
from engine.work.executors.throttle import quiet_seconds
from engine.work.executors.worker import GO, HOLD, Pipe, serve

_WAIT_SECONDS = 0.5
_END_SECONDS = 5.0
# Reports taken from one worker before the next is looked at.
_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one worker works.

    Attributes:
        setup: What it is given, once.
        device: The device's name in the worker.
        threads: Threads it computes with on a CPU.
        env: Variables of its environment that choose its GPU.
    """

    setup: Setup
    device: str
    threads: int
    env: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Pipe[Any, Any]
    chunk: Chunk | None = None


class ProcessExecutor:
    """Workers that share nothing with each other: one that is killed takes only its chunk along.

    They are started when there is a chunk for them, and end when the driver does, even by SIGKILL.
    """

    def __init__(self, seats: Sequence[Seat]) -> None:
        """Takes where the workers work; one worker each."""
        self._context = multiprocessing.get_context("spawn")
        self._seats = list(seats)
        self._workers: list[_Worker | None] = [None] * len(self._seats)
        self._waiting: deque[Chunk] = deque()
        self._held = False

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._seats)

    @property
    def threads(self) -> int:
        """Threads of each worker."""
        return self._seats[0].threads

    @property
    def window(self) -> int:
        """Twice as many chunks as workers, so that each finds its next one waiting."""
        return 2 * self.workers

    def submit(self, chunk: Chunk) -> None:
        """Takes a chunk in, and hands it to a worker that is free."""
        self._waiting.append(chunk)
        self._hand_out()

    def collect(self, tell: Tell) -> None:
        """Tells what the workers reported; waits up to half a second for a report."""
        busy = {worker.pipe: place for place, worker in enumerate(self._workers) if worker}
        reports: list[Report] = []
        for pipe in connection.wait(list(busy), _WAIT_SECONDS) if busy else ():
            reports.extend(self._listen(busy[pipe]))  # type: ignore[index]
        # The workers get their next chunks before the driver turns to the disk.
        self._hand_out()
        for report in reports:
            tell(report)

    def hold(self, held: bool) -> None:
        """Has the workers rest, or go on."""
        self._held = held
        for worker in filter(None, self._workers):
            self._send(worker, HOLD if held else GO)

    def cancel(self) -> None:
        """Drops every chunk by ending the workers; new ones start with the next chunk."""
        self._waiting.clear()
        ending = [worker for worker in self._workers if worker]
        self._workers = [None] * len(self._seats)
        for worker in ending:
            worker.process.terminate()
        for worker in ending:
            _end(worker)

    def close(self) -> None:
        """Ends the workers."""
        self.cancel()

    def _hand_out(self) -> None:
        for place, worker in enumerate(self._workers):
            if not self._waiting:
                return
            if worker is not None and worker.chunk is not None:
                continue
            ready = worker or self._start(place)
            ready.chunk = self._waiting.popleft()
            # A worker that is gone is noticed when its pipe is read.
            self._send(ready, ready.chunk)

    def _start(self, place: int) -> _Worker:
        seat = self._seats[place]
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve,
            args=(
                theirs,
                seat.setup,
                seat.device,
                seat.threads,
                seat.env,
                quiet_seconds(self.workers),
            ),
            name=f"worker-{place}",
            daemon=True,
        )
        process.start()
        # With our copy of the worker's end open, its death would not close the pipe.
        theirs.close()
        worker = _Worker(process, ours)
        self._workers[place] = worker
        if self._held:
            self._send(worker, HOLD)
        return worker

    def _listen(self, place: int) -> list[Report]:
        """Returns what a worker has reported, and takes note if it is free or gone."""
        worker = self._workers[place]
        assert worker is not None
        reports: list[Report] = []
        try:
            while len(reports) < _AT_A_TIME and worker.pipe.poll():
                report = worker.pipe.recv()
                reports.append(report)
                if isinstance(report, ChunkDone | Broken):
                    worker.chunk = None
        except (EOFError, OSError):
            self._workers[place] = None
            how = _end(worker)
            if worker.chunk is not None:
                reports.append(Lost(worker.chunk.number, f"worker {place} {how}"))
        return reports

    @staticmethod
    def _send(worker: _Worker, message: object) -> None:
        try:
            worker.pipe.send(message)
        except OSError:
            return  # its end of the pipe is closed; whoever reads the pipe takes note


def _end(worker: _Worker) -> str:
    """Ends a worker for good; returns how it ended."""
    worker.process.join(_END_SECONDS)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.pipe.close()
    code = worker.process.exitcode
    worker.process.close()
    if code is not None and code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"
