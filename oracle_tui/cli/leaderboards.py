"""`leaderboard`: how well each score predicts what becomes of the candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from oracle_tui.cli.finding import find_shown_run
from oracle_tui.cli.manual import command, option
from oracle_tui.cli.options import json_option, runs_argument, runs_dir_option
from oracle_tui.cli.output import print_json, print_line, print_table
from oracle_tui.formats import DASH, known, notes_of, p_value, plain, signed

if TYPE_CHECKING:
    from engine.leaderboard import Overall, Standing

_OUTCOMES = tuple(
    f"{which}_test_{what}" for what in ("acc", "loss") for which in ("best", "last", "last5")
)


@command(
    examples=(
        ("oracle-tui leaderboard 1a2b", "Every score of a run, the best predictor first."),
        (
            "oracle-tui leaderboard 1a2b 3c4d --outcome last5_test_acc",
            "Two runs and both together, on the mean accuracy of the last five epochs.",
        ),
    )
)
@runs_argument("Several are compared one by one and together.")
@option(
    "--outcome",
    metavar="OUTCOME",
    type=click.Choice(_OUTCOMES),
    default="best_test_acc",
    show_default=True,
    help="What the scores predict: best_test_acc, last_test_acc, last5_test_acc (the mean of the "
    "last five epochs), or the same of the loss, such as best_test_loss.",
)
@json_option
@runs_dir_option
def leaderboard(runs: tuple[str, ...], outcome: str, as_json: bool) -> None:
    """Compare scores as predictors of what retraining gives.

    AGREEMENT is tau with the sign that a good predictor has positive, between -1 and 1; REGRET is
    what is lost by taking the candidate that the score calls best; SECONDS is what the score took.
    """
    from engine.leaderboard import leaderboard as board_of
    from engine.leaderboard import over_runs
    from engine.store.reader import RunReader

    readers = [RunReader(find_shown_run(run)) for run in runs]
    boards = [board_of(reader.config, reader.rows, outcome) for reader in readers]
    names = [str(reader.config["run_id"]) for reader in readers]
    if as_json:
        print_json(
            {
                "outcome": outcome,
                "runs": [
                    {"id": name, "scores": [one.to_json() for one in board]}
                    for name, board in zip(names, boards, strict=True)
                ],
                "overall": [one.to_json() for one in over_runs(boards)],
            }
        )
        return
    for name, board in zip(names, boards, strict=True):
        print_line(f"{name}, {outcome}")
        _print_board(board)
        for note in notes_of(board):
            print_line(note)
        print_line("")
    if len(boards) > 1:
        print_line(f"over {len(boards)} runs")
        _print_overall(over_runs(boards))
        print_line("")
    print_line(
        "agreement: tau with the sign that a good predictor has positive; 95 % interval, pointwise "
        "and of one score at a time: the best of many is partly luck"
    )


def _print_board(board: list[Standing]) -> None:
    print_table(
        ("SCORE", "AGREEMENT", "INTERVAL", "P", "N", "REGRET", "RANK", "SECONDS"),
        [
            (
                one.score,
                signed(one.agreement),
                _interval(one),
                p_value(one.p),
                f"{one.n:,}",
                plain(one.regret),
                f"{one.rank:,}" if one.rank else "-",
                plain(one.seconds, 1),
            )
            for one in board
        ],
    )


def _interval(one: Standing) -> str:
    if not known(one.agreement_lower):
        return DASH
    return f"[{signed(one.agreement_lower, 2)}, {signed(one.agreement_upper, 2)}]"


def _print_overall(scores: list[Overall]) -> None:
    print_table(
        ("SCORE", "AGREEMENT", "LOWEST", "HIGHEST", "RUNS", "WINS", "REGRET", "SECONDS"),
        [
            (
                one.score,
                signed(one.agreement),
                signed(one.lowest),
                signed(one.highest),
                str(one.runs),
                str(one.wins),
                plain(one.regret),
                plain(one.seconds, 1),
            )
            for one in scores
        ],
    )
