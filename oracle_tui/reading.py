"""From run files to views: runs in thread workers, imports the heavy rooms only there."""

from __future__ import annotations

import datetime
import functools
import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from oracle_tui.formats import escape
from oracle_tui.views import LIVE, CandidateRows, Numbers, Point, RunRow, RunView, Stage

if TYPE_CHECKING:
    import numpy as np

    from engine.store.listing import RunListing
    from engine.store.liveness import HeartbeatClock
    from engine.store.reader import RunReader
    from oracle_tui.plots.line import LineData
    from oracle_tui.plots.scatter import ScatterData

LOG_LINES = 400


def warm_up() -> None:
    """Import what the next screens need, after the first paint and beside it."""
    import plotext  # noqa: F401


class RunLister:
    """Lists the runs of a folder, again and again; it remembers whose engines fell silent."""

    def __init__(self, runs_dir: Path) -> None:
        """Remember the folder; it need not exist."""
        self.runs_dir = runs_dir
        self._lock = threading.Lock()
        self._clock: HeartbeatClock | None = None

    def read(self, *, examples: bool = True) -> tuple[RunRow, ...]:
        """Return the runs, live ones on top, newest first, and the shipped examples at the end.

        Args:
            examples: whether the shipped runs are wanted too; they cost heavy imports once.

        Raises:
            UsageError: the folder cannot be read.
        """
        from engine.store.listing import list_runs
        from engine.store.liveness import HeartbeatClock

        with self._lock:
            if self._clock is None:
                self._clock = HeartbeatClock()
            rows = [_row(listing) for listing in list_runs(self.runs_dir, self._clock)]
        rows.sort(key=lambda row: (row.status not in LIVE, -(row.created or 0)))
        return (*rows, *(_example_rows() if examples else ()))


@functools.cache
def _example_rows() -> tuple[RunRow, ...]:
    """Read the shipped runs once: nothing changes them, and nothing may be written beside them."""
    from engine.errors import RunFileError
    from engine.store.listing import RunListing
    from engine.store.reader import RunReader
    from engine.summary import summarise_run

    rows = []
    for folder in example_folders():
        for path in sorted(folder.glob("*.h5")):
            try:
                with RunReader(path) as reader:
                    summary = summarise_run(reader.config, reader.status, reader.rows)
            except RunFileError:
                continue
            done, total = int(summary["n_done"]), int(summary["n_total"])
            listing = RunListing(str(summary["id"]), path, reader.status, done, total, summary)
            rows.append(_row(listing, example=True))
    return tuple(rows)


def example_folders() -> list[Path]:
    """Return the shipped folders that hold recorded runs; none where they are missing."""
    from engine.folders import shipped_folder

    try:
        shipped = shipped_folder()
    except UsageError:
        return []
    return [folder for folder in (shipped / "runs",) if folder.is_dir()]


def is_example(path: Path) -> bool:
    """Whether a run is one of the shipped, read-only ones."""
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in example_folders())


def _row(listing: RunListing, example: bool = False) -> RunRow:
    summary: Mapping[str, Any] = listing.summary or {}

    def text(key: str) -> str:
        value = summary.get(key)
        return "" if value is None else escape(str(value))

    tau = summary.get("kendall_tau_acc")
    n = summary.get("n")
    return RunRow(
        id=escape(listing.id),
        path=Path(listing.path),
        model=text("model"),
        dataset=text("dataset"),
        layers=text("layers"),
        ratio=text("ratio"),
        status=listing.status,
        n_done=listing.n_done,
        n_total=listing.n_total,
        tau=float(tau) if isinstance(tau, int | float) else None,
        n=n if isinstance(n, int) else 0,
        created=_seconds(summary.get("created")),
        example=example,
        error=escape(listing.error or ""),
    )


def _seconds(created: object) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(created)).timestamp()
    except (ValueError, OverflowError):
        return None


