"""`figure` and `report`: runs as files for people."""

from __future__ import annotations

from pathlib import Path

import click

from engine.errors import UsageError
from oracle_tui.cli.finding import find_shown_runs
from oracle_tui.cli.options import runs_dir_option
from oracle_tui.cli.output import write_file


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]...")
@click.option(
    "-o", "--out", required=True, metavar="FILE", help="A name ending in pdf, svg or png."
)
@click.option(
    "--outcome",
    type=click.Choice(("accuracy", "loss")),
    default="accuracy",
    show_default=True,
    help="What one run's pruned train loss is drawn against.",
)
@runs_dir_option
def figure(runs: tuple[str, ...], out: str, outcome: str) -> None:
    """Draw a run like the paper's panels, or the taus of several with their intervals."""
    from engine.figures import FORMATS, OUTCOMES, draw_figure, draw_taus
    from oracle_tui.cli.comparing import analyse_all

    ending = Path(out).suffix.lower().removeprefix(".")
    kind = next((known for known in FORMATS if known == ending), None)
    if kind is None:
        raise UsageError(f"A figure is a file ending in .{', .'.join(FORMATS)}, not {out!r}.")
    chosen = next(known for known in OUTCOMES if known == outcome)
    analyses = analyse_all(runs)
    if len(analyses) == 1:
        data = draw_figure(analyses[0], kind, chosen)
    elif chosen == "accuracy":
        data = draw_taus(analyses, kind)
    else:
        raise UsageError("Taus of several runs are drawn for accuracy; leave --outcome away.")
    write_file(Path(out), data)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN [RUN]...")
@click.option("-o", "--output", required=True, metavar="FILE", help="The HTML file to write.")
@runs_dir_option
def report(runs: tuple[str, ...], output: str) -> None:
    """Write a report of one or several runs as one HTML file that needs nothing else."""
    from engine.report import write_report
    from engine.store.reader import RunReader
    from oracle_tui.cli.summaries import believed_status

    named = [
        (path, believed_status(path, RunReader(path).status)) for path in find_shown_runs(runs)
    ]
    write_file(Path(output), write_report(named))
