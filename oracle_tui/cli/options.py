"""Options that several commands share, and what the group hands down to its commands."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from engine.folders import runs_folder
from oracle_tui.cli import completing
from oracle_tui.cli.manual import option
from oracle_tui.config import load_config

Command = TypeVar("Command", bound=Callable[..., Any])

_A_RUN = (
    "An id of `oracle-tui runs` or its beginning, where only one begins so; or the path of a run's "
    "folder or .h5 file."
)


def runs_dir_option(command: Command) -> Command:
    """Adds `--runs-dir`, which may stand before or after the subcommand's name."""
    return option(
        "--runs-dir",
        metavar="DIR",
        expose_value=False,
        callback=_remember,
        shell_complete=completing.folders,
        help="The folder of runs; it may also stand before the command.  [default: "
        "$ORACLE_TUI_RUNS, else runs_dir of the configuration file, else "
        "~/.local/share/oracle-tui/runs]",
    )(command)


def json_option(command: Command) -> Command:
    """Adds `--json`."""
    return option("--json", "as_json", is_flag=True, help="Print JSON on stdout instead of text.")(
        command
    )


def run_argument(command: Command) -> Command:
    """Adds the argument RUN."""
    return click.argument("run", shell_complete=completing.runs, help=_A_RUN)(command)


def runs_argument(
    about: str = "", *, metavar: str = "RUN [RUN]..."
) -> Callable[[Command], Command]:
    """Adds the arguments RUN..., of which there is at least one; `about` says more of them."""
    return click.argument(
        "runs",
        nargs=-1,
        required=True,
        metavar=metavar,
        shell_complete=completing.runs,
        help=f"{_A_RUN} {about}".rstrip(),
    )


def chosen_runs_folder() -> Path:
    """Returns the folder of runs: the flag's, the environment's, the config file's or the default.

    What else the config file holds is the app's; it tells what is wrong there.
    """
    given = _given()
    return runs_folder(load_config(runs_dir=Path(given).expanduser() if given else None).runs_dir)


def resume_hint(run: Path) -> str:
    """Returns the command that goes on with a run."""
    given = _given()
    folder = f" --runs-dir {shlex.quote(given)}" if given else ""
    return f"oracle-tui resume {shlex.quote(run.name)}{folder}"


def _given() -> str | None:
    given: str | None = click.get_current_context().find_root().meta.get("runs_dir")
    return given


def _remember(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_root().meta["runs_dir"] = value
