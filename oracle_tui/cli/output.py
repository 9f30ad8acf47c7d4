"""What goes to stdout, JSON and tables, and to files that a person names."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from engine.errors import UsageError
from engine.store.text import printable


def put(data: str | bytes, *, newline: bool = True) -> None:
    """Writes to stdout at once.

    Raises:
        UsageError: It cannot be written, as on a full disk. A reader that has left is no mistake.
    """
    try:
        click.echo(data, nl=newline)
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would try once more to write what is left when it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise UsageError(f"The output cannot be written: {error.strerror}.") from error


def print_json(value: Any) -> None:
    """Prints one JSON value; what is not a number (NaN, infinities) becomes null."""
    put(json.dumps(finite(value), indent=2, allow_nan=False))


def print_line(text: str) -> None:
    """Prints one line, with what could steer a terminal escaped."""
    put(printable(text))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints left-aligned columns, two spaces apart."""
    table = [header, *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        put("  ".join(cells).rstrip())


def finite(value: Any) -> Any:
    """Returns a JSON value with every non-finite number in it replaced by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_file(target: Path, data: bytes) -> None:
    """Writes the whole file or leaves what stood there; a pipe or device is written into.

    Raises:
        UsageError: It cannot be written.
    """
    from engine.store.disk import hand_over

    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            hand_over(target, data)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from error
