"""`import`: runs from other people's tables and logs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.errors import UsageError
from engine.facts import Origin
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import chosen_runs_folder, json_option, runs_dir_option
from oracle_tui.cli.output import print_json, print_line

if TYPE_CHECKING:
    from engine.imports import Columns, Measurement

_NAMED_FILES = 3


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE [FILE]...")
@click.option(
    "--format",
    "kind",
    type=click.Choice(("auto", "csv", "log")),
    default="auto",
    show_default=True,
    help="A table, or logs of the paper's released code.",
)
@click.option("--name", metavar="NAME", help="What the run is called [default: the file's name].")
@click.option("--score-column", metavar="C", default="", help="Pruned train loss.")
@click.option("--acc-column", metavar="C", default="", help="Test accuracy after retraining.")
@click.option("--loss-column", metavar="C", default="", help="Test loss after retraining.")
@click.option("--candidate-column", metavar="C", default="", help="Number or name of a candidate.")
@click.option("--repeat-column", metavar="C", default="", help="Number of the repeat.")
@click.option("--by", metavar="C", default="", help="A run for each value of this column.")
@click.option(
    "--accuracy",
    "unit",
    type=click.Choice(("auto", "fraction", "percent")),
    default="auto",
    show_default=True,
    help="What accuracies are given in; auto: percent if any is above 1.",
)
@click.option("--model", metavar="M", help="What was studied, for tables and comparisons.")
@click.option("--dataset", metavar="D", help="Its data set.")
@click.option("--layers", metavar="L[,L]", help="Its pruned layers.")
@click.option("--ratio", metavar="R[,R]", help="Their ratio, or one for each.")
@click.option("--epochs", metavar="E", type=int, help="Epochs of a retraining.")
@click.option("--wiring", metavar="correct|released", help="How the next layer was slimmed.")
@json_option
@runs_dir_option
def import_(
    files: tuple[str, ...],
    kind: str,
    name: str | None,
    score_column: str,
    acc_column: str,
    loss_column: str,
    candidate_column: str,
    repeat_column: str,
    by: str,
    unit: str,
    as_json: bool,
    **known: str | int | None,
) -> None:
    """Make finished runs from a CSV table, or from logs of the paper's released code.

    Several files are read as one: parts of a study, or repeats of its candidates. Columns go by
    their usual names where no flag names them.
    """
    from engine.imports import Columns, is_released_log

    columns = Columns(score_column, acc_column, loss_column, candidate_column, repeat_column, by)
    paths = [Path(file).expanduser() for file in files]
    logs = kind == "log" or (kind == "auto" and is_released_log(paths[0]))
    if logs and columns != Columns():
        raise UsageError(
            f"{paths[0].name} is a log of the released code, which has no columns to name; "
            "say --format csv if it is a table."
        )
    groups, total = _read(paths, columns, logs=logs)
    origin = _origin(paths, logs, total, known)
    usual_name = "imported" if by else f"imported-{paths[0].stem}"
    folders = _make_all(groups, name or usual_name, by, origin, unit)
    for folder in folders:
        if not as_json:
            print_line(folder.name)
    if as_json:
        from oracle_tui.cli.summaries import run_summary

        summaries = [run_summary(folder) for folder in folders]
        print_json(summaries if by else summaries[0])


def _read(
    paths: Sequence[Path], columns: Columns, *, logs: bool
) -> tuple[Mapping[str, Sequence[Measurement]], int]:
    """Returns the measurements of each run, and how many candidates there should be (or 0)."""
    from engine.imports import read_csv, read_released_log

    if logs:
        measurements, total = read_released_log(paths)
        return {"": measurements}, total
    return read_csv(paths, columns), 0


def _make_all(
    groups: Mapping[str, Sequence[Measurement]],
    name: str,
    by: str,
    origin: Origin,
    unit: str,
) -> list[Path]:
    """Makes all runs or none; those of a split table are told apart by their value."""
    from engine.imports import make_run
    from engine.imports.measurements import with_accuracies_as_fractions

    folders: list[Path] = []
    try:
        for group, measurements in groups.items():
            fractions, found_unit = with_accuracies_as_fractions(measurements, unit)
            called, known = name, origin
            if by:
                called = f"{name}-{group}"
                known = replace(origin, source=f"{origin.source}, {by} = {group}"[:200])
            folder = make_run(chosen_runs_folder(), _folder_name(called), fractions, known)
            folders.append(folder)
            _tell(folder, fractions, found_unit)
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return folders


def _tell(folder: Path, measurements: Sequence[Measurement], unit: str) -> None:
    """Says on stderr what was understood, so that a wrong guess is seen."""
    candidates = len({one.candidate for one in measurements})
    parts = [
        f"{len(measurements):,} retraining{'s' * (len(measurements) != 1)} of {candidates:,} "
        f"candidate{'s' * (candidates != 1)}",
        f"accuracies read as {'percentages' if unit == 'percent' else 'fractions'}",
    ]
    if unfinished := sum(not one.retrained for one in measurements):
        parts.append(f"{unfinished:,} without an outcome")
    say(f"{folder.name}: {', '.join(parts)}.")


def _origin(
    paths: Sequence[Path], logs: bool, total: int, known: Mapping[str, str | int | None]
) -> Origin:
    names = ", ".join(path.name[:50] for path in paths[:_NAMED_FILES])
    more = f" and {len(paths) - _NAMED_FILES} more" if len(paths) > _NAMED_FILES else ""
    what = "log of the released code" if logs else "CSV"
    layers, ratio = known["layers"], known["ratio"]
    return Origin(
        source=f"{what}: {names}{more}",
        candidates=max(total, 1),
        repeats=1,
        model=_text(known["model"]),
        dataset=_text(known["dataset"]),
        layers=tuple(part.strip() for part in re.split(r"[,+]", str(layers or "")) if part.strip()),
        ratios=_ratios(str(ratio or "")),
        epochs=None if known["epochs"] is None else int(known["epochs"]),
        wiring=_text(known["wiring"]),
    )


def _text(value: str | int | None) -> str | None:
    text = str(value or "").strip()
    return text or None


def _ratios(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"The ratio must be a number such as 0.5, not {text!r}.") from None


def _folder_name(text: str) -> str:
    """Returns a text as the name of a run's folder."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return plain[:80] or "imported"
