"""A pack saved between two epochs, so that hours of retraining survive a kill."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

_NAME = "checkpoint.pt"


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
        temporary = folder / f"{_NAME}.tmp"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / _NAME)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, folder: Path, study: str, say: Callable[[str], None]) -> Self | None:
        """Returns the checkpoint of a run's folder; None if there is none of this study.

        A checkpoint only saves time, so one that cannot be read counts as none, and is told to
        `say`.
        """
        try:
            content = torch.load(folder / _NAME, map_location="cpu", weights_only=True)
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

    @staticmethod
    def discard(folder: Path) -> None:
        """Removes the checkpoint of a run's folder, if there is one."""
        (folder / _NAME).unlink(missing_ok=True)