class RunFollower:
    """Follows one run file. Any worker may call it; one at a time gets through."""

    def __init__(self, path: Path) -> None:
        """Remember the run; nothing is opened before the first read."""
        self.path = path
        self._lock = threading.Lock()
        self._reader: RunReader | None = None
        self._clock: HeartbeatClock | None = None
        self._rows_version = 0
        self._line: LineData | None = None
        self._line_due = 0.0
        self._line_rows = -1

    def read(self) -> RunView:
        """Return the run as it is now; cheap where nothing changed.

        Raises:
            UsageError: the run cannot be read; the sentence says why.
        """
        with self._lock:
            return self._read()

    def pruned(self, candidate: int) -> tuple[tuple[int, ...], ...]:
        """Return the filter indices that a candidate loses, per layer."""
        with self._lock:
            if self._reader is None:
                return ()
            return tuple(tuple(layer) for layer in self._reader.pruned(candidate))

    def _read(self) -> RunView:
        from engine.store.reader import RunReader

        if self._reader is None:
            self._reader = RunReader(self.path)
            self._rows_version += 1
        elif self._reader.refresh():
            self._rows_version += 1
        reader = self._reader
        status, message = self._status(reader)
        live = reader.live() if self.path.is_dir() else None
        return self._build(reader, status, message, live or {})

    def _status(self, reader: RunReader) -> tuple[str, str]:
        if reader.status not in LIVE or not self.path.is_dir():
            return reader.status, escape(reader.message)
        from engine.store.liveness import HeartbeatClock, effective_status, engine_state

        if self._clock is None:
            self._clock = HeartbeatClock()
        state = engine_state(self.path, self._clock)
        return effective_status(reader.status, state), escape(reader.message)

    def _request(self) -> str:
        from engine.store.requests import pending_request

        return (pending_request(self.path) or "") if self.path.is_dir() else ""

    def _build(
        self, reader: RunReader, status: str, message: str, live: Mapping[str, Any]
    ) -> RunView:
        from engine.summary import finished_means, finished_rows

        config = reader.config
        facts = _Facts(config)
        rows = reader.rows
        columns = ("pruned_train_loss", "best_test_acc", "best_test_loss")
        candidates, means = finished_means(rows, facts.repeats, columns)
        provisional = live.get("provisional") or []
        numbers = _numbers(candidates, means, config)
        scatter = _scatter(rows, candidates, means, numbers, provisional, config)
        line = self._line_of(rows, candidates, means)
        return RunView(
            id=escape(str(config.get("run_id", self.path.name))),
            path=self.path,
            title=facts.title,
            status=status,
            message=message,
            n_done=len(finished_rows(rows)),
            n_total=int(config.get("n_total", 0)),
            stage=_stage(live),
            numbers=numbers,
            scatter=scatter,
            line=line,
            rows=_candidate_rows(rows, provisional),
            provisional=len(scatter.provisional_candidate),
            repeats=facts.repeats,
            layers=tuple(escape(str(layer)) for layer in config.get("layers", ())),
            spec=facts.lines,
            request=self._request(),
            log=tuple(reader.log_tail(LOG_LINES)) if self.path.is_dir() else (),
        )

    def _line_of(self, rows: np.ndarray, candidates: np.ndarray, means: np.ndarray) -> LineData:
        """Tau over n; recomputed when rows came, but never for more than a tenth of the time."""
        from engine.statistics import running_tau
        from oracle_tui.plots.line import LineData

        now = time.monotonic()
        if self._line is not None and (
            self._line_rows == self._rows_version or now < self._line_due
        ):
            return self._line
        order = _finishing_order(rows, candidates)
        found = running_tau(means[order, 0], means[order, 1])
        self._line = LineData(
            x=found.n.astype(float),
            y=found.tau,
            low=found.lower,
            high=found.upper,
            x_name="finished candidates",
            bounds=(-1.0, 1.0),
        )
        self._line_rows = self._rows_version
        self._line_due = now + 9 * (time.monotonic() - now)
        return self._line


