"""What a run looks like on disk: names, data types and limits. No file access may enter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import RunFileError

SCHEMA: Final = "pruning-run"
SCHEMA_VERSION: Final = 1

# The files of a run folder.
HDF5_NAME: Final = "run.h5"
JOURNAL_NAME: Final = "run.journal"
LOCK_NAME: Final = "lock"
LIVE_NAME: Final = "live.json"
REQUEST_NAME: Final = "request.json"
LOG_NAME: Final = "engine.log"
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

RUN_STATUSES: Final = ("queued", "running", "paused", "stopped", "failed", "done")
CURVE_COLUMNS: Final = ("train_loss", "train_acc", "test_loss", "test_acc")
DEFAULT_SCORE_NAMES: Final = ("pruned_train_loss", "pruned_train_acc")
PRUNED_DTYPE: Final = np.dtype([("layer", "<u2"), ("index", "<u2")])

# Limits on what is written and on what is believed. A file beyond them is not a run of ours.
MAX_ROWS: Final = 1 << 22
MAX_EPOCHS: Final = 10_000
MAX_SCORES: Final = 64
MAX_LAYERS: Final = 4096
MAX_PRUNED: Final = 1 << 28
MAX_CURVE_BYTES: Final = 1 << 31
MAX_FILE_BYTES: Final = 1 << 32
MAX_CHUNK_BYTES: Final = 1 << 22
MAX_CONFIG_BYTES: Final = 1_000_000
MAX_SUMMARY_BYTES: Final = 32_000
MAX_MESSAGE_CHARACTERS: Final = 1_000

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_SCORE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")

Rows = NDArray[np.void]
Curves = NDArray[np.float32]
Pruned = NDArray[np.void]

_BEFORE_SCORES: Final = [
    ("candidate", "<u4"),
    ("repeat", "<u2"),
    ("status", "u1"),
    ("seed", "<u8"),
]
_AFTER_SCORES: Final = [
    ("best_epoch", "<u2"),
    ("epochs", "<u2"),
    ("best_test_acc", "<f8"),
    ("best_test_loss", "<f8"),
    ("last_test_acc", "<f8"),
    ("last_test_loss", "<f8"),
    ("last5_test_acc", "<f8"),
    ("last5_test_loss", "<f8"),
    ("final_train_loss", "<f8"),
    ("last_train_loss", "<f8"),
    ("seconds", "<f4"),
    ("finished_at", "<f8"),
    ("pruned_offset", "<u8"),
    ("pruned_length", "<u4"),
]
_FIXED_NAMES = frozenset(name for name, _ in (*_BEFORE_SCORES, *_AFTER_SCORES))


class RowStatus(IntEnum):
    """How far one row (one repeat of one candidate) has come."""

    SCORED = 1  # scores are known, not retrained
    DONE = 2  # retrained
    DIVERGED = 3  # retraining gave a loss that is not finite


def row_dtype(score_names: tuple[str, ...] | list[str] = DEFAULT_SCORE_NAMES) -> np.dtype[np.void]:
    """Return the packed little-endian record of one row, with one f8 per score name, in order."""
    return np.dtype([*_BEFORE_SCORES, *((name, "<f8") for name in score_names), *_AFTER_SCORES])


def empty_rows(n: int, score_names: tuple[str, ...] | list[str] = DEFAULT_SCORE_NAMES) -> Rows:
    """Return `n` rows whose numbers are 0 and whose measurements are NaN (not yet known)."""
    dtype = row_dtype(score_names)
    rows = np.zeros(n, dtype)
    for name in dtype.names or ():
        if dtype[name].kind == "f":
            rows[name] = np.nan
    return rows


def row_keys(rows: Rows) -> NDArray[np.uint64]:
    """Return one number per row that orders rows by (candidate, repeat)."""
    keys: NDArray[np.uint64] = rows["candidate"].astype(np.uint64) << np.uint64(16)
    return keys | rows["repeat"].astype(np.uint64)


def count_finished(rows: Rows, epochs: int) -> int:
    """Count the rows with nothing left to do; with no epochs to train, a score is the end."""
    if epochs == 0:
        return len(rows)
    return int(np.count_nonzero(rows["status"] >= RowStatus.DONE))


@dataclass(frozen=True)
class RunLayout:
    """The keys of a run's config that the store itself needs."""

    run_id: str
    score_names: tuple[str, ...]
    layers: tuple[str, ...]
    epochs: int
    n_total: int

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The record of one row."""
        return row_dtype(self.score_names)

    @classmethod
    def of(cls, config: dict[str, Any], what: str) -> RunLayout:
        """Check the store's keys of a config; `what` names it in the error.

        Raises:
            RunFileError: a key is missing or its value is not what the store can hold.
        """
        run_id = config.get("run_id")
        if not isinstance(run_id, str) or not _RUN_ID.match(run_id):
            raise _bad(what, "run_id", "1 to 128 letters, digits, dots, dashes or underscores")
        scores: Any = config.get("score_names")
        if not _names(scores, MAX_SCORES) or not all(_SCORE_NAME.match(name) for name in scores):
            raise _bad(what, "score_names", f"a list of at most {MAX_SCORES} plain names")
        if len(set(scores)) < len(scores) or not _FIXED_NAMES.isdisjoint(scores):
            raise _bad(what, "score_names", "names that differ from each other and from columns")
        layers: Any = config.get("layers")
        if not _names(layers, MAX_LAYERS):
            raise _bad(what, "layers", f"a list of at most {MAX_LAYERS} layer names")
        epochs: Any = config.get("epochs")
        if not _count(epochs, MAX_EPOCHS):
            raise _bad(what, "epochs", f"a whole number from 0 to {MAX_EPOCHS}")
        n_total: Any = config.get("n_total")
        if not _count(n_total, MAX_ROWS):
            raise _bad(what, "n_total", f"a whole number from 0 to {MAX_ROWS}")
        return cls(run_id, tuple(scores), tuple(layers), epochs, n_total)


def _names(value: Any, most: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(isinstance(name, str) and len(name) <= 256 and name.isprintable() for name in value)
    )


def _count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _bad(what: str, key: str, wanted: str) -> RunFileError:
    return RunFileError(f"{what}: the config's {key!r} should be {wanted}.")
