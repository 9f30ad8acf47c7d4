"""The seal behind the HDF5 part of a run file: its summary again, and a checksum of every bit.

HDF5 ends where its own header says and ignores what follows, so any HDF5 program opens a sealed
file. The seal lets this store refuse a damaged file before the HDF5 library sees it, and list a
run without that library. Layout, little endian: summary JSON, then the fixed footer.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass

from engine.errors import RunFileError
from engine.store.disk import checksum, read_range
from engine.store.layout import MAX_FILE_BYTES, MAX_SUMMARY_BYTES

MAGIC = b"PRUNSEAL"
# magic, length and CRC-32 of the summary, length and CRC-32 of the HDF5 part; then their CRC-32
_FIELDS = struct.Struct("<8sIIQI")
_CRC = struct.Struct("<I")
FOOTER_BYTES = _FIELDS.size + _CRC.size
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Seal:
    """What the footer of a run file says."""

    summary: bytes
    body_bytes: int
    body_crc: int


def sealed(body: bytes, summary: bytes) -> bytes:
    """Return the HDF5 file `body` with its seal."""
    fields = _FIELDS.pack(MAGIC, len(summary), zlib.crc32(summary), len(body), zlib.crc32(body))
    return b"".join((body, summary, fields, _CRC.pack(zlib.crc32(fields))))


def read_seal(fd: int, what: str) -> Seal:
    """Read the seal of an open file, not yet comparing it with the HDF5 part.

    Raises:
        RunFileError: the file has no whole seal.
    """
    size = os.fstat(fd).st_size
    if size > MAX_FILE_BYTES:
        raise RunFileError(f"{what} is larger than a run file can be ({size} bytes).")
    if read_range(fd, 0, len(HDF5_MAGIC)) != HDF5_MAGIC:
        raise RunFileError(f"{what} is not an HDF5 file, so it cannot be a run.")
    footer = read_range(fd, max(0, size - FOOTER_BYTES), FOOTER_BYTES)
    if len(footer) < FOOTER_BYTES or not footer.startswith(MAGIC):
        raise RunFileError(
            f"{what} does not end with the seal of a run file: it was cut short, changed by "
            "another program, or is no run."
        )
    (crc,) = _CRC.unpack_from(footer, _FIELDS.size)
    if crc != zlib.crc32(footer[: _FIELDS.size]):
        raise damaged(what)
    _, summary_bytes, summary_crc, body_bytes, body_crc = _FIELDS.unpack_from(footer)
    if summary_bytes > MAX_SUMMARY_BYTES or body_bytes + summary_bytes + FOOTER_BYTES != size:
        raise damaged(what)
    summary = read_range(fd, body_bytes, summary_bytes)
    if zlib.crc32(summary) != summary_crc:
        raise damaged(what)
    return Seal(summary, body_bytes, body_crc)


def verify_seal(fd: int, what: str) -> Seal:
    """Read the seal and compare it with every byte of the HDF5 part.

    Raises:
        RunFileError: the file has no whole seal or was changed after it was sealed.
    """
    seal = read_seal(fd, what)
    if checksum(fd, seal.body_bytes) != seal.body_crc:
        raise damaged(what)
    return seal


def damaged(what: str) -> RunFileError:
    """Return the error for a file whose bytes are not those that were written."""
    return RunFileError(
        f"{what} is damaged: its checksum does not match; take it from a backup or run it again."
    )
