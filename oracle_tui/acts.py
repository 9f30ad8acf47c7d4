"""What must be finished before the process may end. No widget and no file enters."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Acts:
    """Counts the acts that threads are in the middle of: exports, deletions, started engines."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0
        self._changed = threading.Condition()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count what is done inside."""
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until none is going on."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0)
