"""Listing many runs at once, and finding one by name. Nothing here may enter HDF5.

A bad file becomes a row with its error. Only seals are read, never HDF5, and what they said is
kept in a disposable index file.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RunFileError, UsageError
from engine.store.disk import open_regular, read_small, reason, replace_file
from engine.store.documents import dump_document, parse_document
from engine.store.journal import HEADER_BYTES, FrameKind, read_journal
from engine.store.layout import HDF5_NAME, JOURNAL_NAME
from engine.store.liveness import EngineLife, HeartbeatClock, engine_life
from engine.store.records import decode_status
from engine.store.seal import read_seal
from engine.store.summary import parse_summary
from engine.store.text import printable

INDEX_NAME = ".listing-index.json"
INDEX_VERSION = 2
_MAX_INDEX_BYTES = 1 << 27
_MAX_NAMED = 5


@dataclass(frozen=True)
class RunListing:
    """One line of a listing. With `error` set, the other fields are what could be known.

    `life` is None for a bare run file, which no engine works on.
    """

    id: str
    path: Path
    status: str
    n_done: int
    n_total: int
    summary: dict[str, Any]
    error: str | None = None
    message: str = ""
    life: EngineLife | None = None


def list_runs(runs_dir: Path, clock: HeartbeatClock | None = None) -> list[RunListing]:
    """List the run folders and bare run files of a folder, sorted by name.

    Args:
        runs_dir: the folder; one that is not there has no runs.
        clock: keep one over successive calls so that a silent engine is noticed.

    Raises:
        UsageError: the folder cannot be read.
    """
    clock = clock or HeartbeatClock()
    try:
        with os.scandir(runs_dir) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(runs_dir, error) from error
    old = _read_index(runs_dir)
    new: dict[str, Any] = {}
    listings = []
    for name in names:
        listing = _list_one(runs_dir / name, old, new, clock)
        if listing is not None:
            listings.append(listing)
    if new != old:
        _write_index(runs_dir, new)
    return listings


def find_run(runs_dir: Path, text: str) -> Path:
    """Return the run that a person means by an id, a unique prefix of one, or a path.

    An exact id wins over a path and over longer ids.

    Raises:
        UsageError: no run or more than one matches; the message names them.
    """
    if not text:
        raise UsageError("Name a run by its id, the beginning of its id, or a path.")
    unread: OSError | None = None
    try:
        ids = _ids(runs_dir)
    except OSError as error:
        ids, unread = {}, error
    if text in ids:
        return ids[text]
    path = Path(text).expanduser()
    with contextlib.suppress(OSError, ValueError):
        if (os.sep in text or text.endswith(".h5")) and path.exists():
            if path.is_dir() and not os.path.lexists(path / HDF5_NAME):
                raise UsageError(f"{printable(text)} is no run: there is no {HDF5_NAME} in it.")
            return path
    matches = [name for name in ids if name.startswith(text)]
    if len(matches) == 1:
        return ids[matches[0]]
    if not matches and os.path.isfile(path / HDF5_NAME):
        return path
    shown, where = printable(text), printable(str(runs_dir))
    if not matches and os.sep in text:
        raise UsageError(f"There is no run at {shown}; name one by its id or its path.")
    if not matches:
        if unread is not None:
            raise _unreadable(runs_dir, unread)
        raise UsageError(f"No run in {where} begins with {shown!r}; list the runs to see them.")
    named = ", ".join(printable(name) for name in matches[:_MAX_NAMED])
    more = f" and {len(matches) - _MAX_NAMED} more" if len(matches) > _MAX_NAMED else ""
    raise UsageError(f"{shown!r} matches {len(matches)} runs ({named}{more}); give more of the id.")


def _unreadable(runs_dir: Path, error: OSError) -> UsageError:
    where = printable(str(runs_dir))
    return UsageError(f"The folder of runs {where} cannot be read ({reason(error)}).")


def _ids(runs_dir: Path) -> dict[str, Path]:
    """Return the ids by which the entries of the folder can be named; raise OSError if unread."""
    try:
        names = sorted(name for name in os.listdir(runs_dir) if not name.startswith("."))
    except FileNotFoundError:
        return {}
    paths = [(name, runs_dir / name) for name in names]
    bare = {
        name[:-3]: path for name, path in paths if name.endswith(".h5") and os.path.isfile(path)
    }
    folders = {name: path for name, path in paths if os.path.lexists(path / HDF5_NAME)}
    return dict(sorted((bare | folders).items()))


def _list_one(
    path: Path, old: dict[str, Any], new: dict[str, Any], clock: HeartbeatClock
) -> RunListing | None:
    """List one entry of the folder; None where it is not a run and not meant to be one."""
    bare = path.name.endswith(".h5") and not os.path.isdir(path)
    file = path if bare else path / HDF5_NAME
    run_id = printable(path.name.removesuffix(".h5") if bare else path.name)
    try:
        stamp = _stamp(file, follow=bare)
        if stamp is None:
            if bare or not _has(path, JOURNAL_NAME):
                return None
            raise RunFileError(f"{printable(str(path))} has a journal but no {HDF5_NAME}.")
        journal = None if bare else _stamp(path / JOURNAL_NAME)
        known = _recall(old.get(path.name), [stamp, journal])
        if known is None:
            known = _examine(path, file, stamp, journal, follow=bare)
        new[path.name] = known
        if known["error"] is not None:
            raise RunFileError(known["error"])
        life = None if bare else engine_life(path, known["status"], clock)
        status = life.status if life else known["status"]
        counts = (known["n_done"], known["n_total"])
        message = known["message"]
        return RunListing(
            run_id, path, status, *counts, known["summary"], message=message, life=life
        )
    except RunFileError as error:
        return RunListing(run_id, path, "", 0, 0, {}, str(error))
    except OSError as error:
        said = f"{printable(str(file))} cannot be read ({reason(error)})."
        return RunListing(run_id, path, "", 0, 0, {}, said)


def _examine(
    path: Path, file: Path, stamp: list[int], journal: list[int] | None, *, follow: bool
) -> dict[str, Any]:
    """Read the seal, and the end of the journal, of one run."""
    record: dict[str, Any] = {"stamps": [stamp, journal], "error": None}
    try:
        what = printable(str(file))
        fd = open_regular(file, follow=follow)
        try:
            summary = parse_summary(read_seal(fd, what).summary, what)
        finally:
            os.close(fd)
        status, message = summary["status"], summary["message"]
        n_done = summary["n_done"]
        if journal is not None and journal[2] > HEADER_BYTES:
            read = read_journal(path / JOURNAL_NAME)
            for frame in read[1].frames if read else ():
                if frame.sequence > summary["sequence"]:
                    n_done = frame.n_finished
                    if frame.kind == FrameKind.STATUS:
                        with contextlib.suppress(ValueError):  # opening the run will say so
                            said = decode_status(frame.payload)
                            status, message = said.status, said.message
        record |= {
            "status": status,
            "message": message,
            "n_done": n_done,
            "n_total": summary["n_total"],
            "summary": summary["summary"],
        }
    except RunFileError as error:
        record["error"] = str(error)
    return record


def _recall(record: object, stamps: list[Any]) -> dict[str, Any] | None:
    """Return an entry of the index if it is about these very files and whole."""
    if not isinstance(record, dict) or record.get("stamps") != stamps:
        return None
    if isinstance(record.get("error"), str):
        return record
    if (
        record.get("error", "") is None
        and isinstance(record.get("status"), str)
        and isinstance(record.get("message"), str)
        and isinstance(record.get("n_done"), int)
        and isinstance(record.get("n_total"), int)
        and isinstance(record.get("summary"), dict)
    ):
        return record
    return None


def _has(folder: Path, name: str) -> bool:
    return os.path.isfile(folder / name)


def _stamp(path: Path, *, follow: bool = False) -> list[int] | None:
    """Return what tells one version of a file from another; None where there is none."""
    try:
        found = os.stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _read_index(runs_dir: Path) -> dict[str, Any]:
    try:
        data = read_small(runs_dir / INDEX_NAME, _MAX_INDEX_BYTES)
        document = parse_document(data, "the index", _MAX_INDEX_BYTES)
    except (FileNotFoundError, RunFileError):
        return {}
    runs = document.get("runs")
    return runs if document.get("version") == INDEX_VERSION and isinstance(runs, dict) else {}


def _write_index(runs_dir: Path, runs: dict[str, Any]) -> None:
    # Without it the next listing is slower, nothing else; the folder may well be read-only.
    document = {"version": INDEX_VERSION, "runs": runs}
    with contextlib.suppress(OSError):
        replace_file(runs_dir / INDEX_NAME, dump_document(document), durable=False)
