"""Lines of a text file from a stranger: bounded, decoded strictly, and numbered for errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RunFileError, UsageError
from engine.store.disk import open_regular, reason
from engine.store.text import printable

MAX_FILE_BYTES = 1 << 30
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its place, for sentences about it."""

    text: str
    number: int
    file: str

    @property
    def place(self) -> str:
        """Where it stands: `line 7 of a.csv`."""
        return f"line {self.number} of {self.file}"


def read_lines(path: Path) -> Iterator[Line]:
    """Yields the lines of a file, without their ends.

    Raises:
        UsageError: It cannot be read, is too large, or is not UTF-8 text.
    """
    name = printable(path.name)
    try:
        descriptor = open_regular(path, follow=True)
    except FileNotFoundError:
        raise UsageError(f"{printable(str(path))} does not exist.") from None
    except RunFileError as error:
        raise UsageError(str(error)) from error
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_size > MAX_FILE_BYTES:
            raise UsageError(
                f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB; keep only the lines that "
                "matter, or import it in parts."
            )
        number, read = 0, 0
        while True:
            try:
                data = file.readline(MAX_LINE_BYTES + 1)
            except OSError as error:
                raise UsageError(f"{name} cannot be read ({reason(error)}).") from error
            if not data:
                return
            number += 1
            read += len(data)
            # A file may grow while it is read.
            if len(data) > MAX_LINE_BYTES or read > MAX_FILE_BYTES:
                raise UsageError(
                    f"Line {number} of {name} is longer than {MAX_LINE_BYTES >> 10} KiB, so the "
                    "file was not read."
                )
            try:
                text = data.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise UsageError(
                    f"Line {number} of {name} is not UTF-8 text, so the file was not read."
                ) from None
            yield Line(text.rstrip("\r\n"), number, name)
