"""Whether the app can be shown where a command was typed."""

from __future__ import annotations

import os
import sys


def hindrance() -> str:
    """Returns why the app cannot be shown here, as a sentence; nothing where it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "The app needs a terminal; without one use a command, see --help."
    if os.environ.get("TERM") == "dumb":
        return (
            "The app needs a terminal that can draw, and TERM is dumb; use a command, see --help."
        )
    return ""
