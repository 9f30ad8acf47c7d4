"""The one writer of a run: what it acknowledges stays, whatever happens to its process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import RunFileError
from engine.store.creation import create_run
from engine.store.disk import replace_file
from engine.store.image import build_image
from engine.store.journal import FrameKind, Journal
from engine.store.layout import (
    CURVE_COLUMNS,
    FILE_MODE,
    HDF5_NAME,
    JOURNAL_NAME,
    LOCK_NAME,
    LOG_NAME,
    MAX_MESSAGE_CHARACTERS,
    MAX_ROWS,
    RUN_STATUSES,
    Curves,
    Pruned,
    Rows,
    RowStatus,
    RunLayout,
    count_finished,
)
from engine.store.live import write_live
from engine.store.lock import Holder, RunLock
from engine.store.records import check_rows, encode_rows, encode_status
from engine.store.recovery import Recovered, recover
from engine.store.requests import clear_request, pending_request
from engine.store.summary import RunState, summary_document
from engine.store.table import flatten_pruned
from engine.store.text import printable

PUBLISH_SECONDS = 30.0
# A publish rewrites the whole file, so on a slow disk it must not become the engine's main work.
_PUBLISH_SHARE = 20.0
_JOURNAL_BYTES = 1 << 28
_LONGEST_MESSAGE = "\U0001f600" * MAX_MESSAGE_CHARACTERS  # 12 bytes of JSON a character


class RunWriter:
    """Appends rows to a run and publishes its HDF5 file. Make one with `open`."""

    def __init__(
        self, folder: Path, lock: RunLock, found: Recovered, clock: Callable[[], float]
    ) -> None:
        self.folder = folder
        self.config = found.state.config
        self._lock = lock
        self._table = found.table
        self._journal = found.journal
        self._status, self._message = found.state.status, found.state.message
        self._summary = found.state.summary
        self._n_finished = count_finished(found.table.rows, found.table.layout.epochs)
        self._published_sequence = found.state.sequence
        self._published_rows = found.n_published
        self._clock = clock
        self._published_at = clock()
        self._publish_took = 0.0
        self._heartbeat = 0
        for note in found.notes:
            self.log(note)

    # -- making and opening ---------------------------------------------------------------------

    @classmethod
    def create(
        cls, folder: Path, config: dict[str, Any], summary: dict[str, Any] | None = None
    ) -> None:
        """Make a run folder with a published file that has status queued and no rows.

        The folder appears whole or not at all.

        Args:
            folder: the run folder.
            config: the run's config.
            summary: the scalars that listings show until the first publish.

        Raises:
            UsageError: it exists, cannot be written, or the config is not one of a run.
        """
        create_run(folder, config, summary or {})

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        takeover: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> RunWriter:
        """Take the run's lock and recover whatever an earlier writer acknowledged.

        Args:
            folder: the run folder.
            takeover: take the lock of an engine on another host.
            clock: seconds on a clock that only goes forward.

        Raises:
            RunFileError: another writer holds the run, or its file is damaged.
            OSError: the journal could not be written (the disk is full).
        """
        if not os.path.isfile(folder / HDF5_NAME):
            raise RunFileError(f"{printable(str(folder))} is not the folder of a run.")
        lock = RunLock.acquire(folder / LOCK_NAME, takeover=takeover)
        try:
            return cls(folder, lock, recover(folder), clock)
        except BaseException:
            lock.release()
            raise

    # -- what is there --------------------------------------------------------------------------

    @property
    def layout(self) -> RunLayout:
        """Names and sizes from the run's config."""
        return self._table.layout

    @property
    def status(self) -> str:
        """The durable status."""
        return self._status

    @property
    def message(self) -> str:
        """The message set with the status."""
        return self._message

    @property
    def summary(self) -> dict[str, Any]:
        """The summary that the next publish stores."""
        return self._summary

    @property
    def rows(self) -> Rows:
        """All acknowledged rows, sorted by (candidate, repeat); a copy."""
        rows: Rows = self._table.rows[self._table.order()]
        return rows

    @property
    def n_rows(self) -> int:
        """The number of acknowledged rows."""
        return len(self._table)

    @property
    def n_finished(self) -> int:
        """The number of rows with nothing left to do."""
        return self._n_finished

    def has(self, candidate: int, repeat: int, status: int = RowStatus.SCORED) -> bool:
        """Tell whether a row has come at least as far as `status` (SCORED < DONE < DIVERGED)."""
        place = self._table.position(candidate, repeat)
        return place is not None and int(self._table.rows["status"][place]) >= status

    # -- writing --------------------------------------------------------------------------------

    def append(
        self,
        rows: Rows,
        curves: Curves | None = None,
        pruned: list[list[list[int]]] | None = None,
    ) -> None:
        """Add or replace rows; on return they are on the disk.

        Args:
            rows: structured[n] of `layout.dtype`.
            curves: float32[n, epochs, 4], or None where the rows have no learning curve.
            pruned: for each row the filter indices per layer, or None to keep what is known.

        Raises:
            OSError: they could not be written (the disk is full); nothing was changed, and the
                same call may be made again.
            ValueError: the arrays do not have the shapes or types of this run.
        """
        layout = self.layout
        if rows.dtype != layout.dtype or rows.ndim != 1:
            raise ValueError("the rows do not have the record type of this run")
        check_rows(rows, layout)
        if curves is not None:
            curves = np.ascontiguousarray(curves, "<f4")
            if curves.shape != (len(rows), layout.epochs, len(CURVE_COLUMNS)):
                raise ValueError(f"curves of shape {curves.shape} do not fit the rows")
        self._table.require_room(len(rows))
        flat = self._flatten(rows, pruned)
        payload = encode_rows(rows, curves, flat)
        finished = self._n_finished + self._newly_finished(rows)
        self._journal.append(FrameKind.ROWS, payload, n_rows=len(rows), n_finished=finished)
        self._table.upsert(rows, curves, flat)
        self._n_finished = finished

    def set_status(self, status: str, message: str = "") -> None:
        """Record the run's status; on return it is on the disk.

        Raises:
            OSError: it could not be written; the status is as it was.
            ValueError: there is no such status.
        """
        if status not in RUN_STATUSES:
            raise ValueError(f"{status!r} is not a status of a run")
        message = message[:MAX_MESSAGE_CHARACTERS]
        self._journal.append(
            FrameKind.STATUS, encode_status(status, message), n_finished=self._n_finished
        )
        self._status, self._message = status, message

    def set_summary(self, summary: dict[str, Any]) -> None:
        """Set the scalars that the next publish stores for listings.

        Raises:
            ValueError: they are too long, or not JSON.
        """
        state = RunState({}, self._status, _LONGEST_MESSAGE, 1 << 62, summary)
        summary_document(state, self.layout, MAX_ROWS, MAX_ROWS)
        self._summary = dict(summary)

    def publish(self, final: bool = False) -> None:
        """Write the whole HDF5 file anew and put it in place of the old one.

        Args:
            final: shuffle and compress it, for a run that has ended.

        Raises:
            OSError: it could not be written; the old file and the journal still stand.
        """
        began = self._clock()
        sequence = self._journal.next_sequence - 1
        state = RunState(self.config, self._status, self._message, sequence, self._summary)
        replace_file(self.folder / HDF5_NAME, build_image(self._table, state, compress=final))
        self._published_sequence = sequence
        self._published_rows = len(self._table)
        # The frames of the old journal are all in the file now; readers pass over them.
        journal = Journal.start(self.folder / JOURNAL_NAME, self.layout, sequence)
        self._journal.close()
        self._journal = journal
        self._published_at = self._clock()
        self._publish_took = self._published_at - began

    def maybe_publish(self) -> bool:
        """Publish if the rows have doubled, or after 30 s with something new.

        Returns:
            Whether it published.

        Raises:
            OSError: see `publish`.
        """
        if not self.publish_due():
            return False
        self.publish()
        return True

    def publish_due(self) -> bool:
        """Tell whether `maybe_publish` would publish now."""
        if self._journal.next_sequence - 1 == self._published_sequence:
            return False
        doubled = len(self._table) >= 2 * max(1, self._published_rows)
        wait = max(PUBLISH_SECONDS, _PUBLISH_SHARE * self._publish_took)
        due = self._clock() - self._published_at >= wait
        return doubled or due or self._journal.n_bytes > _JOURNAL_BYTES

    # -- beside the rows ------------------------------------------------------------------------

    def beat(self, live: dict[str, Any]) -> None:
        """Write live.json with the next heartbeat.

        It holds nothing that must not be lost, so a full disk does not stop the engine here.
        """
        self._heartbeat += 1
        with contextlib.suppress(OSError):
            write_live(self.folder, live | {"heartbeat": self._heartbeat})

    def taken_over_by(self) -> Holder | None:
        """Return who holds the run's lock where that is no longer this writer, else None."""
        return self._lock.lost_to()

    def moved(self) -> bool:
        """Tell whether the run's folder was deleted or moved away; rows would go to nobody."""
        try:
            os.stat(self.folder)
        except FileNotFoundError:
            return True
        except OSError:  # not known at this moment, as where a network is down
            return False
        return False

    def request(self) -> str | None:
        """Return the pending request (pause, resume or stop), or None."""
        return pending_request(self.folder)

    def obeyed(self) -> None:
        """Remove the pending request."""
        clear_request(self.folder)

    def log(self, text: str) -> None:
        """Add one line to engine.log, UTC time first; a full disk does not stop the engine."""
        line = f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {printable(text)}\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(OSError):
            fd = os.open(self.folder / LOG_NAME, flags | os.O_NONBLOCK, FILE_MODE)
            try:
                os.write(fd, line.encode("utf-8"))
            finally:
                os.close(fd)

    def close(self) -> None:
        """Let go of the run. Nothing needs to be written: what was acknowledged is on disk."""
        self._journal.close()
        self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside ---------------------------------------------------------------------------------

    def _flatten(self, rows: Rows, pruned: list[list[list[int]]] | None) -> dict[int, Pruned]:
        if pruned is None:
            return {}
        if len(pruned) != len(rows):
            raise ValueError("pruned needs one entry per row")
        flat: dict[int, Pruned] = {}
        for candidate, per_layer in zip(rows["candidate"].tolist(), pruned, strict=True):
            if len(per_layer) > len(self.layout.layers):
                raise ValueError("pruned has more layers than the run")
            if candidate not in flat:  # the repeats of a candidate share its indices
                flat[candidate] = flatten_pruned(per_layer)
        return flat

    def _newly_finished(self, rows: Rows) -> int:
        finished_at = RowStatus.SCORED if self.layout.epochs == 0 else RowStatus.DONE
        change = 0
        seen: dict[tuple[int, int], bool] = {}
        columns = (rows["candidate"].tolist(), rows["repeat"].tolist(), rows["status"].tolist())
        for candidate, repeat, status in zip(*columns, strict=True):
            before = seen.get((candidate, repeat))
            if before is None:
                before = self.has(candidate, repeat, finished_at)
            after = status >= finished_at
            change += after - before
            seen[candidate, repeat] = after
        return change
