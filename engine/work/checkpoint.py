"""A pack saved between two epochs, so that hours of retraining survive a kill."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.store.disk import temporary_name
from engine.work.tensor_files import load_tensors, save_tensors

CHECKPOINT_NAME = "checkpoint.pt"
_SECONDS = 30.0
_SECONDS_VARIABLE = "ORACLE_TUI_CHECKPOINT_SECONDS"


def checkpoint_seconds() -> float:
    """Returns how long a pack is trained, at least, between two checkpoints.

    It is 30 s, or what $ORACLE_TUI_CHECKPOINT_SECONDS says where that is a number from 0 on.
    """
    try:
        seconds = float(os.environ.get(_SECONDS_VARIABLE, _SECONDS))
    except ValueError:
        return _SECONDS
    return seconds if math.isfinite(seconds) and seconds >= 0 else _SECONDS


@dataclass(frozen=True, slots=True)
class PackCheckpoint:
    """Where a pack stands.

    Attributes:
        candidates: Ids of its K candidates.
        repeat: Which repeat it trains.
        epochs: Epochs finished.
        curves: (K, epochs of the recipe, 4), filled for the finished epochs.
        state: What `Pack.state` gave.
    """

    candidates: tuple[int, ...]
    repeat: int
    epochs: int
    curves: NDArray[np.float64]
    state: dict[str, Any]

    def save(self, folder: Path, study: str) -> None:
        """Writes it into a run's folder, whole or not at all; raises OSError."""
        content = {
            "study": study,
            "candidates": list(self.candidates),
            "repeat": self.repeat,
            "epochs": self.epochs,
            "curves": torch.from_numpy(self.curves),
            "state": {name: torch.as_tensor(value) for name, value in self.state.items()},
        }
        save_tensors(folder / CHECKPOINT_NAME, content)

    @classmethod
    def load(cls, folder: Path, study: str, say: Callable[[str], None]) -> Self | None:
        """Returns the checkpoint of a run's folder; None if there is none of this study.

        A checkpoint only saves time, so one that cannot be read counts as none, and is told to
        `say`.
        """
        try:
            content = load_tensors(folder / CHECKPOINT_NAME)
            if content["study"] != study:
                return None
            return cls(
                candidates=tuple(int(c) for c in content["candidates"]),
                repeat=int(content["repeat"]),
                epochs=int(content["epochs"]),
                curves=content["curves"].numpy(),
                state=dict(content["state"]),
            )
        except FileNotFoundError:
            return None
        except Exception as error:  # torch names no common type for a damaged file
            say(f"the checkpoint is left aside, it cannot be read: {error!r}")
            return None

    def belongs_to(self, candidates: int) -> bool:
        """Tells whether a study of so many candidates has these, each of them once."""
        return len(set(self.candidates)) == len(self.candidates) > 0 and all(
            0 <= candidate < candidates for candidate in self.candidates
        )

    def fits(self, epochs: int, state: Mapping[str, Tensor]) -> bool:
        """Tells whether a pack whose own state is `state`, of so many epochs, can go on from it."""
        return (
            0 < self.epochs < epochs
            and self.curves.shape == (len(self.candidates), epochs, 4)
            and self.curves.dtype == np.float64
            and self.state.keys() == state.keys()
            and all(
                isinstance(given := self.state[name], Tensor)
                and given.shape == own.shape
                and given.dtype == own.dtype
                for name, own in state.items()
            )
        )

    @staticmethod
    def discard(folder: Path) -> None:
        """Removes the checkpoint of a run's folder, if there is one."""
        path = folder / CHECKPOINT_NAME
        for left in (path, temporary_name(path)):
            left.unlink(missing_ok=True)
