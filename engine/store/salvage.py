"""Reading what is whole out of a damaged run file and its journal. Nothing here writes.

HDF5 may crash on a file that does not match its seal, so call this in a process of its own.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.errors import RunFileError
from engine.store.checks import hdf5_errors, open_dataset
from engine.store.disk import open_regular
from engine.store.documents import parse_document
from engine.store.journal import read_journal
from engine.store.layout import (
    CURVE_COLUMNS,
    HDF5_NAME,
    JOURNAL_NAME,
    MAX_CONFIG_BYTES,
    MAX_CURVE_BYTES,
    MAX_FILE_BYTES,
    MAX_PRUNED,
    MAX_ROWS,
    PRUNED_DTYPE,
    RowStatus,
    RunLayout,
)
from engine.store.published import open_published
from engine.store.records import StatusRecord, decode_frame
from engine.store.table import RunTable
from engine.store.text import printable


@dataclass
class Salvaged:
    """What could be read. `notes` says in sentences what could not, or where it came from."""

    config: dict[str, Any]
    table: RunTable
    status: str = "stopped"
    message: str = ""
    notes: list[str] = field(default_factory=list)


def salvage(source: Path) -> Salvaged:
    """Reads a run folder or a bare run file as far as its checksums vouch for it.

    Raises:
        RunFileError: Not even the config can be read; without it rows mean nothing.
    """
    folder = source if os.path.isdir(source) else None
    path = source / HDF5_NAME if folder else source
    try:
        with open_published(path, follow=folder is None) as published:
            table = RunTable(published.layout, len(published.rows) + 1)
            table.upsert(published.rows, published.curves(), published.all_pruned())
            header = published.header
            found = Salvaged(published.config, table, str(header["status"]), str(header["message"]))
    except FileNotFoundError as error:
        raise RunFileError(f"{printable(str(path))} is not there, so nothing is whole.") from error
    except RunFileError as error:
        found = _salvage_file(path)
        found.notes.insert(0, str(error))
    if folder is not None:
        _add_journal(folder / JOURNAL_NAME, found)
    return found


def _salvage_file(path: Path) -> Salvaged:
    """Reads a file whose seal does not match, chunk by chunk: each has a checksum of its own."""
    what = printable(str(path))
    fd = open_regular(path)
    try:
        if os.fstat(fd).st_size > MAX_FILE_BYTES:
            raise RunFileError(f"{what} is larger than a run file can be.")
    finally:
        os.close(fd)
    with hdf5_errors(what), h5py.File(path, "r", locking=False) as file:
        dataset = open_dataset(file, "config", np.dtype(np.uint8), 1, what)
        if dataset.shape[0] > MAX_CONFIG_BYTES:
            raise RunFileError(f"{what}: the config is longer than {MAX_CONFIG_BYTES} bytes.")
        config = parse_document(
            dataset[:].tobytes(), f"the config of {what}", MAX_CONFIG_BYTES, raw=True
        )
        layout = RunLayout.of(config, what)
        found = Salvaged(config, RunTable(layout))
        rows, whole = _chunks(file, "candidates", layout.dtype, (), MAX_ROWS, found)
        shape = (layout.epochs, len(CURVE_COLUMNS))
        most = MAX_CURVE_BYTES // max(1, 4 * math.prod(shape))
        curves = np.full((len(rows), *shape), np.nan, np.float32)
        if layout.epochs:
            read, there = _chunks(file, "curves", np.dtype("<f4"), shape, most, found, sparse=True)
            n = min(len(rows), len(read))
            curves[:n][there[:n]] = read[:n][there[:n]]
        flat, sound = _chunks(file, "pruned", PRUNED_DTYPE, (), MAX_PRUNED, found)
    status = rows["status"]
    whole &= (status >= min(RowStatus)) & (status <= max(RowStatus))
    whole &= rows["epochs"] <= layout.epochs
    pruned = {}
    for row in rows[whole]:
        start = int(row["pruned_offset"])
        stop = start + int(row["pruned_length"])
        part = flat[start:stop]
        if stop <= len(flat) and sound[start:stop].all() and stop > start:
            inside = (part["layer"] < len(layout.layers)).all()
            if inside:
                pruned[int(row["candidate"])] = part
    found.table.upsert(rows[whole], curves[whole], pruned)
    return found


def _chunks(
    file: Any,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    most: int,
    found: Salvaged,
    *,
    sparse: bool = False,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Returns a data set and which of its entries are in chunks that read without an error."""
    try:
        with hdf5_errors(name):
            dataset = open_dataset(file, name, dtype, 1 + len(shape), name, sparse=sparse)
            if dataset.shape[0] > most or dataset.shape[1:] != shape:
                raise RunFileError(f"{name!r} does not have the shape of a run's.")
    except RunFileError as error:
        found.notes.append(str(error))
        return np.zeros((0, *shape), dtype), np.zeros(0, bool)
    n = dataset.shape[0]
    step = dataset.chunks[0] if dataset.chunks else max(1, n)
    out, whole = np.zeros((n, *shape), dtype), np.zeros(n, bool)
    lost = 0
    for start in range(0, n, step):
        stop = min(n, start + step)
        try:
            with hdf5_errors(name):
                out[start:stop] = dataset[start:stop]
            whole[start:stop] = True
        except RunFileError:
            lost += stop - start
    if lost:
        found.notes.append(f"{lost:,} of {n:,} entries of {name!r} are damaged.")
    return out, whole


def _add_journal(path: Path, found: Salvaged) -> None:
    """Puts the whole records of the journal over what came from the file."""
    try:
        read = read_journal(path)
    except RunFileError as error:
        found.notes.append(str(error))
        return
    if read is None:
        return
    header, scanned = read
    layout = found.table.layout
    if header is not None and not header.continues(layout):
        found.notes.append(f"{JOURNAL_NAME} belongs to another run and was left out.")
        return
    if scanned.damaged:
        found.notes.append(f"{JOURNAL_NAME} is damaged; its whole records were kept.")
    # Records that are in the file already come again, in their order, so that the last one wins.
    for frame in scanned.frames:
        try:
            record = decode_frame(frame, layout, JOURNAL_NAME)
            if isinstance(record, StatusRecord):
                found.status, found.message = record.status, record.message
            else:
                found.table.upsert(record.rows, record.curves, record.pruned)
        except (RunFileError, ValueError) as error:
            found.notes.append(printable(str(error)))
