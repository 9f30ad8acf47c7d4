"""`figure` and `report`: runs as files for people."""

from __future__ import annotations

from pathlib import Path

import click

from engine.errors import UsageError
from oracle_tui.cli.options import chosen_runs_folder, runs_dir_option
from oracle_tui.cli.output import write_file


@click.command()
@click.argument("run")
@click.option(
    "-o", "--out", required=True, metavar="FILE", help="A name ending in pdf, svg or png."
)
@click.option(
    "--outcome",
    type=click.Choice(("accuracy", "loss")),
    default="accuracy",
    show_default=True,
    help="What the pruned train loss is drawn against.",
)
@runs_dir_option
def figure(run: str, out: str, outcome: str) -> None:
    """Draw a run like the paper's panels, as PDF, SVG or PNG."""
    from engine.figures import FORMATS, OUTCOMES, draw_figure
    from oracle_tui.cli.comparing import analyse_all

    ending = Path(out).suffix.lower().removeprefix(".")
    kind = next((known for known in FORMATS if known == ending), None)
    if kind is None:
        raise UsageError(f"A figure is a file ending in .{', .'.join(FORMATS)}, not {out!r}.")
    (analysis,) = analyse_all((run,))
    chosen = next(known for known in OUTCOMES if known == outcome)
    write_file(Path(out), draw_figure(analysis, kind, chosen))


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]...")
@click.option("-o", "--output", required=True, metavar="FILE", help="The HTML file to write.")
@runs_dir_option
def report(runs: tuple[str, ...], output: str) -> None:
    """Write a report of one or several runs as one HTML file that needs nothing else."""
    from engine.report import write_report
    from engine.store.listing import find_run
    from engine.store.reader import RunReader
    from oracle_tui.cli.summaries import believed_status

    folder = chosen_runs_folder()
    paths = dict.fromkeys(find_run(folder, run) for run in runs)
    named = [(path, believed_status(path, RunReader(path).status)) for path in paths]
    write_file(Path(output), write_report(named))
