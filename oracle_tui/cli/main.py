"""The command line as a whole: its commands, and how their errors become exit codes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from engine import __version__
from engine.errors import OracleError, RunFailure, UsageError
from oracle_tui.cli.checking import check
from oracle_tui.cli.choices import datasets, models, presets
from oracle_tui.cli.comparing import compare
from oracle_tui.cli.completion import completion
from oracle_tui.cli.doctor import doctor
from oracle_tui.cli.drawing import figure, report
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.front_page import EXAMPLES, HEADINGS, PARTS, help_
from oracle_tui.cli.importing import import_
from oracle_tui.cli.leaderboards import leaderboard
from oracle_tui.cli.manual import ManualGroup, option
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import chosen_runs_folder, runs_dir_option
from oracle_tui.cli.queueing import merge, queue, sweep
from oracle_tui.cli.requests import pause, resume, stop
from oracle_tui.cli.results import export, runs, show
from oracle_tui.cli.scores import scores
from oracle_tui.cli.screen import hindrance
from oracle_tui.cli.studies import demo, run


@click.group(
    cls=ManualGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    headings=HEADINGS,
    examples=EXAMPLES,
    parts=PARTS,
)
@runs_dir_option
@option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
@option("--serve", is_flag=True, help="Show the app in a browser, on localhost only.")
@option(
    "--port",
    metavar="N",
    type=click.IntRange(1, 65_535),
    default=8000,
    show_default=True,
    help="The port that --serve listens on, 1 to 65,535.",
)
@click.version_option(__version__, prog_name="oracle-tui")
@click.pass_context
def oracle_tui(context: click.Context, no_mouse: bool, serve: bool, port: int) -> int:
    """Does the loss of a pruned network predict how good it becomes after retraining?

    Without a command this opens the app, where ? shows every key. Every action of the app is a
    command too. Data goes to stdout, messages to stderr.
    """
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    if serve:
        from oracle_tui.serving import serve as serve_app

        serve_app(chosen_runs_folder(), port)
        return ExitCode.OK
    served = "TEXTUAL_DRIVER" in os.environ  # textual-serve runs the app without a terminal
    if not served and (why := hindrance()):
        raise UsageError(why)
    from oracle_tui.app import run_app

    return run_app(chosen_runs_folder(), mouse=not no_mouse)


for _command in (
    demo, run, sweep, queue, runs, show, compare, leaderboard, figure, report, export, merge,
    import_, pause, resume, stop, check, doctor, models, datasets, presets, scores,
    completion, help_,
):  # fmt: skip
    oracle_tui.add_command(_command)


def run_command_line(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; errors become one sentence on stderr."""
    try:
        result = oracle_tui.main(list(arguments), prog_name="oracle-tui", standalone_mode=False)
    except RunFailure as error:
        say(str(error))
        return ExitCode.FAILED
    except OracleError as error:
        say(str(error))
        return ExitCode.USAGE
    except click.ClickException as error:
        say(error.format_message())
        return ExitCode.USAGE
    except click.Abort:
        return ExitCode.INTERRUPTED
    return result if isinstance(result, int) else ExitCode.OK