class _Facts:
    """What a config says about its study; a spec of a stranger may be anything."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        from engine.spec import StudySpec
        from engine.summary import spec_columns

        try:
            spec = StudySpec.from_json(config["spec"])
        except (UsageError, KeyError, TypeError) as error:
            self.title, self.repeats = escape(str(config.get("run_id", ""))), 1
            self.lines: tuple[tuple[str, str], ...] = (("spec", escape(str(error))),)
            return
        self.repeats = spec.repeats
        self.title = " · ".join(
            (spec.model_info.title, spec.dataset, "+".join(spec.layers), spec.ratio_text)
        )
        lines = [(key, escape(str(value))) for key, value in spec_columns(spec).items()]
        for key in ("device", "created", "run_id"):
            if config.get(key) is not None:
                lines.append((key, escape(str(config[key]))))
        environment = config.get("environment")
        if isinstance(environment, dict):
            lines += [(escape(str(k)), escape(str(v))) for k, v in environment.items()]
        self.lines = tuple((key.replace("_", " "), value) for key, value in lines)


def _stage(live: Mapping[str, Any]) -> Stage:
    def number(key: str) -> float | None:
        value = live.get(key)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    return Stage(
        name=escape(str(live.get("stage", ""))),
        done=int(number("stage_done") or 0),
        total=int(number("stage_total") or 0),
        unit=escape(str(live.get("stage_unit", ""))),
        rate=number("rate"),
        eta=number("eta_seconds"),
        note=escape(str(live.get("note", "") or "")),
    )


def _numbers(candidates: np.ndarray, means: np.ndarray, config: Mapping[str, Any]) -> Numbers:
    from engine.statistics import anomaly_ratio, summarise, tau_interval

    score, accuracy, loss = means.T
    found = summarise(score, accuracy, loss)
    interval = tau_interval(score, accuracy)
    ratio = anomaly_ratio(score, accuracy)

    def point(index: int) -> Point | None:
        if index < 0:
            return None
        return Point(int(candidates[index]), float(score[index]), float(accuracy[index]))

    base = config.get("base_test_acc")
    return Numbers(
        n=found.n,
        tau_acc=found.kendall_tau_acc,
        p_acc=found.kendall_p_acc,
        low=interval.lower,
        high=interval.upper,
        tau_loss=found.kendall_tau_loss,
        p_loss=found.kendall_p_loss,
        anomaly=ratio.ratio,
        anomaly_range=(ratio.lowest, ratio.highest) if ratio.n else None,
        oracle=point(found.oracle),
        best=point(found.best),
        base_accuracy=float(base) if isinstance(base, int | float) else None,
        note=escape(found.note),
    )


def _scatter(
    rows: np.ndarray,
    candidates: np.ndarray,
    means: np.ndarray,
    numbers: Numbers,
    provisional: list[Any],
    config: Mapping[str, Any],
) -> ScatterData:
    import numpy as np

    from oracle_tui.plots.scatter import ScatterData

    score, accuracy = means[:, 0], means[:, 1]

    def place(candidate: object) -> int | None:
        if not isinstance(candidate, int):
            return None
        where = np.flatnonzero(candidates == candidate)
        return int(where[0]) if len(where) else None

    oracle = place(numbers.oracle.candidate) if numbers.oracle else None
    best = place(numbers.best.candidate) if numbers.best else None
    anomaly = np.zeros(len(candidates), bool)
    if oracle is not None:
        anomaly = accuracy > accuracy[oracle]
    extra, extra_x, extra_y = _provisional(rows, candidates, provisional)
    return ScatterData(
        candidate=candidates.astype(np.int64),
        x=score,
        y=accuracy,
        anomaly=anomaly,
        oracle=oracle,
        best=best,
        l1=place(config.get("l1_candidate")),
        provisional_candidate=extra,
        provisional_x=extra_x,
        provisional_y=extra_y,
    )


def _provisional(
    rows: np.ndarray, finished: np.ndarray, live: list[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates not finished yet: mean accuracy over repeats that ended or are in training."""
    import numpy as np

    in_training = np.array(
        [(entry[0], entry[1], entry[3]) for entry in live if len(entry) >= 4], np.float64
    ).reshape(-1, 3)
    open_rows = rows[~np.isin(rows["candidate"], finished)]
    ended = open_rows[open_rows["status"] == 2]
    key = in_training[:, 0] * 65_536 + in_training[:, 1]
    ended_key = ended["candidate"] * 65_536.0 + ended["repeat"]
    fresh = in_training[~np.isin(key, ended_key) & ~np.isin(in_training[:, 0], finished)]
    ids = np.concatenate([ended["candidate"].astype(np.float64), fresh[:, 0]])
    values = np.concatenate([ended["best_test_acc"], fresh[:, 2]])
    unique, where = np.unique(ids, return_inverse=True)
    if unique.size == 0:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    y = np.bincount(where, values) / np.bincount(where)
    scored, first = np.unique(open_rows["candidate"], return_index=True)
    position = np.searchsorted(scored, unique)
    position = np.minimum(position, max(len(scored) - 1, 0))
    has_score = scored[position] == unique if len(scored) else np.zeros(unique.size, dtype=bool)
    x = np.full(unique.size, np.nan)
    if len(scored):
        x[has_score] = open_rows["pruned_train_loss"][first[position[has_score]]]
    keep = np.isfinite(x) & np.isfinite(y)
    return unique[keep].astype(np.int64), x[keep], y[keep]


def _candidate_rows(rows: np.ndarray, live: list[Any]) -> CandidateRows:
    import numpy as np

    state = np.where(rows["status"] == 1, 0, rows["status"]).astype(np.int64)
    best_acc = rows["best_test_acc"].copy()
    best_loss = rows["best_test_loss"].copy()
    epoch = rows["best_epoch"].astype(np.int64)
    known = {(int(r["candidate"]), int(r["repeat"])): i for i, r in enumerate(rows)} if live else {}
    for entry in live:
        if len(entry) < 5:
            continue
        index = known.get((int(entry[0]), int(entry[1])))
        if index is not None and state[index] == 0:
            state[index] = 1
            epoch[index], best_acc[index], best_loss[index] = entry[2], entry[3], entry[4]
    return CandidateRows(
        candidate=rows["candidate"].astype(np.int64),
        repeat=rows["repeat"].astype(np.int64),
        score=rows["pruned_train_loss"].copy(),
        best_acc=best_acc,
        last_acc=rows["last_test_acc"].copy(),
        best_loss=best_loss,
        best_epoch=epoch,
        state=state,
    )


def _finishing_order(rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Positions of finished candidates in the order in which their last repeat ended."""
    import numpy as np

    ended = np.full(len(candidates), -np.inf)
    place = np.searchsorted(candidates, rows["candidate"])
    inside = place < len(candidates)
    inside[inside] &= candidates[place[inside]] == rows["candidate"][inside]
    np.maximum.at(ended, place[inside], np.nan_to_num(rows["finished_at"][inside]))
    return np.argsort(ended, kind="stable")
