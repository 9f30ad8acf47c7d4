"""The only module that writes to stderr: everything there is for a person, nothing is data."""

from __future__ import annotations

import shutil
import sys

from engine.store.text import printable


def say(sentence: str) -> None:
    """Writes one line to stderr."""
    print(printable(sentence), file=sys.stderr, flush=True)


def is_terminal() -> bool:
    """Whether a person watches stderr, so that a line may be drawn over."""
    return sys.stderr.isatty()


def redraw(line: str) -> None:
    """Draws one line over the one drawn before; only where `is_terminal`."""
    width = shutil.get_terminal_size().columns - 1
    sys.stderr.write("\r" + printable(line)[:width].ljust(width))
    sys.stderr.flush()


def end_redrawing() -> None:
    """Leaves the drawn line where it is and goes to the next."""
    sys.stderr.write("\n")
    sys.stderr.flush()
