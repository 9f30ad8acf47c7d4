"""A pack saved between two epochs, so that hours of retraining survive a kill."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.store.disk import remove
from engine.work.tensor_files import load_tensors, save_tensors

CHECKPOINTS = "checkpoint-*.pt"
_TEMPORARIES = "checkpoint-*.tmp"
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


def checkpoint_path(folder: Path, repeat: int, candidates: Sequence[int]) -> Path:
    """Returns where a pack of a run is saved; no two packs share a file."""
    named = ",".join(map(str, candidates)).encode()
    return folder / f"checkpoint-{repeat}-{hashlib.blake2b(named, digest_size=8).hexdigest()}.pt"


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
        # Of an engine that was killed, a worker may still be there for a moment.
        path = checkpoint_path(folder, self.repeat, self.candidates)
        save_tensors(path, content, shared=True)

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
        found = cls._read(checkpoint_path(folder, repeat, candidates), study, say)
        if found and (found.repeat, found.candidates) == (repeat, tuple(candidates)):
            return found
        return None

    @classmethod
    def load_all(cls, folder: Path, study: str, say: Callable[[str], None]) -> list[Self]:
        """Returns every checkpoint of this study in a run's folder."""
        paths = sorted(folder.glob(CHECKPOINTS))
        return [
            found
            for path in paths
            if (found := cls._read(path, study, say)) is not None
            and path == checkpoint_path(folder, found.repeat, found.candidates)
        ]

    @classmethod
    def _read(cls, path: Path, study: str, say: Callable[[str], None]) -> Self | None:
        try:
            content = load_tensors(path)
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
    def discard(folder: Path, repeat: int, candidates: Sequence[int]) -> None:
        """Removes the checkpoint of a pack, if there is one, and what was left of writing it."""
        path = checkpoint_path(folder, repeat, candidates)
        for left in (path, *folder.glob(f"{path.name}.*")):
            remove(left)

    @staticmethod
    def discard_all(folder: Path) -> None:
        """Removes every checkpoint of a run's folder, and what was left of writing them."""
        for left in (*folder.glob(CHECKPOINTS), *folder.glob(_TEMPORARIES)):
            remove(left)
