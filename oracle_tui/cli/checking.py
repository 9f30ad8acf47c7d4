"""`check`: is a run as it was written, and what can be saved of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from oracle_tui.cli import completing
from oracle_tui.cli.exit_codes import ExitCode
from oracle_tui.cli.finding import find_shown_run
from oracle_tui.cli.manual import command, option
from oracle_tui.cli.messages import say
from oracle_tui.cli.options import json_option, run_argument, runs_dir_option
from oracle_tui.cli.output import print_json, print_line


@command(
    examples=(
        ("oracle-tui check 1a2b", "The run whose id begins with 1a2b."),
        (
            "oracle-tui check /backup/run.h5 --repair ~/saved",
            "A new run of all that is whole; the old one is never written to.",
        ),
    ),
    parts={
        "Exit codes": (
            ("0", "Nothing is wrong, or --repair made the new run."),
            ("1", "Something is wrong; each finding is a line on stdout."),
        )
    },
)
@run_argument
@option(
    "--repair",
    metavar="NEW",
    shell_complete=completing.files,
    help="Make a new run folder, or .h5 file, of what is whole; it can be resumed.",
)
@json_option
@runs_dir_option
def check(run: str, repair: str | None, as_json: bool) -> ExitCode:
    """Verify a run: every checksum, and its rows against its own spec."""
    from engine.check import check_run
    from engine.repair import repair_run

    path = Path(run) if Path(run).is_dir() else find_shown_run(run)
    checked = check_run(path)
    repaired = repair_run(path, Path(repair)) if repair is not None else None
    code = ExitCode.OK if checked.whole or repaired else ExitCode.FAILED
    if as_json:
        print_json(
            {
                "run": str(path),
                "whole": checked.whole,
                "n_rows": checked.n_rows,
                "n_done": checked.n_done,
                "findings": [asdict(finding) for finding in checked.findings],
                "repaired": asdict(repaired) if repaired else None,
            }
        )
        return code
    for finding in checked.findings:
        print_line(f"{finding.level}: {finding.text}")
    if checked.whole:
        say(f"{path.name} is whole: {checked.n_rows:,} rows, {checked.n_done:,} of them finished.")
    else:
        say(f"{path.name} is not as it was written.")
    if repaired:
        for note in repaired.notes:
            print_line(f"repair: {note}")
        say(
            f"{repaired.path} holds {repaired.n_done:,} finished and {repaired.n_scored:,} scored "
            f"rows of {repaired.n_total:,}; resume it to go on."
        )
    return code
