"""`run` and `demo`: making a study and starting its engine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from engine.orders import Order, read_order
from engine.presets import QUICK
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.manual import command
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import chosen_runs_folder, json_option, resume_hint, runs_dir_option
from oracle_tui.cli.output import print_json, print_line
from oracle_tui.cli.screen import hindrance
from oracle_tui.cli.study_options import study_options


@command(
    examples=(
        ("oracle-tui run --preset quick", "All 45 candidates of a small study, in minutes."),
        (
            "oracle-tui run --model lenet5 --layers conv2 --ratio .5 --candidates 200",
            "A random sample of 200 candidates of a larger network.",
        ),
        (
            "oracle-tui run --preset quick --scores all --wiring both --detach",
            "Every score, and both wirings as two runs, in the background.",
        ),
        (
            "oracle-tui run --preset paper/conv1 --dry-run",
            "What a published study would cost on this machine.",
        ),
    ),
    parts={
        "Exit codes": (
            ("0", "The run is done, or was started with --detach."),
            ("1", "The run began and could not go on; engine.log in its folder says why."),
            ("2", "It cannot be studied as told, or --dry-run found that it does not fit."),
            ("130", "Interrupted, or stopped from elsewhere; what is finished is kept."),
        )
    },
)
@study_options
@json_option
@runs_dir_option
def run(
    preset: str | None,
    device: str,
    criterion: tuple[str, ...],
    executor: str,
    shard: str | None,
    detach: bool,
    dry_run: bool,
    tune: bool,
    as_json: bool,
    **entries: str | None,
) -> ExitCode:
    """Run a study: progress on stderr, the run's id on stdout.

    Flags that are left away follow the preset, or else the protocol of the model. A preset that
    is a set of studies runs them one after another. Ctrl-C stops the run once everything finished
    has been kept; `oracle-tui resume` goes on with it.
    """
    given = {"preset": preset, **entries, "tune": "yes" if tune else None}
    order = read_order(
        {name: [value] for name, value in given.items() if value is not None},
        device=device,
        executor=executor,
        shard=shard,
        criteria=criterion,
    )
    if dry_run:
        from oracle_tui.cli import costing

        return costing.dry_run(order.studies, order.device, as_json=as_json)
    return _run(order, detach=detach, as_json=as_json)


@command(
    examples=(
        ("oracle-tui demo", "Start a small study and watch it in the app."),
        (
            "oracle-tui --no-mouse demo --runs-dir /tmp/runs",
            "The same in a folder of its own, the mouse left to the terminal.",
        ),
        ("oracle-tui demo | cat", "Without the app: progress, then the scatter and the numbers."),
    )
)
@runs_dir_option
def demo() -> int:
    """Run the quick preset, in the app where there is a terminal.

    All 45 ways to remove 2 of 10 filters from the first layer of a LeNet5-Mini, on 5,000 digits
    that ship with the package. Nothing is downloaded.
    """
    if hindrance():
        return _run(Order((QUICK.specs,)), detach=False, as_json=False, picture=True)
    from engine.control import create_run, start_engine
    from oracle_tui.app import run_app

    folder = create_run(chosen_runs_folder(), QUICK.spec)
    start_engine(folder)
    no_mouse = click.get_current_context().find_root().params.get("no_mouse", False)
    return run_app(folder.parent, open_run=folder.name, mouse=not no_mouse)


def _run(order: Order, *, detach: bool, as_json: bool, picture: bool = False) -> ExitCode:
    from engine.control import start_engine

    folders = list(order.make(chosen_runs_folder()))
    if not as_json:
        for folder in folders:
            print_line(folder.name)
        sys.stdout.flush()
    if detach:
        start_engine(*folders)
        names = ", then on ".join(folder.name for folder in folders)
        say(f"The engine works on {names}; `oracle-tui` shows it live.")
        code = ExitCode.OK
    else:
        code = _follow_all(folders)
    if as_json:
        _print_summaries(folders)
    elif picture and code is ExitCode.OK:
        _print_picture(folders[0])
    return code


def _follow_all(folders: Sequence[Path]) -> ExitCode:
    """Works on one run after the other, for as long as each gets done."""
    from engine.control import start_engine
    from oracle_tui.cli.following import follow

    code = ExitCode.OK
    for place, folder in enumerate(folders):
        code = follow(folder, start_engine(folder))
        if code is not ExitCode.OK:
            for waiting in folders[place + 1 :]:
                say(f"{waiting.name} is queued; start it with `{resume_hint(waiting)}`.")
            break
    return code


def _print_summaries(folders: Sequence[Path]) -> None:
    """Prints the run's summary as one object, or a list of several runs'."""
    from oracle_tui.cli.summaries import run_summary

    summaries = [run_summary(folder) for folder in folders]
    print_json(summaries if len(summaries) > 1 else summaries[0])


def _print_picture(folder: Path) -> None:
    from oracle_tui.cli.picture import scatter_lines
    from oracle_tui.cli.summaries import run_summary, summary_lines

    for line in (*scatter_lines(folder), "", *summary_lines(run_summary(folder))):
        print_line(line)
