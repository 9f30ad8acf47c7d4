"""The executor of one device: chunks are worked on by the driver itself, while it collects."""

from __future__ import annotations

from collections import deque

from engine.work.executors.base import Chunk, Report, Started, Tell, Work
from engine.work.executors.failures import broken, release_gpu_memory
from engine.work.executors.place import place_of


class _Told(Exception):
    """Carries what the driver raised through the work, so that it is not taken for the work's."""

    def __init__(self, told: BaseException) -> None:
        self.told = told


class InlineExecutor:
    """Works in this process; a pause or stop is obeyed inside `tell`, between two steps."""

    workers = 1
    window = 1

    def __init__(self, work: Work, threads: int, device: str) -> None:
        """Takes the work, and what this process computes with."""
        self._work, self.threads, self._device = work, threads, device
        self._waiting: deque[Chunk] = deque()

    def submit(self, chunk: Chunk) -> None:
        """Takes a chunk in."""
        self._waiting.append(chunk)

    def collect(self, tell: Tell) -> None:
        """Works on the next chunk to its end."""
        if not self._waiting:
            return
        chunk = self._waiting.popleft()

        def told(report: Report) -> None:
            try:
                tell(report)
            except BaseException as raised:
                raise _Told(raised) from raised

        try:
            told(Started(chunk.number, place_of(self._device, self.threads)))
            self._work(chunk, told)
        except _Told as carrier:
            raise carrier.told from None
        except Exception as error:
            report = broken(chunk.number, error)
        else:
            return
        # Out of the handler the frames that hold a GPU's memory are gone.
        release_gpu_memory()
        tell(report)

    def hold(self, held: bool) -> None:
        """Has nothing to do: while the driver rests, so does the work."""

    def cancel(self) -> None:
        """Drops the chunks that wait."""
        self._waiting.clear()

    def close(self) -> None:
        """Has nothing to end."""
