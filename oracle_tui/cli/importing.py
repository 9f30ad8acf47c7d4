"""`import`: runs from other people's tables and logs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import UsageError
from engine.facts import Origin
from oracle_tui.cli import completing
from oracle_tui.cli.manual import command, option
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import chosen_runs_folder, json_option, runs_dir_option
from oracle_tui.cli.output import print_json, print_line

if TYPE_CHECKING:
    from engine.imports import Columns, Measurement

_NAMED_FILES = 3


_READING = "How it is read"
_KNOWN = "What was studied, where it is known"


def _column(name: str, about: str) -> Callable[[Any], Any]:
    return option(name, group=_READING, metavar="COLUMN", default="", help=about)


@command(
    "import",
    examples=(
        ("oracle-tui import results.csv --acc-column top1", "A table with a column named top1."),
        ("oracle-tui import log_*.txt --model lenet5-mini", "Logs of the released code."),
        ("oracle-tui import all.csv --by seed --name mine", "A run for each seed in a table."),
    ),
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE [FILE]...",
    shell_complete=completing.files,
    help="CSV tables or logs; several are read as one, as parts of a study or as repeats.",
)
@option("--name", metavar="NAME", help="What the run is called.  [default: imported-FILE]")
@option(
    "--format",
    "kind",
    group=_READING,
    type=click.Choice(("auto", "csv", "log")),
    default="auto",
    show_default=True,
    help="A table, or logs of the paper's released code.",
)
@_column("--score-column", "Pruned train loss, in nats.  [default: its usual names]")
@_column("--acc-column", "Test accuracy after retraining.  [default: its usual names]")
@_column("--loss-column", "Test loss after retraining, in nats.  [default: its usual names]")
@_column("--candidate-column", "Number or name of the candidate.  [default: its usual names]")
@_column("--repeat-column", "Number of the repeat.  [default: its usual names]")
@_column("--by", "Make a run for each value of this column.")
@option(
    "--accuracy",
    "unit",
    group=_READING,
    type=click.Choice(("auto", "fraction", "percent")),
    default="auto",
    show_default=True,
    help="What accuracies are given in; auto takes them for percent if any is above 1.",
)
@option(
    "--model",
    group=_KNOWN,
    metavar="M",
    shell_complete=completing.entry("model"),
    help="The network, by which `compare` finds the paper's panel.",
)
@option(
    "--dataset",
    group=_KNOWN,
    metavar="D",
    shell_complete=completing.entry("dataset"),
    help="Its data set.",
)
@option("--layers", group=_KNOWN, metavar="L[,L]", help="Its pruned layers, such as conv1,conv2.")
@option(
    "--ratio",
    group=_KNOWN,
    metavar="R[,R]",
    help="The share of filters that went, 0 to 1; one for all layers, or one for each.",
)
@option("--epochs", group=_KNOWN, metavar="N", type=int, help="Epochs of a retraining.")
@option(
    "--wiring",
    group=_KNOWN,
    metavar="correct|released",
    shell_complete=completing.words("correct", "released"),
    help="Which input channels the next layer kept, as for `run`.",
)
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
    """Make finished runs from CSV tables, or logs of the paper's code.

    What was understood is told on stderr, the ids of the runs on stdout.
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
