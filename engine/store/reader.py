"""Reading a run, live or finished. A reader never locks, never writes and trusts nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import RunFileError, UsageError
from engine.store.disk import open_regular, read_range, reason
from engine.store.journal import (
    HEADER_BYTES,
    MAX_JOURNAL_BYTES,
    JournalHeader,
    Scan,
    decode_header,
    read_open_journal,
    scan,
)
from engine.store.layout import (
    CURVE_COLUMNS,
    HDF5_NAME,
    JOURNAL_NAME,
    LOCK_NAME,
    LOG_NAME,
    Curves,
    Rows,
    RunLayout,
    row_keys,
)
from engine.store.live import read_live
from engine.store.published import Published, open_published
from engine.store.records import replay
from engine.store.table import RunTable, unflatten_pruned
from engine.store.text import printable, printable_json

_LOG_TAIL_BYTES = 1 << 16
_ATTEMPTS = 20

_Stamp = tuple[int, int, int, int] | None


class RunReader:
    """A run as its files say it is; `refresh` takes in what has been written since.

    Attributes:
        path: the HDF5 file.
        folder: the run folder, or None for a bare HDF5 file.
        config: the run's config, control characters in its strings written out.
        status: the durable status.
        message: what was said with it.
        summary: the summary of the last publish.
        warning: one sentence about damage that was worked around, or "".
    """

    def __init__(self, path: Path) -> None:
        """Open a run folder or a bare run file.

        Raises:
            RunFileError: it is not a run, is damaged, or is not safe to read.
        """
        self.folder, self.path = _locate(path)
        self._journal_path = self.path.with_name(JOURNAL_NAME) if self.folder else None
        self._published: Published | None = None
        self._load()

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; the rows that were read stay."""
        if self._published is not None:
            self._published.close()

    # -- what is there --------------------------------------------------------------------------

    @property
    def layout(self) -> RunLayout:
        """Names and sizes from the run's config."""
        return self._base.layout

    @property
    def rows(self) -> Rows:
        """All rows, sorted by (candidate, repeat); read-only.

        `pruned_offset` and `pruned_length` are places in the HDF5 file; use `pruned` instead.
        """
        return self._rows

    def curve(self, candidate: int, repeat: int) -> Curves | None:
        """Return float32[epochs, 4], columns as in CURVE_COLUMNS; None where there is none."""
        key = np.uint64((candidate << 16) | repeat)
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        source = int(self._source[at])
        curve = self._base.curve(source) if source >= 0 else self._newer.curves[~source].copy()
        return None if np.isnan(curve).all() else curve

    def curves(self) -> Curves:
        """Return float32[n, epochs, 4] aligned with `rows`; NaN where nothing is known."""
        shape = (len(self._rows), self.layout.epochs, len(CURVE_COLUMNS))
        old = self._source >= 0
        if old.all() and len(self._base.rows) == len(self._rows):
            return self._base.curves()
        out: Curves = np.empty(shape, np.float32)
        out[old] = self._base.curves()[self._source[old]]
        out[~old] = self._newer.curves[~self._source[~old]]
        return out

    def pruned(self, candidate: int) -> list[list[int]]:
        """Return the pruned filter indices of a candidate, one list per layer of the config.

        Raises:
            UsageError: the run has no such candidate.
        """
        n_layers = len(self.layout.layers)
        flat = self._newer.pruned.get(candidate)
        if flat is None:
            candidates = self._base.rows["candidate"]
            at = int(np.searchsorted(candidates, candidate))
            if at < len(candidates) and int(candidates[at]) == candidate:
                flat = self._base.pruned(at)
            elif (self._rows["candidate"] == candidate).any():
                return [[] for _ in range(n_layers)]
            else:
                raise UsageError(f"the run {self.layout.run_id} has no candidate {candidate}.")
        return unflatten_pruned(flat, n_layers)

    def live(self) -> dict[str, Any] | None:
        """Return what the engine says of the moment (see `engine.store.live`), or None."""
        return read_live(self.folder) if self.folder else None

    def log_tail(self, lines: int) -> list[str]:
        """Return the last lines of the engine's log, control characters written out."""
        if self.folder is None or lines <= 0:
            return []
        try:
            fd = open_regular(self.folder / LOG_NAME)
        except (FileNotFoundError, RunFileError):
            return []
        try:
            start = max(0, os.fstat(fd).st_size - _LOG_TAIL_BYTES)
            data = read_range(fd, start, _LOG_TAIL_BYTES)
        except OSError:
            return []
        finally:
            os.close(fd)
        whole = data.split(b"\n")[1 if start else 0 :]
        text = [printable(line.decode("utf-8", "replace")) for line in whole if line]
        return text[-lines:]

    # -- what is new ----------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Take in what was written since; two stat calls where nothing was.

        Returns:
            Whether rows, status, message or summary changed.

        Raises:
            RunFileError: the run is gone or damaged; what was read before stays.
        """
        stamps = (_stamp(self.path), self._journal_stamp())
        if stamps == self._stamps:
            return False
        before = (self._sequence, self.status, self.message, self.summary)
        if stamps[0] != self._stamps[0] or not self._read_on():
            self._load()
        return before != (self._sequence, self.status, self.message, self.summary)

    def _journal_stamp(self) -> _Stamp:
        return _stamp(self._journal_path) if self._journal_path else None

    def _load(self) -> None:
        """Read everything anew: first the journal, then the HDF5 file that it continues.

        In this order the file is never older than the journal. If meanwhile a publish began a
        new journal, frames behind the file may be in that one, so it starts again.
        """
        for _ in range(_ATTEMPTS):
            stamp, header, found = self._read_whole_journal()
            try:
                published = open_published(self.path, follow=self.folder is None)
            except FileNotFoundError as error:
                raise RunFileError(f"{printable(str(self.path))} is not there.") from error
            now = self._journal_stamp()
            if (now and now[:2]) == (stamp and stamp[:2]):
                break
            published.close()
        else:
            raise RunFileError(f"{printable(str(self.path))} changes too fast to be read.")
        try:
            self._take(published, header, found)
        except BaseException:
            published.close()
            raise
        self._stamps = (published.identity, stamp)

    def _read_whole_journal(self) -> tuple[_Stamp, JournalHeader | None, Scan]:
        if self._journal_path is None:
            return None, None, Scan()
        try:
            fd = open_regular(self._journal_path)
        except FileNotFoundError:
            return None, None, Scan()
        what = printable(str(self._journal_path))
        try:
            stamp = _identity(os.fstat(fd))
            header, found = read_open_journal(fd, what)
        except OSError as error:
            raise RunFileError(f"{what} cannot be read ({reason(error)}).") from error
        finally:
            os.close(fd)
        return stamp, header, found

    def _take(self, published: Published, header: JournalHeader | None, found: Scan) -> None:
        """Make what was read the state of this reader."""
        base = int(published.header["sequence"])
        layout = published.layout
        what = printable(str(self._journal_path))
        if header is not None and not header.continues(layout):
            raise RunFileError(f"{what} belongs to another run; move it away.")
        newer = RunTable(layout)
        sequence, record = replay(found.frames, newer, base, what)
        self.close()
        self._published = published
        self._base, self._newer = published, newer
        self._header, self._journal_end, self._sequence = header, found.good_end, sequence
        self.config: dict[str, Any] = {
            printable(key): printable_json(value) for key, value in published.config.items()
        }
        self.summary: dict[str, Any] = published.header["summary"]
        self.status = str(record.status if record else published.header["status"])
        self.message = str(record.message if record else published.header["message"])
        self.warning = ""
        if header is not None and header.base_sequence > base:
            self.warning = (
                f"{printable(str(self.path))} is older than its journal, so rows are missing; "
                "copy the run again while no engine writes it."
            )
        self._warn_of(found)
        self._merge()

    def _read_on(self) -> bool:
        """Take in new frames of the same journal; False where everything must be read anew."""
        if self._journal_path is None or self._header is None:
            return False
        try:
            fd = open_regular(self._journal_path)
        except FileNotFoundError:
            return False
        try:
            stamp = _identity(os.fstat(fd))
            old = self._stamps[1]
            if (
                old is None
                or stamp[:2] != old[:2]
                or stamp[2] < self._journal_end
                or decode_header(read_range(fd, 0, HEADER_BYTES)) != self._header
            ):
                return False
            found = scan(read_range(fd, self._journal_end, MAX_JOURNAL_BYTES))
        except OSError as error:
            raise RunFileError(
                f"{printable(str(self._journal_path))} cannot be read ({reason(error)})."
            ) from error
        finally:
            os.close(fd)
        what = printable(str(self._journal_path))
        self._sequence, record = replay(found.frames, self._newer, self._sequence, what)
        if record is not None:
            self.status, self.message = record.status, record.message
        self._journal_end += found.good_end
        self._stamps = (self._stamps[0], stamp)
        self._warn_of(found)
        self._merge()
        return True

    def _warn_of(self, found: Scan) -> None:
        if found.damaged:
            self.warning = (
                f"{printable(str(self._journal_path))} is damaged; the rows in its whole records "
                "are shown, and resuming the run redoes what is missing."
            )

    def _merge(self) -> None:
        """Put the newer rows over the published ones.

        `_source` says for each row where its curve is: a place in the published file, or the
        complement of a place among the newer rows.
        """
        base, newer = self._base, self._newer
        if len(newer) == 0:
            rows, keys = base.rows, base.keys
            source: NDArray[np.intp] = np.arange(len(rows))
        else:
            newer_keys = row_keys(newer.rows)
            kept = np.flatnonzero(~np.isin(base.keys, newer_keys))
            keys = np.concatenate([base.keys[kept], newer_keys])
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            source = np.concatenate([kept, ~np.arange(len(newer))])[order]
            rows = np.concatenate([base.rows[kept], newer.rows])[order]
        rows.flags.writeable = False
        self._rows: Rows = rows
        self._keys, self._source = keys, source


def _locate(path: Path) -> tuple[Path | None, Path]:
    """Return the run folder, if `path` belongs to one, and the HDF5 file."""
    if os.path.isdir(path):
        return path, path / HDF5_NAME
    if not os.path.lexists(path):
        raise RunFileError(f"{printable(str(path))} does not exist.")
    beside = (JOURNAL_NAME, LOCK_NAME)
    if path.name == HDF5_NAME and any(os.path.isfile(path.parent / name) for name in beside):
        return path.parent, path
    return None, path


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _stamp(path: Path) -> _Stamp:
    try:
        return _identity(os.stat(path))
    except OSError:
        return None
