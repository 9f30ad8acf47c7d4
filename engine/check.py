"""Verifying a run completely: its files bit by bit, and its rows against its own spec.

What is wrong comes back as findings, one sentence each. Nothing here writes.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.errors import RunFileError, UsageError
from engine.outcomes import outcomes_of
from engine.seeds import derive_seed
from engine.shards import rows_of
from engine.spec import StudySpec
from engine.store.journal import HEADER_BYTES, read_journal
from engine.store.layout import (
    JOURNAL_NAME,
    LIVE_NAME,
    LOCK_NAME,
    REQUEST_NAME,
    Curves,
    Rows,
    RowStatus,
    RunLayout,
)
from engine.store.live import read_live
from engine.store.lock import read_holder
from engine.store.reader import RunReader
from engine.store.records import decode_frame
from engine.store.requests import pending_request
from engine.store.text import printable
from engine.summary import summarise_run

Level = Literal["error", "warning", "note"]

_NAMED = 5
# Curves are float32 and outcomes float64; an accuracy of 60,000 images is known to 1.7e-5.
_TOLERANCE = 2e-6
_ATTEMPTS = 5


@dataclass(frozen=True)
class Finding:
    """One thing about a run. An error means that something in it is not as it was written."""

    level: Level
    text: str


@dataclass(frozen=True)
class Checked:
    """What was found, and how much the run holds as far as it can be read."""

    findings: tuple[Finding, ...]
    n_rows: int = 0
    n_done: int = 0

    @property
    def whole(self) -> bool:
        """Whether there is no error."""
        return not any(finding.level == "error" for finding in self.findings)


def check_run(path: Path) -> Checked:
    """Verifies a run folder or a bare run file.

    Raises:
        UsageError: There is nothing at `path`.
    """
    if not os.path.lexists(path):
        raise UsageError(f"{printable(str(path))} does not exist.")
    folder = path if os.path.isdir(path) else None
    findings: list[Finding] = []
    if folder is not None:
        findings += _folder_findings(folder)
    try:
        reader = _open_quiet(path)
    except RunFileError as error:
        findings.append(Finding("error", str(error)))
        if folder is not None:
            findings += _journal_findings(folder, None)
        return Checked(tuple(findings))
    with reader:
        if folder is not None:
            findings += _journal_findings(folder, reader)
        try:
            curves = reader.curves()
            findings += rows_findings(reader.layout, reader.rows, curves)
            findings += _study_findings(reader)
        except RunFileError as error:
            findings.append(Finding("error", str(error)))
        n_done = int(np.count_nonzero(reader.rows["status"] >= RowStatus.DONE))
        return Checked(tuple(findings), len(reader.rows), n_done)


def _open_quiet(path: Path) -> RunReader:
    """Opens a run, again where a living engine publishes in between."""
    for _ in range(_ATTEMPTS):
        reader = RunReader(path)
        if "older than its journal" not in reader.warning:
            break
    return reader


# -- the folder and its small files ----------------------------------------------------------------


def _folder_findings(folder: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        yield Finding("warning", f"the folder can be entered by others (mode {mode:04o}).")
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        name, found = printable(entry.name), entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            yield Finding("warning", f"{name} is not a regular file; the program never reads it.")
        elif stat.S_IMODE(found.st_mode) & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            yield Finding("warning", f"{name} can be read by others (mode {mode:04o}).")
        elif entry.name.endswith(".tmp"):
            yield Finding("note", f"{name} was left by a writer that was killed; it is harmless.")
    if os.path.lexists(folder / LIVE_NAME) and read_live(folder) is None:
        yield Finding("warning", f"{LIVE_NAME} cannot be read; nothing that matters is in it.")
    try:
        holder = read_holder(folder / LOCK_NAME)
        if holder is None:
            yield Finding("warning", "the lock names no process; it is taken over on resume.")
        else:
            state = {"alive": "working", "dead": "gone", "remote": "of another host"}
            yield Finding("note", f"locked by {holder}, which is {state[holder.state()]}.")
    except FileNotFoundError:
        pass
    asked = pending_request(folder)
    if asked is not None:
        yield Finding("note", f"a request to {asked} waits for an engine.")
    elif os.path.lexists(folder / REQUEST_NAME):
        yield Finding("warning", f"{REQUEST_NAME} holds no request.")


def _journal_findings(folder: Path, reader: RunReader | None) -> Iterator[Finding]:
    path = folder / JOURNAL_NAME
    try:
        read = read_journal(path)
    except RunFileError as error:
        yield Finding("error", str(error))
        return
    if read is None:
        if reader is not None and reader.status not in ("done", "queued"):
            yield Finding("warning", f"there is no {JOURNAL_NAME}; rows may be missing.")
        return
    header, found = read
    if header is None and path.stat().st_size:
        yield Finding("error", f"{JOURNAL_NAME}: its header is damaged.")
    if found.damaged and header is not None:
        yield Finding(
            "error",
            f"{JOURNAL_NAME}: damaged at byte {found.good_end:,}; {found.salvaged} whole records "
            "stand behind it, and what is lost is done again on resume.",
        )
    elif path.stat().st_size > max(found.good_end, HEADER_BYTES):
        yield Finding(
            "note", f"{JOURNAL_NAME}: ends in an unfinished record, which was never acknowledged."
        )
    if reader is None:
        yield Finding("note", f"{JOURNAL_NAME}: {len(found.frames)} whole records.")
        return
    if reader.warning and "older than its journal" in reader.warning:
        yield Finding("error", reader.warning)
    for frame in found.frames:
        try:
            decode_frame(frame, reader.layout, JOURNAL_NAME)
        except RunFileError as error:
            yield Finding("error", str(error))


# -- rows and curves -------------------------------------------------------------------------------


def rows_findings(layout: RunLayout, rows: Rows, curves: Curves) -> Iterator[Finding]:
    """Yields what is impossible in rows, or does not agree with their learning curves."""
    for text, bad in row_faults(layout, rows, curves).items():
        if bad.any():
            yield Finding("error", f"{text}: {named_rows(rows, bad)}.")


def row_faults(layout: RunLayout, rows: Rows, curves: Curves) -> dict[str, NDArray[np.bool_]]:
    """Returns for each kind of fault which rows have it; with no epochs there is no curve."""
    done = rows["status"] >= RowStatus.DONE
    accuracies = [name for name in layout.dtype.names or () if name.endswith("_acc")]
    out_of_range = np.zeros(len(rows), bool)
    for name in accuracies:
        values = rows[name]
        out_of_range |= ~np.isnan(values) & ~((values >= 0) & (values <= 1))
    faults = {"an accuracy that is not between 0 and 1": out_of_range}
    if layout.epochs == 0:
        return faults
    known = ~np.isnan(curves).all(axis=(1, 2))
    best = rows["best_epoch"]
    faults["trained, but without a learning curve"] = (rows["status"] == RowStatus.DONE) & ~known
    faults["not trained, but with a learning curve"] = ~done & known
    faults["a best epoch that was not trained"] = done & ((best < 1) | (best > rows["epochs"]))
    off = np.zeros(len(rows), bool)
    if known.any():
        with np.errstate(invalid="ignore", over="ignore"):
            for name, values in outcomes_of(curves.astype(np.float64)).items():
                stored = rows[name].astype(np.float64)
                agrees = np.isclose(stored, values, rtol=_TOLERANCE, atol=_TOLERANCE)
                # What overflows float32 is infinite in the curve and need not be in the row.
                unlike = np.isfinite(values) & np.isfinite(stored) & ~agrees
                off |= done & known & (unlike | (np.isnan(values) != np.isnan(stored)))
    faults["outcomes that are not those of the learning curve"] = off
    return faults


def named_rows(rows: Rows, bad: NDArray[np.bool_]) -> str:
    """Returns the first few rows that are bad, and how many there are."""
    keys = [f"{row['candidate']}/{row['repeat']}" for row in rows[bad][:_NAMED]]
    more = int(bad.sum()) - len(keys)
    return f"candidate/repeat {', '.join(keys)}" + (f" and {more:,} more" if more else "")


# -- the study -------------------------------------------------------------------------------------


def _study_findings(reader: RunReader) -> Iterator[Finding]:
    """Yields what does not agree with the spec that the run holds."""
    config, layout, rows = reader.config, reader.layout, reader.rows
    try:
        spec = StudySpec.from_json(config["spec"])
        n_rows = rows_of(spec, config)
    except (UsageError, KeyError, TypeError) as error:
        yield Finding("error", f"its spec is not one of a study: {printable(str(error))}")
        return
    facts = {
        "layers": (list(layout.layers), list(spec.layers)),
        "epochs": (layout.epochs, spec.retrain.epochs),
        "n_total": (layout.n_total, n_rows),
    }
    for name, (stored, wanted) in facts.items():
        if stored != wanted:
            yield Finding("error", f"its {name} is {stored}, and its spec's {wanted}.")
    for text, bad in study_faults(spec, rows).items():
        if bad.any():
            yield Finding("error", f"{text}: {named_rows(rows, bad)}.")
    wrong = [
        candidate
        for candidate in np.unique(rows["candidate"]).tolist()
        if candidate < len(spec.space) + len(spec.search)
        and not same_pruned(spec, reader.pruned(candidate), filters_of(spec, config, candidate))
    ]
    if wrong:
        named = ", ".join(map(str, wrong[:_NAMED]))
        more = f" and {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
        what = "seeds or checksums of masks" if spec.masked else "filters"
        yield Finding("error", f"{what} that are not those of the spec's candidate: {named}{more}.")
    finished = int(np.count_nonzero(rows["status"] >= RowStatus.DONE))
    if reader.status == "done" and finished < n_rows:
        yield Finding("error", f"it is done, but {finished:,} of {n_rows:,} rows are finished.")
    yield from _summary_findings(reader)


def study_faults(spec: StudySpec, rows: Rows) -> dict[str, NDArray[np.bool_]]:
    """Returns for each kind of disagreement with the spec which rows have it."""
    seeds = {repeat: derive_seed(spec.seed, "batches", repeat) for repeat in range(spec.repeats)}
    wanted = np.array([seeds.get(int(repeat), 0) for repeat in rows["repeat"]], np.uint64)
    candidates = len(spec.space) + len(spec.search)
    inside = (rows["candidate"] < candidates) & (rows["repeat"] < spec.repeats)
    return {
        "rows that the study does not have": ~inside,
        "a seed that is not the study's": inside & (rows["seed"] != wanted),
    }


def filters_of(
    spec: StudySpec, config: Mapping[str, Any], candidate: int
) -> tuple[tuple[int, ...], ...]:
    """Returns the filters that a candidate loses; a search's picks come after the space's.

    The config records a pick when it is found; one that it does not record loses nothing.
    """
    if candidate < len(spec.space):
        return spec.space[candidate]
    recorded = config.get("search")
    place = candidate - len(spec.space)
    try:
        return tuple(tuple(layer) for layer in recorded[place]["pruned"])  # type: ignore[index]
    except (LookupError, TypeError):
        return ()


def same_filters(stored: list[list[int]], wanted: tuple[tuple[int, ...], ...]) -> bool:
    """Tells whether the stored pruned filters are just those of a candidate."""
    return [sorted(layer) for layer in stored] == [sorted(layer) for layer in wanted]


def same_pruned(
    spec: StudySpec, stored: list[list[int]], wanted: tuple[tuple[int, ...], ...]
) -> bool:
    """Tells whether what is stored of a candidate is right: its filters, or its masks' records.

    A record is regenerated with its mask from the seed, so that its checksum is verified.
    """
    if spec.masked:
        return stored == [list(record) for record in wanted]
    return same_filters(stored, wanted)


def _summary_findings(reader: RunReader) -> Iterator[Finding]:
    """Compares the published summary of a finished run with what its rows give."""
    if reader.status != "done" or not reader.summary:
        return
    found = summarise_run(reader.config, reader.status, reader.rows)
    for name in ("n", "n_done", "kendall_tau_acc", "kendall_tau_loss", "anomaly_ratio_acc"):
        if name in reader.summary and not _close(reader.summary[name], found[name]):
            said, gave = reader.summary[name], found[name]
            yield Finding("error", f"its summary says {name} {said}, and its rows give {gave}.")


def _close(first: Any, second: Any) -> bool:
    if isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)
    return bool(first == second)
