"""Several runs of one spec, shards or repetitions, as one run; what they share must agree."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.control import free_folder, run_name
from engine.errors import UsageError
from engine.outcomes import OUTCOMES
from engine.spec import StudySpec
from engine.store.layout import Curves, Rows, RowStatus
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from engine.summary import summarise_run

# Between different devices, or ways of computing, a retraining is the same up to how float32
# rounding grows in it; on the same ones it is the same to the bit.
RELATIVE, ABSOLUTE = 0.02, 0.005
_BLOCK = 4_096


def merge_runs(runs: Sequence[RunReader], runs_folder: Path) -> Path:
    """Makes one run of several and returns its folder.

    It is done where every row is finished; otherwise it is stopped, and can be resumed to work on
    the rows that are missing.

    Args:
        runs: Runs of the same spec, with the same base network.
        runs_folder: Where the new run goes.

    Raises:
        UsageError: They are not of one spec or base network, or the same retraining has different
            results in two of them; it names run, candidate and value.
    """
    spec = _common_spec(runs)
    kept = _Kept(runs[0])
    for run in runs:
        kept.take(run)
    rows, curves, origin = kept.all()
    folder = free_folder(runs_folder, f"{run_name(spec)}-merged")
    RunWriter.create(folder, _config(runs, spec, folder.name))
    try:
        with RunWriter.open(folder) as writer:
            for start in range(0, len(rows), _BLOCK):
                part = slice(start, start + _BLOCK)
                pruned = [
                    runs[place].pruned(int(candidate))
                    for place, candidate in zip(origin[part], rows["candidate"][part], strict=True)
                ]
                writer.append(rows[part], curves[part], pruned)
            finished = writer.n_finished == spec.rows
            status = "done" if finished else "stopped"
            writer.set_status(status)
            writer.set_summary(summarise_run(writer.config, status, writer.rows))
            writer.publish(final=finished)
            writer.log(f"merged from {', '.join(_name(run) for run in runs)}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


class _Kept:
    """The rows taken so far, by key, with the run each came from."""

    def __init__(self, first: RunReader) -> None:
        self._runs: list[RunReader] = []
        self._rows: Rows = first.rows[:0]
        self._curves: Curves = first.curves()[:0]
        self._origin: NDArray[np.int64] = np.zeros(0, np.int64)

    def all(self) -> tuple[Rows, Curves, NDArray[np.int64]]:
        """Returns rows sorted by (candidate, repeat), their curves, and the run each is from."""
        return self._rows, self._curves, self._origin

    def take(self, run: RunReader) -> None:
        """Adds a run's rows; of a row in both, the one that is further."""
        rows, curves = run.rows, run.curves()
        _, ours, theirs = np.intersect1d(
            _keys(self._rows), _keys(rows), assume_unique=True, return_indices=True
        )
        self._compare(run, ours, rows, theirs)
        further = rows["status"][theirs] > self._rows["status"][ours]
        place = len(self._runs)
        self._runs.append(run)
        fresh = np.ones(len(rows), bool)
        fresh[theirs[~further]] = False
        stale = np.zeros(len(self._rows), bool)
        stale[ours[further]] = True
        joined = np.concatenate([self._rows[~stale], rows[fresh]])
        order = np.argsort(_keys(joined), kind="stable")
        self._rows = joined[order]
        self._curves = np.concatenate([self._curves[~stale], curves[fresh]])[order]
        origin = np.concatenate([self._origin[~stale], np.full(int(fresh.sum()), place)])
        self._origin = origin[order]

    def _compare(
        self, run: RunReader, ours: NDArray[np.int64], rows: Rows, theirs: NDArray[np.int64]
    ) -> None:
        mine, other = self._rows[ours], rows[theirs]
        both = (mine["status"] >= RowStatus.DONE) & (other["status"] >= RowStatus.DONE)
        for name in ("seed", *run.config["score_names"], *OUTCOMES):
            a, b = mine[name], other[name]
            differ = (a != b) & ~((a != a) & (b != b))
            if name != "seed":
                exact = np.asarray(
                    [_computed_alike(self._runs[place], run) for place in self._origin[ours]], bool
                )
                near = np.isclose(a, b, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True)
                differ &= exact | ~near
            if name in OUTCOMES:
                differ &= both
            if differ.any():
                at = int(np.argmax(differ))
                raise UsageError(
                    f"{_name(self._runs[self._origin[ours[at]]])} and {_name(run)} disagree on "
                    f"{name} of candidate {mine['candidate'][at]}, repeat {mine['repeat'][at]}: "
                    f"{a[at]:.9g} and {b[at]:.9g}; they cannot be one run."
                )


def _computed_alike(one: RunReader, other: RunReader) -> bool:
    """Whether two runs were computed on the same kind of device in the same way."""
    first, second = (run.config.get("environment") or {} for run in (one, other))
    return all(first.get(name) == second.get(name) for name in ("device", "pack", "torch"))


def _common_spec(runs: Sequence[RunReader]) -> StudySpec:
    specs = [StudySpec.from_json(run.config.get("spec") or {}) for run in runs]
    for run, spec in zip(runs, specs, strict=True):
        if spec != specs[0]:
            raise UsageError(
                f"{_name(runs[0])} and {_name(run)} are runs of different specs "
                f"({specs[0].hash} and {spec.hash}); only runs of one spec can be merged."
            )
    bases = {run.config.get("base_digest"): run for run in runs if run.config.get("base_digest")}
    if len(bases) > 1:
        one, other = list(bases.values())[:2]
        raise UsageError(
            f"{_name(one)} and {_name(other)} pruned different base networks; give their engines "
            "one cache folder ($ORACLE_TUI_CACHE), so that the base network is trained once."
        )
    return specs[0]


def _config(runs: Sequence[RunReader], spec: StudySpec, run_id: str) -> dict[str, Any]:
    """Returns the merged run's config: that of the first run that knows its base network."""
    known = next((run for run in runs if run.config.get("base_digest")), runs[0])
    workers = [
        worker
        for run in runs
        for worker in (run.config.get("environment") or {}).get("workers") or []
    ]
    config = {name: value for name, value in known.config.items() if name != "shard"}
    environment = dict(config.get("environment") or {})
    if workers:
        environment["workers"] = workers
    return config | {
        "run_id": run_id,
        "n_total": spec.rows,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": environment,
        "merged_from": [_name(run) for run in runs],
    }


def _keys(rows: Rows) -> NDArray[np.int64]:
    return (rows["candidate"].astype(np.int64) << 16) | rows["repeat"].astype(np.int64)


def _name(run: RunReader) -> str:
    return str(run.config["run_id"])
