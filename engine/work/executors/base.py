"""What every executor offers, and what travels between the driver and whoever works for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chunk:
    """Packs that one worker retrains one after another, so that their repeats finish together.

    Attributes:
        number: Names the chunk; a chunk that is tried again gets a new number.
        packs: (repeat, ids of the K candidates) of each pack.
    """

    number: int
    packs: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def retrainings(self) -> int:
        """How many (candidate, repeat) rows it gives."""
        return sum(len(candidates) for _, candidates in self.packs)

    @property
    def width(self) -> int:
        """K of its largest pack."""
        return max(len(candidates) for _, candidates in self.packs)


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has begun with a chunk; `place` says who it is and where it computes, as JSON."""

    chunk: int
    place: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """So many candidate-samples more were trained."""

    chunk: int
    samples: int


@dataclass(frozen=True, slots=True)
class EpochDone:
    """A pack has finished an epoch (counted from 1): test loss and accuracy of each candidate."""

    chunk: int
    repeat: int
    candidates: tuple[int, ...]
    epoch: int
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PackDone:
    """A pack is retrained: its learning curves, (K, epochs, 4), and how long it took."""

    chunk: int
    repeat: int
    candidates: tuple[int, ...]
    curves: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """All packs of a chunk are retrained, and its worker is free again."""

    chunk: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A chunk's worker is gone (killed, out of memory, its machine down); it can be tried again."""

    chunk: int
    why: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A chunk's work raised: doing it again would raise again, unless memory ran out.

    Attributes:
        chunk: Which chunk.
        sentence: What a person is told.
        trace: The traceback, for the log.
        out_of_memory: Whether memory ran out, on a GPU or not, so that half as many may fit.
    """

    chunk: int
    sentence: str
    trace: str
    out_of_memory: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the log."""

    text: str


Report = Started | Trained | EpochDone | PackDone | ChunkDone | Lost | Broken | Note
Tell = Callable[[Report], None]
# Retrains a chunk, telling what happens; what `tell` raises breaks it off.
Work = Callable[[Chunk, Tell], None]


class Setup(Protocol):
    """All that a worker in another process is given once, before its first chunk; it is pickled."""

    def open(self) -> Work:
        """Builds what the work needs, in the worker, and returns the work."""
        ...


class Executor(Protocol):
    """Has chunks worked on, somewhere. Only the driver, which owns the run file, calls it.

    The order in which chunks finish is open. No number of a result depends on the executor.
    """

    @property
    def workers(self) -> int:
        """How many chunks are worked on at a time."""
        ...

    @property
    def threads(self) -> int:
        """How many threads each worker computes with on a CPU."""
        ...

    @property
    def window(self) -> int:
        """How many chunks it takes in; enough that no worker waits for the driver."""
        ...

    def submit(self, chunk: Chunk) -> None:
        """Takes a chunk in; it reports on it by `collect`."""
        ...

    def collect(self, tell: Tell) -> None:
        """Tells what has been reported, in order; waits for a moment where nothing has.

        After ChunkDone, Lost or Broken nothing more is reported of that chunk. What `tell` raises
        comes through, and the executor may then only be cancelled and closed.
        """
        ...

    def hold(self, held: bool) -> None:
        """Has the workers rest, or go on; they obey between two steps."""
        ...

    def cancel(self) -> None:
        """Drops every chunk, finished or not."""
        ...

    def close(self) -> None:
        """Ends the workers; nothing is left behind."""
        ...
