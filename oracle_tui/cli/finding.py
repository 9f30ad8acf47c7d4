"""Finding the runs that a person names, for the commands that only read them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from engine.errors import UsageError
from oracle_tui.cli.options import chosen_runs_folder


def find_shown_run(text: str) -> Path:
    """Returns the run that is meant, among the shipped examples where the person's runs lack it.

    Raises:
        UsageError: None or several match; it speaks of the person's runs.
    """
    from engine.store.listing import find_run
    from oracle_tui.reading import example_folders

    try:
        return find_run(chosen_runs_folder(), text)
    except UsageError:
        for folder in example_folders():
            with contextlib.suppress(UsageError):
                return find_run(folder, text)
        raise


def find_shown_runs(texts: tuple[str, ...]) -> list[Path]:
    """Returns the runs that are meant, each once, in this order; raises UsageError as for one."""
    return list(dict.fromkeys(find_shown_run(text) for text in texts))
