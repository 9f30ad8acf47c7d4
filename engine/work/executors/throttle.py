"""Keeps a worker's word about its progress to a few messages a second."""

from __future__ import annotations

import time

from engine.work.executors.base import EpochDone, Report, Tell, Trained

_SECONDS = 0.2
# What all workers together may tell the driver of their progress in a second.
_REPORTS_PER_SECOND = 100


def quiet_seconds(workers: int) -> float:
    """Returns the least time between two words of one of so many workers about its progress."""
    return max(_SECONDS, workers / _REPORTS_PER_SECOND)


class Throttle:
    """Passes reports on; progress that newer progress replaces is held back for a moment."""

    def __init__(self, tell: Tell, seconds: float) -> None:
        """Takes where to, and the least time between two words about progress."""
        self._tell, self._seconds = tell, seconds
        self._chunk, self._samples = 0, 0
        self._epoch: EpochDone | None = None
        self._told_at = time.monotonic()

    def __call__(self, report: Report) -> None:
        """Passes a report on, now or with a later one; results at once."""
        if isinstance(report, Trained):
            self._chunk, self._samples = report.chunk, self._samples + report.samples
        elif isinstance(report, EpochDone):
            self._epoch = report
        else:
            self._flush()
            self._tell(report)
            return
        if time.monotonic() - self._told_at >= self._seconds:
            self._flush()

    def _flush(self) -> None:
        samples, self._samples = self._samples, 0
        epoch, self._epoch = self._epoch, None
        if samples:
            self._tell(Trained(self._chunk, samples))
        if epoch is not None:
            self._tell(epoch)
        self._told_at = time.monotonic()
