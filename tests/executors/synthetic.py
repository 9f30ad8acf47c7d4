"""Work for workers of every kind that costs nothing, dies, raises, or lasts as long as asked."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.work.executors.base import Chunk, ChunkDone, EpochDone, PackDone, Tell, Trained, Work


@dataclass(frozen=True)
class Synthetic:
    """Gives each candidate curves that follow from its id.

    Attributes:
        epochs: Rows of a curve.
        folder: Where the work leaves word of itself.
        deadly: A candidate that kills its worker, while `folder` has no file `survived`.
        wrong: A candidate over which the work raises.
        seconds: How long an epoch lasts.
    """

    epochs: int
    folder: str
    deadly: int | None = None
    wrong: int | None = None
    seconds: float = 0.0

    def open(self) -> Work:
        Path(self.folder, f"opened-{os.getpid()}").touch()
        return self.work

    def work(self, chunk: Chunk, tell: Tell) -> None:
        for repeat, candidates in chunk.packs:
            for epoch in range(1, self.epochs + 1):
                time.sleep(self.seconds)
                with Path(self.folder, "steps").open("a") as file:
                    file.write("step\n")
                tell(Trained(chunk.number, 10 * len(candidates)))
                losses = tuple(float(c) for c in candidates)
                tell(EpochDone(chunk.number, repeat, candidates, epoch, losses, losses))
            self.interfere(candidates)
            curves = expected_curves(candidates, repeat, self.epochs)
            tell(PackDone(chunk.number, repeat, candidates, curves, 0.5))
        tell(ChunkDone(chunk.number, 0.5))

    def interfere(self, candidates: tuple[int, ...]) -> None:
        if self.wrong in candidates:
            raise ArithmeticError(f"candidate {self.wrong} is wrong")
        survived = Path(self.folder, "survived")
        if self.deadly in candidates and not survived.exists():
            survived.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def expected_curves(candidates: tuple[int, ...], repeat: int, epochs: int) -> np.ndarray:
    """What the work gives for a pack: (K, epochs, 4)."""
    values = np.asarray(candidates, float)[:, None, None] + repeat / 10
    return values + np.arange(4.0 * epochs).reshape(1, epochs, 4)
