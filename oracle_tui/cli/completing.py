"""What a shell may complete a word to. Everything is asked for only while a shell asks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from engine.errors import UsageError

if TYPE_CHECKING:
    from oracle_tui.entry_texts import Item

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def runs(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The person's runs and the shipped examples, then files: a run may also be a path."""
    from oracle_tui.cli.options import chosen_runs_folder
    from oracle_tui.listing import example_folders

    names: list[str] = []
    with contextlib.suppress(UsageError), context.scope(cleanup=False):
        for folder in (chosen_runs_folder(), *example_folders()):
            names += _runs_of(folder)
    given = set(context.params.get("runs") or ())
    found = [name for name in names if name.startswith(incomplete) and name not in given]
    if found:
        return [CompletionItem(name) for name in dict.fromkeys(found)]
    return [CompletionItem(incomplete, type="file")]


def _runs_of(folder: Path) -> list[str]:
    """The names that find a run of a folder, the newest first."""
    with contextlib.suppress(OSError):
        found = [
            (entry.stat().st_mtime, entry.name if entry.is_dir() else entry.stem)
            for entry in folder.iterdir()
            if (entry / "run.h5").is_file() or entry.suffix == ".h5"
        ]
        return [name for _, name in sorted(found, reverse=True)]
    return []


def presets(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The presets that can be started."""
    from engine.presets import PRESETS

    return [
        CompletionItem(name, help=preset.title)
        for name, preset in PRESETS.items()
        if name.startswith(incomplete)
    ]


def entry(name: str) -> Complete:
    """What the app's form lists for an entry; of a list of values the last one is completed."""

    def complete(
        context: click.Context, _: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from oracle_tui.entry_texts import TEXTS, TOGETHER, items_for, model_of

        before, comma, last = "", "", incomplete
        if TEXTS[name].several == TOGETHER:
            before, comma, last = incomplete.rpartition(TOGETHER)
        model = model_of([str(context.params.get("model") or "lenet5-mini")])
        given = before.split(TOGETHER)
        return [
            CompletionItem(f"{before}{comma}{item.value}", help=item.about or None)
            for item in _apart(items_for(name, model))
            if item.value.startswith(last) and item.value not in given
        ]

    return complete


def _apart(items: Sequence[Item]) -> Iterable[Item]:
    """Those that can be picked, with one value each."""
    return (item for item in items if item.enabled and item.value and "," not in item.value)


def words(*known: str) -> Complete:
    """A few words that are known beforehand."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in known if word.startswith(incomplete)]

    return complete


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Whatever the shell itself finds."""
    return [CompletionItem(incomplete, type="file")]


def folders(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The folders that the shell itself finds."""
    return [CompletionItem(incomplete, type="dir")]
