"""Every page: its links lead somewhere, its code compiles, its commands are ones that exist."""

from __future__ import annotations

import ast
import importlib.util
import json
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import pytest
from textual.theme import BUILTIN_THEMES

from engine.catalog import DATASETS, MODELS
from engine.errors import UsageError
from engine.orders import AXES, read_order
from engine.sweep import read_sweep
from oracle_tui.app import binding_ids
from oracle_tui.cli.main import oracle_tui
from oracle_tui.config import load_config
from tests.documentation.pages import DOCS, PAGES, ROOT, anchors, blocks, commands, links, name_of

Parse = Callable[[list[str]], dict[str, dict[str, Any]]]

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)

anchors_of = cache(anchors)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Parses a command line as the program does, and runs nothing; returns what it understood."""
    understood: dict[str, dict[str, Any]] = {}

    def understand(context: click.Context, *_: object, **params: Any) -> None:
        understood[str(context.info_name)] = params

    monkeypatch.setattr(click.Context, "invoke", understand)

    def parse(arguments: list[str]) -> dict[str, dict[str, Any]]:
        understood.clear()
        words = [word for word in arguments if word != "..."]
        oracle_tui.main(words, prog_name="oracle-tui", standalone_mode=False)
        return dict(understood)

    return parse


@every_page
def test_links_and_pictures_are_there(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        if anchor:
            assert anchor in anchors_of(target), f"{link}: no such heading"


@every_page
def test_blocks_of_code_are_whole(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            ast.parse(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)


@every_page
def test_commands_exist_with_their_options(page: Path, parsed: Parse) -> None:
    for arguments in commands(page):
        try:
            parsed(arguments)
        except click.MissingParameter:  # prose that names a command: "see `oracle-tui sweep`"
            pass
        except click.ClickException as error:
            pytest.fail(f"oracle-tui {' '.join(arguments)}: {error.format_message()}")


@every_page
def test_studies_are_ones_that_can_be_made(page: Path, parsed: Parse) -> None:
    """As far as they need no file and no library: of the catalog's models and data sets."""
    for arguments in commands(page):
        if arguments[:1] != ["run"]:
            continue
        given = parsed(arguments)["run"]
        unknown = given["model"] not in (None, *MODELS) or given["dataset"] not in (None, *DATASETS)
        if unknown or given["criterion"] or given["weights"] or "$" in str(given["shard"]):
            continue
        entries = {name: given[name] for name in AXES if given.get(name)}
        entries = {name: [str(value)] for name, value in entries.items() if value is not True}
        try:
            read_order(entries, shard=given["shard"])
        except UsageError as error:
            pytest.fail(f"oracle-tui {' '.join(arguments)}: {error}")


@every_page
def test_sweeps_are_ones_that_can_be_made(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml" and {"preset", "model"} & set(tomllib.loads(block.text)):
            assert read_sweep(block.text).studies


def test_the_example_of_settings_is_understood(tmp_path: Path) -> None:
    (text,) = (
        block.text
        for block in blocks(DOCS / "reference" / "settings.md")
        if block.language == "toml"
    )
    file = tmp_path / "config.toml"
    file.write_text(text)
    config = load_config({"ORACLE_TUI_CONFIG": str(file)})
    assert config.problems == ()
    assert set(config.keys) <= binding_ids()
    assert config.theme in BUILTIN_THEMES


@every_page
def test_modules_that_are_run_exist(page: Path) -> None:
    for name, *_ in commands(page, "python -m"):
        module = name.rstrip("….")
        assert importlib.util.find_spec(module) is not None, f"python -m {name}"


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in DOCS.rglob("*.md") if page != index} <= linked


def test_commands_are_found() -> None:
    """So that the checks above cannot pass by finding nothing."""
    found = [arguments for page in PAGES for arguments in commands(page)]
    named = {arguments[0] for arguments in found if arguments}
    assert {"run", "show", "compare", "export", "queue", "sweep", "import", "doctor"} <= named
    assert len(found) > 100
