"""`compare`: runs beside the paper's panels and beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oracle_tui.cli.finding import find_shown_runs
from oracle_tui.cli.manual import command
from oracle_tui.cli.options import json_option, runs_argument, runs_dir_option
from oracle_tui.cli.output import print_json, print_line, print_table
from oracle_tui.formats import DASH, ends, p_value, percent, plain, signed

if TYPE_CHECKING:
    from engine.analysis import RunAnalysis
    from engine.comparison import WiringPair


@command(
    examples=(
        ("oracle-tui compare 1a2b", "A run beside the panel of the paper that studied the same."),
        ("oracle-tui compare 1a2b 3c4d --json", "Two runs, paired where only the wiring differs."),
    )
)
@runs_argument()
@json_option
@runs_dir_option
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """Show runs beside the paper's panels, and beside each other.

    Where a panel studied the same, its tau stands beside ours with the interval that its n
    allows; `yes` under DIFFERS means that the two intervals have no value in common. Runs that
    differ in the wiring alone are paired, and those that differ in the retraining alone, one of
    them in fewer epochs.
    """
    from engine.budgets import budget_pairs, budget_record
    from engine.comparison import comparison_record, wiring_pairs, wiring_record

    analyses = analyse_all(runs)
    pairs = wiring_pairs(analyses)
    budgets = [budget_record(pair) for pair in budget_pairs(analyses)]
    records = [comparison_record(run) for run in analyses]
    if as_json:
        wirings = [wiring_record(pair) for pair in pairs]
        print_json({"runs": records, "wirings": wirings, "budgets": budgets})
        return
    print_table(
        ("RUN", "N", "TAU", "95 %", "P", "ANOMALIES", "PAPER", "95 %", "ANOMALIES", "DIFFERS"),
        [_row(record) for record in records],
    )
    for record in records:
        if record["sentence"]:
            print_line("")
            print_line(f"{record['id']} beside {record['panel']}")
            print_line(f"  {record['sentence']}")
            if record["otherwise"]:
                print_line(f"  Not the same otherwise: {record['otherwise']}.")
    by_id = {record["id"]: record for record in records}
    for pair in pairs:
        _print_pair(pair, by_id[pair.correct.id], by_id[pair.released.id])
    for budget in budgets:
        _print_budget(budget)


def analyse_all(runs: tuple[str, ...]) -> list[RunAnalysis]:
    """Returns the analyses of the runs that a person named, each once, in this order."""
    from engine.analysis import analyse
    from engine.store.reader import RunReader
    from oracle_tui.cli.summaries import believed_status

    analyses = []
    for path in find_shown_runs(runs):
        with RunReader(path) as reader:
            analyses.append(analyse(reader, believed_status(path, reader.status)))
    return analyses


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    paper = record["panel"] is not None
    differs = {True: "yes", False: "no", None: DASH}[record["differs"]]
    return (
        record["id"],
        f"{record['n']:,}",
        signed(record["kendall_tau_acc"]),
        ends(record["tau_acc_lower"], record["tau_acc_upper"]),
        p_value(record["kendall_p_acc"]),
        f"{percent(record['anomaly_ratio_acc'])} ({percent(record['anomaly_ratio_lowest'])} to "
        f"{percent(record['anomaly_ratio_highest'])})",
        signed(record["paper_tau_acc"], 2),
        ends(record["paper_tau_acc_lower"], record["paper_tau_acc_upper"]),
        percent(record["paper_anomaly_ratio_acc"]),
        differs if paper else "no panel",
    )


def _print_pair(pair: WiringPair, correct: Mapping[str, Any], released: Mapping[str, Any]) -> None:
    print_line("")
    print_line(f"{pair.correct.facts.title}: one wiring beside the other")
    print_table(
        ("WIRING", "RUN", "N", "TAU", "95 %", "MEDIAN PRUNED LOSS", "TEST ACCURACY"),
        [
            (
                record["wiring"],
                record["id"],
                f"{record['n']:,}",
                signed(record["kendall_tau_acc"]),
                ends(record["tau_acc_lower"], record["tau_acc_upper"]),
                plain(record["median_pruned_train_loss"]),
                f"{plain(record['lowest_test_acc'])} to {plain(record['highest_test_acc'])}",
            )
            for record in (correct, released)
        ],
    )
    found = pair.difference
    print_line(
        f"  tau released minus correct {signed(found.difference)}, 95 % "
        f"{signed(found.lower, 2)} to {signed(found.upper, 2)} "
        f"(bootstrap over {found.n:,} shared candidates{'; ' * bool(found.note)}{found.note})"
    )


def _print_budget(pair: Mapping[str, Any]) -> None:
    print_line("")
    print_line(f"{pair['study']}: {pair['short']} beside {pair['full']}")
    tau, note = signed(pair["kendall_tau_acc"]), pair["note"]
    print_line(
        f"  tau of test accuracy after {pair['short_epochs']:,} and after "
        f"{pair['full_epochs']:,} epochs {tau}, 95 % "
        f"{ends(pair['tau_acc_lower'], pair['tau_acc_upper'])} "
        f"(p {p_value(pair['kendall_p_acc'])}, {pair['n_shared']:,} shared candidates"
        f"{'; ' * bool(note)}{note})"
    )
