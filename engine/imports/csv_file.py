"""Tables in CSV: which column is what is named by the caller, or goes by its usual name."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError
from engine.imports.lines import Line, read_lines
from engine.imports.measurements import (
    MAX_MEASUREMENTS,
    MAX_REPEAT,
    Measurement,
    Pruned,
    number,
    short,
    whole,
)
from engine.outcomes import OUTCOMES

_USUAL = {
    "score": ("pruned_train_loss",),
    "accuracy": ("best_test_acc", "final_test_acc", "test_acc"),
    "loss": ("best_test_loss", "final_test_loss", "test_loss"),
    "candidate": ("candidate",),
    "repeat": ("repeat",),
}
_FLAGS = {"accuracy": "acc"}
_PRUNED, _STATUS = "pruned", "status"
_MAX_COLUMNS = 1_000
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns; an empty one goes by its usual name, if the table has that.

    Attributes:
        score: The pruned train loss.
        accuracy: Test accuracy after retraining.
        loss: Test loss after retraining.
        candidate: Number or name of the candidate; without it every row is one.
        repeat: Number of the repeat; without it a candidate's rows are counted.
        by: Splits the table: each of its values is a run of its own.
    """

    score: str = ""
    accuracy: str = ""
    loss: str = ""
    candidate: str = ""
    repeat: str = ""
    by: str = ""


def read_csv(paths: Sequence[Path], columns: Columns) -> dict[str, list[Measurement]]:
    """Reads tables as one; several files may hold repeats of the same candidates.

    Args:
        paths: The files.
        columns: Which column is what.

    Returns:
        The measurements of each run, keyed by the value of `columns.by`, or by "" without it.

    Raises:
        UsageError: A file cannot be read, lacks a column or holds no number where one belongs.
    """
    found: dict[str, list[Measurement]] = {}
    rows = 0
    for path in paths:
        for group, measurement in _read_one(path, columns):
            rows += 1
            if rows > MAX_MEASUREMENTS:
                raise UsageError(
                    f"More than {MAX_MEASUREMENTS:,} rows cannot be imported at once; split them."
                )
            found.setdefault(group, []).append(measurement)
    if not found:
        raise UsageError(f"{paths[0].name} has a header but no rows to import.")
    return found


def _read_one(path: Path, columns: Columns) -> Iterator[tuple[str, Measurement]]:
    lines = read_lines(path)
    head = next((line for line in lines if line.text.strip()), None)
    if head is None:
        raise UsageError(f"{path.name} is empty.")
    delimiter = max(_DELIMITERS, key=head.text.count)
    header = [name.strip() for name in _cells(head, delimiter)]
    if len(header) > _MAX_COLUMNS:
        raise UsageError(f"{head.file} has {len(header):,} columns; that is no table of a study.")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise UsageError(f"{head.file} has two columns named {short(twice)!r}.")
    at = _places(header, columns, head.file)
    extras = [name for name in OUTCOMES if name in header and header.index(name) not in at.values()]
    for count, line in enumerate(line for line in lines if line.text.strip()):
        cells = _cells(line, delimiter)
        if len(cells) != len(header):
            raise UsageError(
                f"There are {len(cells)} cells in {line.place} under {len(header)} column names."
            )
        outcomes = {"best_test_acc": number(cells[at["accuracy"]], "accuracy", line)}
        if "loss" in at:
            outcomes["best_test_loss"] = number(cells[at["loss"]], "loss", line)
        for name in extras:
            outcomes[name] = number(cells[header.index(name)], name, line)
        measurement = Measurement(
            place=line.place,
            # A row without a name of its own is a candidate of its own.
            candidate=cells[at["candidate"]].strip() if "candidate" in at else (line.file, count),
            repeat=whole(cells[at["repeat"]], "repeat", line, MAX_REPEAT)
            if "repeat" in at
            else None,
            score=number(cells[at["score"]], "score", line),
            outcomes=outcomes,
            pruned=_pruned(cells[header.index(_PRUNED)], line) if _PRUNED in header else None,
            diverged=_STATUS in header and cells[header.index(_STATUS)].strip() == "diverged",
        )
        yield cells[at["by"]].strip() if "by" in at else "", measurement


def _cells(line: Line, delimiter: str) -> list[str]:
    try:
        rows = list(csv.reader([line.text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UsageError(f"The {line.place} cannot be read as CSV: {error}.") from error
    return rows[0] if rows else []


def _places(header: list[str], columns: Columns, file: str) -> dict[str, int]:
    """Returns where the columns stand that there are; raises UsageError for those there must be."""
    at = {}
    for role in ("score", "accuracy", "loss", "candidate", "repeat", "by"):
        wanted = getattr(columns, role)
        names = (wanted,) if wanted else _USUAL.get(role, ())
        present = [name for name in names if name in header]
        if present:
            at[role] = header.index(present[0])
        elif wanted or role in ("score", "accuracy"):
            flag = "--by" if role == "by" else f"--{_FLAGS.get(role, role)}-column"
            there = ", ".join(map(short, header[:12])) + (", ..." if len(header) > 12 else "")
            missing = f"column {short(wanted)!r}" if wanted else f"column for the {role}"
            raise UsageError(f"{file} has no {missing}; it has {there}: name one with {flag}.")
    if "repeat" in at and "candidate" not in at:
        raise UsageError(
            f"{file} has a column of repeats but none of candidates; name it with "
            "--candidate-column."
        )
    return at


def _pruned(text: str, line: Line) -> Pruned | None:
    """Reads removed filters as our own tables write them: `{"conv1": [0, 1]}`."""
    if not text.strip():
        return None
    try:
        value = json.loads(text)
        layers = value.values() if isinstance(value, dict) else value
        pruned = tuple(tuple(int(index) for index in layer) for layer in layers)
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise UsageError(
            f"The pruned filters in {line.place} should be JSON such as "
            f'{{"conv1": [0, 1]}}, not {short(text)!r}.'
        ) from None
    return pruned
