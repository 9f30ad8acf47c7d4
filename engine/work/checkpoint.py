"""A pack saved between two epochs, so that hours of retraining survive a kill."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

_PATTERN = "checkpoint-*.pt"


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
        """Writes it into a run's folder, whole or not at all; raises OSError.

        A pack's file is named after its candidates, so that several workers may each save theirs.
        """
        content = {
            "study": study,
            "candidates": list(self.candidates),
            "repeat": self.repeat,
            "epochs": self.epochs,
            "curves": torch.from_numpy(self.curves),
            "state": {name: torch.as_tensor(value) for name, value in self.state.items()},
        }
        path = _path(folder, self.repeat, self.candidates)
        temporary = path.with_suffix(".tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    @classmethod
    def load(
        cls,
        folder: Path,
        study: str,
        repeat: int,
        candidates: Sequence[int],
        say: Callable[[str], None],
    ) -> Self | None:
        """Returns the checkpoint of a pack of this study; None if there is none.

        A checkpoint only saves time, so one that cannot be read counts as none, and is told to
        `say`.
        """
        found = cls._read(_path(folder, repeat, candidates), study, say)
        if found and (found.repeat, found.candidates) == (repeat, tuple(candidates)):
            return found
        return None

    @classmethod
    def load_all(cls, folder: Path, study: str, say: Callable[[str], None]) -> list[Self]:
        """Returns every checkpoint of this study in a run's folder."""
        found = (cls._read(path, study, say) for path in sorted(folder.glob(_PATTERN)))
        return [checkpoint for checkpoint in found if checkpoint is not None]

    @classmethod
    def _read(cls, path: Path, study: str, say: Callable[[str], None]) -> Self | None:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
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
            say(f"the checkpoint {path.name} is left aside, it cannot be read: {error!r}")
            return None

    @staticmethod
    def discard(folder: Path, repeat: int, candidates: Sequence[int]) -> None:
        """Removes the checkpoint of a pack, if there is one."""
        _path(folder, repeat, candidates).unlink(missing_ok=True)

    @staticmethod
    def discard_all(folder: Path) -> None:
        """Removes every checkpoint of a run's folder, and what was left of writing them."""
        for path in (*folder.glob(_PATTERN), *folder.glob("checkpoint-*.tmp")):
            path.unlink(missing_ok=True)


def _path(folder: Path, repeat: int, candidates: Sequence[int]) -> Path:
    named = np.asarray(candidates, "<u4").tobytes()
    digest = hashlib.blake2b(named, digest_size=8).hexdigest()
    return folder / f"checkpoint-{repeat}-{digest}.pt"
