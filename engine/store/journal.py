"""The append-only journal: frames that are whole or are not there. What frames mean stays out.

File: a header, then frames. Each frame: a header (magic, kind, length, row count, sequence,
finished rows, CRC-32 of the payload, CRC-32 of this header), then the payload. Little endian.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from engine.errors import RunFileError
from engine.store.disk import (
    begin_replacing,
    fsync_folder,
    open_regular,
    read_range,
    temporary_name,
    write_at,
)
from engine.store.layout import RunLayout
from engine.store.text import printable

FILE_MAGIC = b"PRUNJRNL"
FILE_VERSION = 1
FRAME_MAGIC = b"PJF1"
MAX_PAYLOAD_BYTES = 1 << 28
MAX_JOURNAL_BYTES = 1 << 30

# magic, version, bytes of a row, epochs, CRC-32 of the run id, token, base sequence; then CRC-32
_FILE_FIELDS = struct.Struct("<8sIIIIQQ")
_FRAME_FIELDS = struct.Struct("<4sB3xIIQQI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FILE_FIELDS.size + _CRC.size
FRAME_HEADER_BYTES = _FRAME_FIELDS.size + _CRC.size
# How often a damaged stretch may look like a frame before the search for whole ones ends; without
# a limit a hostile file could make each of a million fake headers cost a checksum of the rest.
_MAX_FALSE_STARTS = 64


class FrameKind(IntEnum):
    """What a frame's payload is."""

    ROWS = 1
    STATUS = 2


@dataclass(frozen=True)
class JournalHeader:
    """What the journal continues."""

    row_bytes: int
    epochs: int
    run_tag: int
    token: int
    base_sequence: int

    @classmethod
    def new(cls, layout: RunLayout, base_sequence: int) -> JournalHeader:
        """Return the header of a fresh journal for what follows frame `base_sequence`."""
        token = int.from_bytes(os.urandom(8), "little")
        return cls(layout.dtype.itemsize, layout.epochs, run_tag(layout), token, base_sequence)

    def encode(self) -> bytes:
        """Return the header's bytes."""
        fields = _FILE_FIELDS.pack(
            FILE_MAGIC,
            FILE_VERSION,
            self.row_bytes,
            self.epochs,
            self.run_tag,
            self.token,
            self.base_sequence,
        )
        return fields + _CRC.pack(zlib.crc32(fields))

    def continues(self, layout: RunLayout) -> bool:
        """Tell whether the frames hold rows of this run."""
        return (self.row_bytes, self.epochs, self.run_tag) == (
            layout.dtype.itemsize,
            layout.epochs,
            run_tag(layout),
        )


@dataclass(frozen=True)
class Frame:
    """One acknowledged record."""

    sequence: int
    kind: int
    n_rows: int
    n_finished: int
    payload: bytes
    end: int


@dataclass
class Scan:
    """The whole frames of a stretch of journal.

    `good_end` is where the first frame that is not whole begins. `damaged` says that what stands
    there is more than a frame that was being written when its writer died.
    """

    frames: list[Frame] = field(default_factory=list)
    good_end: int = 0
    damaged: bool = False
    salvaged: int = 0


def run_tag(layout: RunLayout) -> int:
    """Return the number by which a journal recognises its run."""
    return zlib.crc32("\0".join((layout.run_id, *layout.score_names)).encode())


def decode_header(data: bytes) -> JournalHeader | None:
    """Return the header, or None where it is damaged.

    Raises:
        RunFileError: the journal was written by a newer version.
    """
    if len(data) < HEADER_BYTES:
        return None
    fields, crc = data[: _FILE_FIELDS.size], _CRC.unpack_from(data, _FILE_FIELDS.size)[0]
    if zlib.crc32(fields) != crc or not fields.startswith(FILE_MAGIC):
        return None
    _, version, row_bytes, epochs, tag, token, base = _FILE_FIELDS.unpack(fields)
    if version != FILE_VERSION:
        raise RunFileError(
            f"the journal has version {version} and this program reads version {FILE_VERSION}; "
            "update the program."
        )
    return JournalHeader(row_bytes, epochs, tag, token, base)


