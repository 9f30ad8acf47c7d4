"""The list of runs, for thread workers: the runs folder and the shipped examples as rows."""

from __future__ import annotations

import datetime
import functools
import importlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from oracle_tui.formats import escape
from oracle_tui.views import LIVE, RunRow

if TYPE_CHECKING:
    from engine.store.listing import RunListing
    from engine.store.liveness import HeartbeatClock

#: What the screens after the first one need, directly or in the end.
LATER = (
    "h5py",
    "plotext",
    "scipy.stats",
    "engine.store.reader",
    "engine.summary",
    "oracle_tui.screens.run",
    "oracle_tui.screens.new_run",
    "engine.orders",
)


def warm_up() -> None:
    """Import what the next screens need, after the first paint and beside it."""
    for name in LATER:
        importlib.import_module(name)


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
        model=_last_part(text("model")),
        dataset=_last_part(text("dataset")),
        layers=text("layers"),
        ratio=text("ratio"),
        wiring=text("wiring"),
        status=listing.status,
        n_done=listing.n_done,
        n_total=listing.n_total,
        tau=float(tau) if isinstance(tau, int | float) else None,
        n=n if isinstance(n, int) else 0,
        created=_seconds(summary.get("created")),
        example=example,
        error=escape(listing.error or ""),
    )


def _last_part(name: str) -> str:
    """Return the end of the name of a model or data set that is a file: there is little room."""
    return name.rpartition("/")[2]


def _seconds(created: object) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(created)).timestamp()
    except (ValueError, OverflowError):
        return None
