"""`runs`, `show` and `export`: what is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oracle_tui.cli import completing
from oracle_tui.cli.finding import find_shown_run
from oracle_tui.cli.manual import command, option
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import (
    chosen_runs_folder,
    json_option,
    run_argument,
    runs_argument,
    runs_dir_option,
)
from oracle_tui.cli.output import print_json, print_line, print_table, put, write_file
from oracle_tui.formats import tau_with_n

if TYPE_CHECKING:
    from engine.store.listing import RunListing

_SETTLED = frozenset({"done", "failed", "stopped"})
_TABLES = ("candidates", "summary", "curves", "leaderboard", "compare")


@command(
    examples=(
        ("oracle-tui runs", "The runs with status, progress and tau."),
        ("oracle-tui runs --json", "All that is known of each, for a program."),
    )
)
@json_option
@runs_dir_option
def runs(as_json: bool) -> None:
    """List the runs.

    TAU is the rank correlation of pruned train loss and best test accuracy so far, with the
    number of candidates that it is taken over.
    """
    from engine.store.listing import list_runs

    folder = chosen_runs_folder()
    listings = list_runs(folder)
    for listing in listings:
        if listing.error:
            say(listing.error)
    readable = [listing for listing in listings if not listing.error]
    if as_json:
        print_json([_record(listing) for listing in readable])
    elif not listings:
        say(f"There are no runs in {folder}; `oracle-tui demo` makes one.")
    elif readable:
        records = [_record(listing) for listing in readable]
        print_table(
            ("ID", "STATUS", "DONE", "TAU (ACCURACY)"),
            [
                (
                    record["id"],
                    record["status"],
                    f"{record['n_done']:,}/{record['n_total']:,}",
                    tau_with_n(record.get("kendall_tau_acc"), record.get("n") or 0),
                )
                for record in records
            ],
        )
        for record in records:
            if record["status"] == "stalled" or (record["status"] == "paused" and record["hint"]):
                say(f"{record['id']}: {record['hint']}")


@command(
    examples=(
        ("oracle-tui show 1a2b", "Spec, tau with its interval, verdict, oracle and best."),
        ("oracle-tui show lenet5-mini-mnist-5k-conv1-0.5", "A recorded run that ships."),
    )
)
@run_argument
@json_option
@runs_dir_option
def show(run: str, as_json: bool) -> None:
    """Show one run: its spec, how far it is, and its statistics."""
    from oracle_tui.cli.summaries import (
        findings_lines,
        run_findings,
        run_summary,
        summary_lines,
        worker_lines,
    )

    path = find_shown_run(run)
    summary = run_summary(path)
    findings = run_findings(path)
    if as_json:
        print_json({**summary, **findings})
        return
    for line in (*summary_lines(summary), *findings_lines(findings), *worker_lines(path)):
        print_line(line)


@command(
    examples=(
        ("oracle-tui export 1a2b -o candidates.csv", "A row for each candidate."),
        ("oracle-tui export 1a2b 3c4d --table summary", "A row for each run, on stdout."),
        ("oracle-tui export 1a2b --table curves -o curves.csv", "A row for each epoch."),
    )
)
@runs_argument()
@option(
    "--table",
    type=click.Choice(_TABLES),
    default="candidates",
    show_default=True,
    help="What a row is: a candidate, a run, an epoch of a retraining, a score of a run, or a "
    "run beside the paper's panel.",
)
@option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=completing.files,
    help="The file to write, replaced whole; - is stdout.  [default: -]",
)
@runs_dir_option
def export(runs: tuple[str, ...], table: str, output: str | None) -> None:
    """Export runs as CSV, one below the other.

    Losses are in nats, accuracies are fractions from 0 to 1, times are in seconds.
    """
    from engine.store.reader import RunReader
    from engine.tables import export_csv

    data = export_csv([RunReader(find_shown_run(run)) for run in runs], table)
    if output is None or output == "-":
        put(data, newline=False)
    else:
        write_file(Path(output), data)


def _record(listing: RunListing) -> dict[str, Any]:
    """Returns a listing as a summary object; that of a run in work is newer than its run file's."""
    from oracle_tui.cli.summaries import life_columns, run_summary

    if listing.status in _SETTLED and listing.summary:
        known = {"id": listing.id, "status": listing.status, "message": listing.message}
        return {**listing.summary, **known, **life_columns(listing.path, listing.life)}
    return {**run_summary(listing.path), "id": listing.id}
