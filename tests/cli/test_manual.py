"""The manual: every flag is explained, every example parses, and all of it fits 80 columns."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from oracle_tui.cli import studies
from oracle_tui.cli.main import oracle_tui as root
from oracle_tui.cli.main import run_command_line


def _commands(
    command: click.Command = root, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _commands(inner, (*path, name))


ROOT = Path(__file__).parents[2]
COMMANDS = dict(_commands())
EXAMPLES = [
    pytest.param(path, line, id=line)
    for path, command in COMMANDS.items()
    for line, _ in command.examples
]


def _arguments(line: str) -> list[str]:
    """What a shell would hand to the program."""
    (command,) = re.findall(r"oracle-tui[^|>)]*", line)[:1]
    return shlex.split(command)[1:]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "oracle-tui")
def test_every_command_flag_and_argument_says_what_it_is(path):
    command = COMMANDS[path]
    assert command.help
    assert command.examples, "a manual page has an example"
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert re.match(r"[A-Z0-9-]", parameter.help), parameter.help
        assert parameter.help.endswith((".", "]")), parameter.help
    short = command.get_short_help_str(200)
    assert short.endswith("." if path else "?")
    assert not path or len(short) <= 72, short


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "oracle-tui")
def test_every_page_fits_80_columns(path, oracle_tui, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    page = oracle_tui(*path, "--help")
    assert page.code == 0
    assert max(map(len, page.out.splitlines())) <= 80
    assert oracle_tui("help", *path).out == page.out


@pytest.mark.parametrize(("path", "line"), EXAMPLES)
def test_every_example_parses(path, line, monkeypatch, capsys):
    # The parsing is real; only what the command would then do is left out.
    invoked = []
    monkeypatch.setattr(
        click.Context, "invoke", lambda context, *_, **__: invoked.append(context.command)
    )
    assert run_command_line(_arguments(line)) == 0, capsys.readouterr().err
    assert COMMANDS[path] in invoked or path in ((), ("queue",))


@pytest.mark.parametrize("line", [line for line, _ in COMMANDS[("run",)].examples])
def test_every_example_of_run_is_a_study(line, oracle_tui, monkeypatch):
    orders = []
    monkeypatch.setattr(studies, "_run", lambda order, **_: orders.append(order) or 0)
    arguments = [word for word in _arguments(line) if word != "--dry-run"]
    assert oracle_tui(*arguments).code == 0
    assert orders[0].studies


def test_the_first_page_names_every_variable_that_is_read(oracle_tui):
    told = set(re.findall(r"ORACLE_TUI_[A-Z_]+", oracle_tui("help").out))
    sources = [path for room in ("engine", "oracle_tui") for path in (ROOT / room).rglob("*.py")]
    read = {
        name
        for path in sources
        for name in re.findall(r"\"(ORACLE_TUI_[A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    assert read == told


def test_help_of_a_command_that_is_none_names_the_nearest(oracle_tui):
    answer = oracle_tui("help", "queue", "mvoe")
    assert answer.code == 2
    assert answer.err == "oracle-tui queue has no command 'mvoe'; did you mean move?\n"
