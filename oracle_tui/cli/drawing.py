"""`figure` and `report`: runs as files for people."""

from __future__ import annotations

from pathlib import Path

import click

from engine.errors import UsageError
from oracle_tui.cli import completing
from oracle_tui.cli.finding import find_shown_runs
from oracle_tui.cli.manual import command, option
from oracle_tui.cli.options import runs_argument, runs_dir_option
from oracle_tui.cli.output import write_file


@command(
    examples=(
        ("oracle-tui figure 1a2b -o panel.pdf", "One run as a scatter with its tau."),
        ("oracle-tui figure 1a2b --outcome loss -o panel.svg", "Against the test loss."),
        ("oracle-tui figure 1a2b 3c4d -o taus.png", "The taus of two runs with their intervals."),
    )
)
@runs_argument("One is drawn as a scatter, several as taus.")
@option(
    "-o",
    "--out",
    required=True,
    metavar="FILE",
    shell_complete=completing.files,
    help="The file to write; its ending, .pdf, .svg or .png, says what it becomes.",
)
@option(
    "--outcome",
    type=click.Choice(("accuracy", "loss")),
    default="accuracy",
    show_default=True,
    help="What one run's pruned train loss is drawn against: its best test accuracy or loss.",
)
@runs_dir_option
def figure(runs: tuple[str, ...], out: str, outcome: str) -> None:
    """Draw a run like the paper's panels, or the taus of several.

    It needs an extra: pip install 'oracle-tui[figure]'.
    """
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


@command(
    examples=(
        ("oracle-tui report 1a2b -o report.html", "One run with all its statistics and plots."),
        ("oracle-tui report 1a2b 3c4d -o report.html", "Two runs, and one beside the other."),
    )
)
@runs_argument()
@option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    shell_complete=completing.files,
    help="The HTML file to write.",
)
@runs_dir_option
def report(runs: tuple[str, ...], output: str) -> None:
    """Write runs as one HTML file that needs nothing else."""
    from engine.report import write_report
    from engine.store.reader import RunReader
    from oracle_tui.cli.summaries import believed_status

    named = [
        (path, believed_status(path, RunReader(path).status)) for path in find_shown_runs(runs)
    ]
    write_file(Path(output), write_report(named))
