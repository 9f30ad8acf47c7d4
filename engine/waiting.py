"""The queue of runs: their order in a file that several programs may edit at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engine.errors import RunFileError, UsageError
from engine.folders import ensure_private
from engine.store.disk import read_small, replace_file
from engine.store.documents import dump_document, parse_document

QUEUE_NAME = ".queue.json"
ENGINE_LOCK_NAME = ".queue.engine"
LOG_NAME = ".queue.log"
_LOCK_NAME = ".queue.lock"
_MAX_BYTES = 1 << 22


class RunQueue:
    """Names of runs of one folder, in the order they are to be worked on."""

    def __init__(self, runs_folder: Path) -> None:
        """Takes the folder of runs."""
        self.folder = runs_folder

    def names(self) -> list[str]:
        """Returns the names of the runs that wait or are worked on, the next one first.

        A file that cannot be read counts as an empty queue: the runs themselves are safe.
        """
        try:
            data = read_small(self.folder / QUEUE_NAME, _MAX_BYTES)
            runs = parse_document(data, "the queue", _MAX_BYTES).get("runs")
        except (FileNotFoundError, NotADirectoryError, RunFileError):
            return []
        names = runs if isinstance(runs, list) else []
        return [n for n in names if isinstance(n, str) and n and os.sep not in n and n[0] != "."]

    def add(self, names: Sequence[str]) -> None:
        """Puts runs at the end; those that are in it already keep their place."""
        self._edit(lambda queue: [*queue, *(name for name in names if name not in queue)])

    def remove(self, name: str) -> None:
        """Takes a run out; the run itself stays.

        Raises:
            UsageError: It is not in the queue.
        """
        self._require(name)
        self._edit(lambda queue: [other for other in queue if other != name])

    def move(self, name: str, place: int) -> None:
        """Moves a run to a place counted from 1; a place beyond the end is the last.

        Raises:
            UsageError: It is not in the queue, or there is no such place.
        """
        self._require(name)
        if place < 1:
            raise UsageError(f"Places in the queue count from 1, not from {place}.")

        def moved(queue: list[str]) -> list[str]:
            others = [other for other in queue if other != name]
            return [*others[: place - 1], name, *others[place - 1 :]]

        self._edit(moved)

    def _require(self, name: str) -> None:
        if name not in self.names():
            raise UsageError(f"{name} is not in the queue; `oracle-tui queue` lists it.")

    def _edit(self, change: Callable[[list[str]], list[str]]) -> None:
        with self._locked():
            document = dump_document({"version": 1, "runs": change(self.names())})
            try:
                replace_file(self.folder / QUEUE_NAME, document)
            except OSError as error:
                raise UsageError(
                    f"The queue in {self.folder} cannot be written: {error.strerror}."
                ) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        ensure_private(self.folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self.folder / _LOCK_NAME, flags, 0o600)
        except OSError as error:
            raise UsageError(
                f"The queue in {self.folder} cannot be locked: {error.strerror}."
            ) from error
        try:
            with contextlib.suppress(OSError):  # a file system without locks has one user
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
