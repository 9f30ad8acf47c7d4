"""`python -m tests.documentation.generate [--check]`: what the code itself says, in the pages.

A page holds `<!-- generated: NAME -->` and, further down, `<!-- end -->`; what is between them is
written here. Everything else in a page is written by people.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from inspect import getmembers, isclass
from pathlib import Path
from typing import Any

import click

from tests.documentation.pages import DOCS, ROOT

_PART = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WIDTH = 100

#: What the first word of a binding's id stands for; one that is not here goes by its own name.
PLACES = {
    "app": "Everywhere",
    "runs": "The list of runs",
    "run": "A run",
    "scatter": "In a scatter",
    "plot": "In any plot",
    "candidates": "In the table of candidates",
    "table": "In any table",
    "compare": "Comparing runs",
    "new": "The form of a new run",
    "field": "In an entry of the form",
    "pick": "A list to pick from",
    "choose": "A short list",
    "sweep": "The studies of a sweep",
    "queue": "The queue",
    "settings": "The settings",
    "confirm": "A question",
    "help": "The help",
}


def command_line() -> str:
    """Returns the help of every command."""
    from oracle_tui.cli.main import oracle_tui

    parts = []
    for name, context in _commands(oracle_tui, "oracle-tui", None):
        said = "\n".join(line.rstrip() for line in context.get_help().splitlines())
        parts.append(f"## {name}\n\n```text\n{said}\n```\n")
    return "\n".join(parts)


def _commands(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, click.Context]]:
    settings = {**command.context_settings, "terminal_width": _WIDTH, "color": False}
    context = command.context_class(command, info_name=name, parent=parent, **settings)
    yield context.command_path, context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            if found is not None and not found.hidden:
                yield from _commands(found, each, context)


def settings() -> str:
    """Returns the keys of the configuration file."""
    from oracle_tui.config import KNOWN_KEYS, Config

    kinds = {str: "text", bool: "true or false", dict: "a table"}
    told = dict(re.findall(r"^ {8}(\w+): (.*)$", Config.__doc__ or "", re.MULTILINE))
    lines = ["| key | is | what |", "|---|---|---|"]
    lines += [
        f"| `{key}` | {kinds[kind]} | {told[key].rstrip('.')} |" for key, kind in KNOWN_KEYS.items()
    ]
    return "\n".join(lines) + "\n"


def keys() -> str:
    """Returns every key binding of the app, by where it counts."""
    groups: dict[str, dict[str, tuple[str, str]]] = {place: {} for place in PLACES}
    for binding in bindings():
        place = str(binding.id).partition(".")[0]
        shown = " ".join(f"`{_shown(key)}`" for key in binding.key.split(","))
        groups.setdefault(place, {})[str(binding.id)] = (shown, binding.tooltip)
    parts = []
    for place, rows in groups.items():
        if not rows:
            continue
        lines = [f"## {PLACES.get(place, place.capitalize())}", "", "| keys | what | id |"]
        lines += ["|---|---|---|"]
        lines += [f"| {shown} | {what} | `{name}` |" for name, (shown, what) in rows.items()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def bindings() -> Iterator[Any]:
    """Yields the bindings with an id of all classes of the app, in the order they are written."""
    from textual.binding import Binding

    import oracle_tui

    seen = set()
    for found in pkgutil.walk_packages(oracle_tui.__path__, "oracle_tui."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for _, kind in getmembers(module, isclass):
            if kind.__module__ != found.name:
                continue
            for binding in vars(kind).get("BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id and binding.id not in seen:
                    seen.add(binding.id)
                    yield binding


def _shown(key: str) -> str:
    from textual.keys import format_key

    return "enter" if key == "enter" else format_key(key)


PARTS: dict[str, Callable[[], str]] = {
    "command-line": command_line,
    "settings": settings,
    "keys": keys,
}


def stale_pages() -> dict[Path, str]:
    """Returns the pages that do not say what the code says, with the text they should have."""
    stale = {}
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        fresh = _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n{part[3]}", text)
        if fresh != text:
            stale[page] = fresh
    return stale


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pages that are stale, or with --check names them and returns 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.documentation.generate", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="Write nothing; 1 if one is stale.")
    check = parser.parse_args(arguments).check
    stale = stale_pages()
    for page, text in stale.items():
        if not check:
            page.write_text(text, encoding="utf-8")
        print(page.relative_to(ROOT), "is stale" if check else "written")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
