"""Finding again what an earlier writer of a run acknowledged. The caller holds the lock."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import RunFileError
from engine.store.disk import remove, replace_file, temporary_name
from engine.store.image import build_image
from engine.store.journal import Journal, read_journal
from engine.store.layout import HDF5_NAME, JOURNAL_NAME, LIVE_NAME
from engine.store.published import open_published
from engine.store.records import replay
from engine.store.summary import RunState
from engine.store.table import RunTable
from engine.store.text import printable


@dataclass
class Recovered:
    """A run as it was acknowledged. `state.sequence` is the last frame that is in run.h5."""

    table: RunTable
    journal: Journal
    state: RunState
    n_published: int
    notes: list[str] = field(default_factory=list)


def recover(folder: Path) -> Recovered:
    """Read run.h5 and the journal, and make the journal ready to be appended to.

    An unfinished record at the end of the journal is cut off. Where the journal is damaged before
    whole records, those go into a new run.h5 first, and then a new journal begins.

    Raises:
        RunFileError: run.h5 is damaged, or the journal belongs to another run.
        OSError: the journal could not be written.
    """
    for name in (HDF5_NAME, JOURNAL_NAME):  # left by a writer that was killed
        remove(temporary_name(folder / name))
    for left in folder.glob(f"{LIVE_NAME}.*.tmp"):
        remove(left)
    with open_published(folder / HDF5_NAME) as published:
        table = RunTable(published.layout, len(published.rows) + 256)
        table.upsert(published.rows, published.curves(), published.all_pruned())
        config, header = published.config, published.header
    base = sequence = int(header["sequence"])
    status, message = str(header["status"]), str(header["message"])
    path = folder / JOURNAL_NAME
    what = printable(str(path))
    notes: list[str] = []
    journal_header, found = read_journal(path) or (None, None)
    if journal_header is not None:
        if not journal_header.continues(table.layout):
            raise RunFileError(f"{what} belongs to another run; move it away.")
        if journal_header.base_sequence > base:
            notes.append(f"{HDF5_NAME} is older than its journal; what is missing is redone")
            sequence = journal_header.base_sequence
    if found is not None:
        sequence, record = replay(found.frames, table, sequence, what)
        if record is not None:
            status, message = record.status, record.message
    n_published = len(table) if sequence == base else int(header["n_rows"])
    if journal_header is not None and found is not None and not found.salvaged:
        surplus = path.stat().st_size - found.good_end
        if surplus:
            notes.append(f"cut {surplus} bytes of an unfinished record off the journal")
        journal = Journal.resume(path, found.good_end, sequence + 1)
    else:
        if sequence > base:
            notes.append("the journal was damaged; its whole records were kept")
            state = RunState(config, status, message, sequence, header["summary"])
            replace_file(folder / HDF5_NAME, build_image(table, state, compress=False))
            base, n_published = sequence, len(table)
        journal = Journal.start(path, table.layout, base)
    state = RunState(config, status, message, base, header["summary"])
    return Recovered(table, journal, state, n_published, notes)