def encode_frame(
    kind: FrameKind, payload: bytes, *, sequence: int, n_rows: int = 0, n_finished: int = 0
) -> bytes:
    """Return one frame; `n_finished` counts the finished rows of the run after it."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a journal frame holds at most {MAX_PAYLOAD_BYTES} bytes")
    fields = _FRAME_FIELDS.pack(
        FRAME_MAGIC, kind, len(payload), n_rows, sequence, n_finished, zlib.crc32(payload)
    )
    return b"".join((fields, _CRC.pack(zlib.crc32(fields)), payload))


def _frame_at(data: bytes, start: int) -> Frame | None:
    fields = data[start : start + _FRAME_FIELDS.size]
    if len(data) - start < FRAME_HEADER_BYTES or not fields.startswith(FRAME_MAGIC):
        return None
    if zlib.crc32(fields) != _CRC.unpack_from(data, start + _FRAME_FIELDS.size)[0]:
        return None
    _, kind, length, n_rows, sequence, n_finished, crc = _FRAME_FIELDS.unpack(fields)
    end = start + FRAME_HEADER_BYTES + length
    if length > MAX_PAYLOAD_BYTES or end > len(data):
        return None
    payload = data[start + FRAME_HEADER_BYTES : end]
    if zlib.crc32(payload) != crc:
        return None
    return Frame(sequence, kind, n_rows, n_finished, payload, end)


def scan(data: bytes, start: int = 0) -> Scan:
    """Return every whole frame of `data` from `start` on, also those behind a damaged one.

    Sequence numbers only rise, so a frame that does not continue them is passed over.
    """
    found = Scan(good_end=start)
    last = -1
    position, intact = start, True
    while (frame := _frame_at(data, position)) is not None:
        if frame.sequence > last:
            found.frames.append(frame)
            last = frame.sequence
        position = found.good_end = frame.end
    false_starts = 0
    while position < len(data) and false_starts < _MAX_FALSE_STARTS:
        frame = None if intact else _frame_at(data, position)
        if frame is not None and frame.sequence > last:
            found.frames.append(frame)
            found.salvaged += 1
            last = frame.sequence
            position = frame.end
            continue
        false_starts += not intact
        intact = False
        position = data.find(FRAME_MAGIC, position + 1)
        if position < 0:
            break
    found.damaged = found.salvaged > 0 or _is_damage(data, found.good_end)
    return found


def _is_damage(data: bytes, start: int) -> bool:
    """Tell a damaged frame from the first part of one whose writer died or is still writing."""
    rest = data[start : start + FRAME_HEADER_BYTES]
    if len(rest) < FRAME_HEADER_BYTES:
        return rest[:4] != FRAME_MAGIC[: len(rest[:4])]
    if zlib.crc32(rest[: _FRAME_FIELDS.size]) != _CRC.unpack_from(rest, _FRAME_FIELDS.size)[0]:
        return True
    length = _FRAME_FIELDS.unpack_from(rest)[2]
    return start + FRAME_HEADER_BYTES + int(length) <= len(data)


class Journal:
    """The journal as its one writer holds it."""

    def __init__(self, path: Path, fd: int, end: int, next_sequence: int) -> None:
        self.path = path
        self.next_sequence = next_sequence
        self._fd = fd
        self._end = end
        self._name_is_durable = False

    @classmethod
    def start(cls, path: Path, layout: RunLayout, base_sequence: int) -> Journal:
        """Put a new, empty journal at `path`; one that stood there stands until then.

        The name reaches the disk before the first frame is acknowledged, not here: once it has
        changed, nothing may fail any more, or a writer would go on with the old, nameless file.

        Raises:
            OSError: it could not be written; the old journal stands.
        """
        fd = begin_replacing(path, JournalHeader.new(layout, base_sequence).encode())
        try:
            os.replace(temporary_name(path), path)
        except OSError:
            os.close(fd)
            raise
        return cls(path, fd, HEADER_BYTES, base_sequence + 1)

    @classmethod
    def resume(cls, path: Path, end: int, next_sequence: int) -> Journal:
        """Go on behind the last whole frame, cutting away what stands after it.

        Raises:
            OSError: it could not be cut.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        journal = cls(path, fd, end, next_sequence)
        try:
            if os.fstat(fd).st_size > end:
                os.ftruncate(fd, end)
                os.fsync(fd)
        except OSError:
            journal.close()
            raise
        return journal

    @property
    def n_bytes(self) -> int:
        """Length of the journal up to the last acknowledged frame."""
        return self._end

    def append(
        self, kind: FrameKind, payload: bytes, *, n_rows: int = 0, n_finished: int = 0
    ) -> int:
        """Write one frame and bring it to the disk; on return it is acknowledged.

        Returns:
            The frame's sequence number.

        Raises:
            OSError: it could not be written; the journal ends at its last good frame again.
        """
        frame = encode_frame(
            kind, payload, sequence=self.next_sequence, n_rows=n_rows, n_finished=n_finished
        )
        if not self._name_is_durable:
            fsync_folder(self.path.parent)
            self._name_is_durable = True
        try:
            if os.fstat(self._fd).st_size != self._end:  # an earlier cut-back failed
                os.ftruncate(self._fd, self._end)
            write_at(self._fd, frame, self._end)
            os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):  # tried again before the next frame
                os.ftruncate(self._fd, self._end)
            raise
        self._end += len(frame)
        self.next_sequence += 1
        return self.next_sequence - 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def read_journal(path: Path) -> tuple[JournalHeader | None, Scan] | None:
    """Read a whole journal; None where there is none, and no header where that is damaged.

    Raises:
        RunFileError: it is not a regular file, is too large, or is of a newer version.
    """
    try:
        fd = open_regular(path)
    except FileNotFoundError:
        return None
    try:
        return read_open_journal(fd, printable(str(path)))
    finally:
        os.close(fd)


def read_open_journal(fd: int, what: str) -> tuple[JournalHeader | None, Scan]:
    """Read a whole journal that is already open; see `read_journal`."""
    if os.fstat(fd).st_size > MAX_JOURNAL_BYTES:
        raise RunFileError(f"{what} is larger than a journal can be.")
    data = read_range(fd, 0, MAX_JOURNAL_BYTES)
    header = decode_header(data)
    found = scan(data, HEADER_BYTES)
    if header is None and data:
        found.damaged = True
    return header, found
