"""From measurements to a finished run, written by the store as every other run is."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine import __version__
from engine.control import free_folder
from engine.errors import UsageError
from engine.facts import Origin
from engine.imports.measurements import MAX_CANDIDATE, MAX_REPEAT, Measurement, short
from engine.store.layout import MAX_ROWS, RowStatus, empty_rows
from engine.store.writer import RunWriter
from engine.summary import summarise_run

SCORE_NAMES = ("pruned_train_loss",)
_ROWS_AT_ONCE = 20_000


def make_run(
    runs_folder: Path, name: str, measurements: Sequence[Measurement], known: Origin
) -> Path:
    """Makes a finished run and returns its folder.

    Args:
        runs_folder: Where runs are kept.
        name: What the run is called; a number is added where there is one of that name.
        measurements: Its rows, at least one; accuracies as fractions.
        known: What is known of the study. Its `candidates` is at least how many there should be;
            what is found may raise it, and sets its `repeats`.

    Raises:
        UsageError: A row occurs twice, there are too many, or the folder cannot be written.
    """
    candidates, repeats = _numbered(measurements)
    layers = _layers(measurements, known.layers)
    distinct, counts = np.unique(candidates, return_counts=True)
    origin = replace(
        known,
        candidates=max(known.candidates, len(distinct)),
        repeats=int(counts.max()),
    )
    n_total = origin.candidates * origin.repeats
    if n_total > MAX_ROWS:
        raise UsageError(
            f"{origin.candidates:,} candidates with {origin.repeats:,} repeats are more than the "
            f"{MAX_ROWS:,} rows one run can hold."
        )
    rows = _rows(measurements, candidates, repeats)
    # With no epochs to train a score would be the end of a row; a row without outcome is not done.
    epochs = 0 if (rows["status"] >= RowStatus.DONE).all() else 1

    folder = free_folder(runs_folder, name)
    config = {
        "run_id": folder.name,
        "score_names": list(SCORE_NAMES),
        "layers": layers,
        "epochs": epochs,
        "n_total": n_total,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "spec": None,
        "origin": origin.to_json(),
        "environment": {"imported with": f"oracle-tui {__version__}"},
    }
    RunWriter.create(folder, config)
    try:
        _write(folder, rows, measurements)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _write(folder: Path, rows: NDArray[np.void], measurements: Sequence[Measurement]) -> None:
    try:
        with RunWriter.open(folder) as writer:
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                pruned = [list(map(list, one.pruned or ())) for one in measurements[part]]
                writer.append(rows[part], None, pruned)
            writer.set_status("done")
            writer.set_summary(summarise_run(writer.config, "done", writer.rows))
            writer.publish(final=True)
            writer.log("imported")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"These measurements do not fit a run: {error}.") from error


def _numbered(
    measurements: Sequence[Measurement],
) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Returns the number of each row's candidate and repeat; raises UsageError for a row twice."""
    numbers = _candidate_numbers(measurements)
    seen: dict[int, int] = {}
    places: dict[tuple[int, int], str] = {}
    repeats = []
    for one in measurements:
        candidate = numbers[one.candidate]
        repeat = seen.get(candidate, 0) if one.repeat is None else one.repeat
        seen[candidate] = seen.get(candidate, 0) + 1
        if repeat > MAX_REPEAT:
            raise UsageError(f"A candidate has at most {MAX_REPEAT + 1:,} repeats; {one.place}.")
        if (candidate, repeat) in places:
            raise UsageError(
                f"Repeat {repeat} of candidate {short(str(one.candidate))} is in "
                f"{places[candidate, repeat]} and again in {one.place}; where a file holds several "
                "runs, name the column that tells them apart with --by."
            )
        places[candidate, repeat] = one.place
        repeats.append(repeat)
    candidates = [numbers[one.candidate] for one in measurements]
    return np.array(candidates, np.uint32), np.array(repeats, np.uint16)


def _candidate_numbers(measurements: Sequence[Measurement]) -> dict[Hashable, int]:
    """Keeps names that are numbers; anything else is numbered in the order of appearance."""
    names = list(dict.fromkeys(one.candidate for one in measurements))
    numbers: dict[Hashable, int] = {
        name: int(name)
        for name in names
        if isinstance(name, str)
        and name.isascii()
        and name.isdigit()
        and len(name) <= 10
        and int(name) <= MAX_CANDIDATE
    }
    if len(set(numbers.values())) == len(names):
        return numbers
    return {name: place for place, name in enumerate(names)}


def _layers(measurements: Sequence[Measurement], named: tuple[str, ...]) -> list[str]:
    """Returns names for the layers whose filters were removed."""
    depth = max((len(one.pruned) for one in measurements if one.pruned is not None), default=0)
    if depth and named and len(named) != depth:
        raise UsageError(
            f"The rows tell of filters removed from {depth} layer{'s' * (depth != 1)}, but "
            f"--layers names {len(named)}."
        )
    return list(named) or [f"layer{place}" for place in range(1, depth + 1)]


def _rows(
    measurements: Sequence[Measurement],
    candidates: NDArray[np.uint32],
    repeats: NDArray[np.uint16],
) -> NDArray[np.void]:
    rows = empty_rows(len(measurements), SCORE_NAMES)
    rows["candidate"], rows["repeat"] = candidates, repeats
    rows["pruned_train_loss"] = [one.score for one in measurements]
    rows["status"] = [_status(one) for one in measurements]
    for name in dict.fromkeys(name for one in measurements for name in one.outcomes):
        rows[name] = [one.outcomes.get(name, np.nan) for one in measurements]
    return rows


def _status(one: Measurement) -> RowStatus:
    if one.diverged:
        return RowStatus.DIVERGED
    return RowStatus.DONE if one.retrained else RowStatus.SCORED
