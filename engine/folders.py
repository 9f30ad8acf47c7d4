"""Where things live: runs, caches, and the files that ship with the package."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from engine.errors import UsageError

_APP = "oracle-tui"


def runs_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Returns the folder of runs: the one given, $ORACLE_TUI_RUNS, or the user's data folder."""
    chosen = given or os.environ.get("ORACLE_TUI_RUNS")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path(_APP) / "runs"


def cache_folder() -> Path:
    """Returns the folder of what can be made again: $ORACLE_TUI_CACHE or the user's cache."""
    chosen = os.environ.get("ORACLE_TUI_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path(_APP)


def shipped_folder() -> Path:
    """Returns the folder of shipped data: beside the packages in a checkout, inside one in a wheel.

    Raises:
        UsageError: The installation lacks it.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "_data", package.parent / "data"):
        if (folder / "published.csv").is_file():
            return folder
    raise UsageError("The data files of oracle-tui are missing; install the package again.")


def ensure_private(folder: Path) -> Path:
    """Makes a folder only its owner can enter, where it is not there yet, and returns it.

    Raises:
        UsageError: The folder cannot be made or written.
    """
    try:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        for parent in reversed(missing):
            parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; name another one.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"The folder {folder} cannot be written; name another with --runs-dir.")
    return folder
