"""Making a new run out of what is whole in a damaged one; the old one is never written to.

`python -m engine.repair SOURCE NEW` does the work and prints what it did as one JSON object. It is
a process of its own because the HDF5 library may crash on a damaged file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from engine.check import filters_of, row_faults, same_filters, study_faults
from engine.errors import OracleError, RunFileError, UsageError
from engine.shards import rows_of
from engine.spec import StudySpec
from engine.store.layout import HDF5_NAME, Curves, Rows, RowStatus, empty_rows
from engine.store.salvage import salvage
from engine.store.table import unflatten_pruned
from engine.store.text import printable
from engine.store.writer import RunWriter
from engine.summary import summarise_run

_SECONDS = 600
_KEPT_OF_SCORED = ("candidate", "repeat", "seed", "status")


@dataclass(frozen=True)
class Repaired:
    """What a repair kept.

    Attributes:
        path: the new run folder or file.
        n_done: rows that are finished in it.
        n_scored: rows that have scores only; resuming the new run retrains them.
        n_total: rows of the whole study, or of the shard that it is; what is neither is scored and
            retrained on resume.
        notes: what was damaged, in sentences.
    """

    path: str
    n_done: int
    n_scored: int
    n_total: int
    notes: tuple[str, ...]


def repair_run(source: Path, new: Path) -> Repaired:
    """Makes `new` (a run folder, or a bare file where it ends in .h5) of what is whole in `source`.

    Raises:
        UsageError: `new` is there already or cannot be made, or nothing in `source` is whole.
    """
    if os.path.lexists(new):
        raise UsageError(f"{printable(str(new))} exists already; name a new place.")
    command = [sys.executable, "-P", "-m", "engine.repair", str(source.resolve()), str(new)]
    search = os.pathsep.join([str(Path(__file__).resolve().parent.parent)])
    known = os.environ.get("PYTHONPATH")
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": f"{search}{os.pathsep}{known}" if known else search},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{printable(str(source))} could not be repaired: {error}.") from error
    if ended.returncode == 0:
        told = json.loads(ended.stdout)
        return Repaired(**{**told, "notes": tuple(told["notes"])})
    lines = ended.stderr.strip().splitlines()
    if ended.returncode == 2 and lines:
        raise UsageError(lines[-1])
    raise UsageError(
        f"{printable(str(source))} is damaged so that the HDF5 library ends on it; take it from "
        "a backup or run it again."
    )


def make_repaired(source: Path, new: Path) -> Repaired:
    """Does what `repair_run` promises, in this process.

    Raises:
        OracleError: See `repair_run`.
    """
    found = salvage(source)
    layout, notes = found.table.layout, list(found.notes)
    try:
        spec = StudySpec.from_json(found.config["spec"])
        n_rows = rows_of(spec, found.config)
    except (UsageError, KeyError, TypeError) as error:
        raise RunFileError(f"its spec is not one of a study: {printable(str(error))}") from error
    if list(layout.layers) != list(spec.layers) or layout.epochs != spec.retrain.epochs:
        raise RunFileError("its config and its spec do not agree, so its rows mean nothing.")
    order = found.table.order()
    rows, curves = found.table.rows[order].copy(), found.table.curves[order].copy()
    stranger = np.zeros(len(rows), bool)
    for text, bad in study_faults(spec, rows).items():
        stranger |= bad
        if bad.any():
            notes.append(f"{int(bad.sum()):,} rows were left out: {text}.")
    rows, curves = rows[~stranger], curves[~stranger]
    for text, bad in row_faults(layout, rows, curves).items():
        if bad.any():
            notes.append(f"{int(bad.sum()):,} rows are to be retrained: {text}.")
            rows[bad] = _only_scored(rows[bad], layout.score_names)
            curves[bad] = np.nan
    scored = np.ones(len(rows), bool)
    for name in layout.score_names:
        scored &= np.isfinite(rows[name]) | (rows["status"] == RowStatus.DIVERGED)
    rows, curves = rows[scored], curves[scored]
    wrong = {
        candidate
        for candidate, flat in found.table.pruned.items()
        if not same_filters(
            unflatten_pruned(flat, len(layout.layers)),
            filters_of(spec, found.config, candidate),
        )
    }
    if wrong:
        # Scores belong to the filters that were really lost, and nobody knows which those were.
        notes.append(f"{len(wrong):,} candidates are done again: their filters are not the spec's.")
        kept = ~np.isin(rows["candidate"], list(wrong))
        rows, curves = rows[kept], curves[kept]
    done = rows["status"] >= RowStatus.DONE
    complete = int(done.sum()) == n_rows
    status = "done" if complete else "stopped"
    _write(new, {**found.config, "run_id": _run_id(new)}, spec, rows, curves, status)
    counts = (int(done.sum()), int((~done).sum()), n_rows)
    return Repaired(str(new), *counts, tuple(notes))


def _run_id(new: Path) -> str:
    return new.name.removesuffix(".h5")


def _only_scored(rows: Rows, score_names: tuple[str, ...]) -> Rows:
    """Returns rows with their scores and without outcomes."""
    bare = empty_rows(len(rows), score_names)
    for name in (*_KEPT_OF_SCORED, *score_names):
        bare[name] = rows[name]
    bare["status"] = RowStatus.SCORED
    return bare


def _write(
    new: Path,
    config: dict[str, object],
    spec: StudySpec,
    rows: Rows,
    curves: Curves,
    status: str,
) -> None:
    """Writes the new run under another name first, so that it appears whole or not at all."""
    bare = new.name.endswith(".h5")
    try:
        new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".repairing-", dir=new.parent))
    except OSError as error:
        raise UsageError(f"{new} cannot be made ({error.strerror}).") from error
    try:
        run = making / _run_id(new)
        RunWriter.create(run, config)
        with RunWriter.open(run) as writer:
            if len(rows):
                lists = [[list(layer) for layer in spec.space[int(c)]] for c in rows["candidate"]]
                writer.append(rows, curves, lists)
            writer.set_status(status, "" if status == "done" else "Repaired; resume goes on.")
            writer.set_summary(summarise_run(writer.config, status, writer.rows))
            writer.publish(final=status == "done")
        if bare:
            os.link(run / HDF5_NAME, new)  # fails where `new` has appeared meanwhile
        else:
            run.rename(new)
    except OSError as error:
        raise UsageError(f"{new} cannot be made ({error.strerror}).") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Repairs the run named first into the place named second."""
    try:
        print(json.dumps(asdict(make_repaired(Path(arguments[0]), Path(arguments[1])))))
    except OracleError as error:
        print(printable(str(error)), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
