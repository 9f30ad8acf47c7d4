"""What journal frames mean: rows with curves and pruned indices, and the run's status.

Nothing here touches a file. Payload of ROWS, little endian: flags, number of candidates with
pruned indices; the rows; the curves if flagged; (candidate, count) of each; all pairs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from engine.errors import RunFileError
from engine.store.documents import dump_document, parse_document
from engine.store.journal import Frame, FrameKind
from engine.store.layout import (
    CURVE_COLUMNS,
    MAX_MESSAGE_CHARACTERS,
    PRUNED_DTYPE,
    RUN_STATUSES,
    Curves,
    Pruned,
    Rows,
    RowStatus,
    RunLayout,
)
from engine.store.table import RunTable

_HEAD = struct.Struct("<II")
_HAS_CURVES = 1
_STATUS_BYTES = 16_000


@dataclass(frozen=True)
class RowsRecord:
    """The content of a ROWS frame."""

    rows: Rows
    curves: Curves | None
    pruned: dict[int, Pruned]


@dataclass(frozen=True)
class StatusRecord:
    """The content of a STATUS frame."""

    status: str
    message: str


def encode_rows(rows: Rows, curves: Curves | None, pruned: Mapping[int, Pruned]) -> bytes:
    """Return the payload of a ROWS frame."""
    flags = 0 if curves is None else _HAS_CURVES
    parts = [_HEAD.pack(flags, len(pruned)), rows.tobytes()]
    if curves is not None:
        parts.append(np.ascontiguousarray(curves, "<f4").tobytes())
    parts.extend(_HEAD.pack(candidate, len(flat)) for candidate, flat in pruned.items())
    parts.extend(flat.tobytes() for flat in pruned.values())
    return b"".join(parts)


def decode_rows(payload: bytes, n_rows: int, layout: RunLayout) -> RowsRecord:
    """Read the payload of a ROWS frame.

    Raises:
        ValueError: its parts do not add up, or a value is out of range.
    """
    flags, n_pruned = _HEAD.unpack_from(payload)
    shape = (n_rows, layout.epochs, len(CURVE_COLUMNS))
    curve_bytes = 4 * n_rows * layout.epochs * len(CURVE_COLUMNS) if flags & _HAS_CURVES else 0
    rows_end = _HEAD.size + n_rows * layout.dtype.itemsize
    heads_start = rows_end + curve_bytes
    heads_end = heads_start + n_pruned * _HEAD.size
    if flags & ~_HAS_CURVES or heads_end > len(payload):
        raise ValueError("the parts are longer than the frame")
    heads = np.frombuffer(payload, "<u4", 2 * n_pruned, heads_start).reshape(n_pruned, 2)
    if heads_end + int(heads[:, 1].sum(dtype=np.uint64)) * PRUNED_DTYPE.itemsize != len(payload):
        raise ValueError("the parts do not fill the frame")
    rows: Rows = np.frombuffer(payload, layout.dtype, n_rows, _HEAD.size)
    check_rows(rows, layout)
    curves = None
    if curve_bytes or (flags & _HAS_CURVES):
        curves = np.frombuffer(payload, "<f4", curve_bytes // 4, rows_end).reshape(shape)
    pruned = {}
    start = heads_end
    for candidate, count in heads.tolist():
        flat: Pruned = np.frombuffer(payload, PRUNED_DTYPE, count, start)
        check_pruned(flat, layout)
        pruned[candidate] = flat
        start += count * PRUNED_DTYPE.itemsize
    return RowsRecord(rows, curves, pruned)


def check_rows(rows: Rows, layout: RunLayout) -> None:
    """Raise ValueError where a row's status or epoch count is impossible."""
    if len(rows) == 0:
        return
    status = rows["status"]
    if status.min() < min(RowStatus) or status.max() > max(RowStatus):
        raise ValueError("a row has an unknown status")
    if rows["epochs"].max() > layout.epochs:
        raise ValueError("a row has more epochs than the run")


def check_pruned(flat: Pruned, layout: RunLayout) -> None:
    """Raise ValueError where an index belongs to a layer that the run does not have."""
    if len(flat) and flat["layer"].max() >= len(layout.layers):
        raise ValueError("a pruned filter belongs to no layer of the run")


def encode_status(status: str, message: str) -> bytes:
    """Return the payload of a STATUS frame."""
    return dump_document({"status": status, "message": message[:MAX_MESSAGE_CHARACTERS]})


def decode_status(payload: bytes) -> StatusRecord:
    """Read the payload of a STATUS frame.

    Raises:
        ValueError: it names no known status.
    """
    try:
        document = parse_document(payload, "a status frame", _STATUS_BYTES)
    except RunFileError as error:
        raise ValueError(str(error)) from error
    status, message = document.get("status"), document.get("message", "")
    if status not in RUN_STATUSES or not isinstance(message, str):
        raise ValueError("the status is unknown")
    return StatusRecord(str(status), message)


def decode_frame(frame: Frame, layout: RunLayout, what: str) -> RowsRecord | StatusRecord:
    """Read what a frame holds; `what` names the journal in the error.

    Raises:
        RunFileError: the frame was not written by this store, or by a newer one.
    """
    try:
        if frame.kind == FrameKind.ROWS:
            return decode_rows(frame.payload, frame.n_rows, layout)
        if frame.kind == FrameKind.STATUS:
            return decode_status(frame.payload)
    except (ValueError, struct.error) as error:
        raise RunFileError(f"{what}: record {frame.sequence} cannot be read ({error}).") from error
    raise RunFileError(
        f"{what}: record {frame.sequence} is of a kind that this version does not know; "
        "update the program."
    )


def replay(
    frames: list[Frame], table: RunTable, after: int, what: str
) -> tuple[int, StatusRecord | None]:
    """Apply the frames that come after sequence number `after` to `table`.

    Returns:
        The last sequence number and the last status among them, if any.

    Raises:
        RunFileError: a frame was not written by this store.
    """
    status = None
    for frame in frames:
        if frame.sequence <= after:
            continue
        record = decode_frame(frame, table.layout, what)
        if isinstance(record, StatusRecord):
            status = record
        else:
            try:
                table.upsert(record.rows, record.curves, record.pruned)
            except ValueError as error:
                raise RunFileError(f"{what}: {error}.") from error
        after = frame.sequence
    return after, status
