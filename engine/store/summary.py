"""The summary JSON of a run file: what a listing needs, in one place. No HDF5 may enter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import RunFileError
from engine.store.documents import dump_document, parse_document
from engine.store.layout import (
    MAX_MESSAGE_CHARACTERS,
    MAX_ROWS,
    MAX_SUMMARY_BYTES,
    RUN_STATUSES,
    SCHEMA,
    SCHEMA_VERSION,
    RunLayout,
)


@dataclass(frozen=True)
class RunState:
    """Everything a published file holds beside its rows."""

    config: dict[str, Any]
    status: str
    message: str
    sequence: int  # the last journal frame that is in the file
    summary: dict[str, Any]


def summary_document(state: RunState, layout: RunLayout, n_rows: int, n_finished: int) -> bytes:
    """Return the JSON that a listing reads; it stands in the root attribute and in the seal.

    Raises:
        ValueError: the run's own summary is too long.
    """
    document = dump_document(
        {
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "run_id": layout.run_id,
            "status": state.status,
            "message": state.message,
            "sequence": state.sequence,
            "n_rows": n_rows,
            "n_done": n_finished,
            "n_total": layout.n_total,
            "summary": state.summary,
        }
    )
    if len(document) > MAX_SUMMARY_BYTES:
        raise ValueError(f"the summary is longer than {MAX_SUMMARY_BYTES} bytes")
    return document


def parse_summary(data: bytes, what: str) -> dict[str, Any]:
    """Read the summary JSON of a run file and require it to be of this schema.

    Raises:
        RunFileError: it is not, or the file was written by a newer version.
    """
    document = parse_document(data, f"the summary of {what}", MAX_SUMMARY_BYTES)
    version = document.get("version")
    if document.get("schema") != SCHEMA or type(version) is not int or version < 1:
        raise RunFileError(f"{what} does not have the schema of a run.")
    if version > SCHEMA_VERSION:
        raise RunFileError(
            f"{what} was written by a newer version (schema {version}, this program reads "
            f"{SCHEMA_VERSION}); update the program to read it."
        )
    counts = [document.get(key) for key in ("n_rows", "n_done", "n_total")]
    sequence = document.get("sequence")
    message = document.get("message")
    if (
        document.get("status") not in RUN_STATUSES
        or not all(type(count) is int and 0 <= count <= MAX_ROWS for count in counts)
        or type(sequence) is not int
        or not 0 <= sequence < 1 << 63
        or not isinstance(message, str)
        or len(message) > 12 * MAX_MESSAGE_CHARACTERS
        or not isinstance(document.get("summary"), dict)
        or not isinstance(document.get("run_id"), str)
    ):
        raise RunFileError(f"{what} has a summary that this program cannot have written.")
    return document
