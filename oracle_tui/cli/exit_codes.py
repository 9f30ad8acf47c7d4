"""What a command's exit code means; scripts rely on it."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1  # the run began and could not go on
    USAGE = 2  # what was asked for cannot be done
    INTERRUPTED = 130  # stopped by a person: Ctrl-C, or a stop request from elsewhere
