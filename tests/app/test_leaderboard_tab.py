"""The leaderboard of a run: what the engine ranks, in words, and why where there is none."""

from __future__ import annotations

import pytest

from engine.folders import shipped_folder
from engine.leaderboard import leaderboard
from engine.store.reader import RunReader
from oracle_tui.app import OracleApp
from oracle_tui.deeper import Board, board_of
from oracle_tui.formats import ends, notes_of, signed
from oracle_tui.widgets.leaderboard import board_lines
from tests.app.conftest import MakeRun
from tests.app.waiting import opened, text, until


def board(path: object, outcome: str = "best_test_acc") -> Board:
    with RunReader(path) as reader:  # type: ignore[arg-type]
        return board_of(reader.config, reader.rows, outcome)


@pytest.mark.parametrize("width", [76, 116])
def test_every_score_has_its_tau_interval_regret_and_cost(make_run: MakeRun, width: int) -> None:
    path = make_run("done")
    with RunReader(path) as reader:
        expected = leaderboard(reader.config, reader.rows)
    found = board(path)
    lines = board_lines(found, width).plain.split("\n")
    assert list(found.standings) == expected
    for one, line in zip(expected, lines[3:], strict=False):
        assert line.startswith(one.title[:10])
        assert f"{signed(one.tau, 2)} n=45" in line
        assert f"{signed(one.tau_lower, 2)} to {signed(one.tau_upper, 2)}" in line
        assert f"{one.regret:.4f}" in line
        assert len(line) <= width
    assert ("├" in "".join(lines)) == (width > 100)


def test_another_outcome_is_another_board(make_run: MakeRun) -> None:
    path = make_run("done")
    loss = board(path, "best_test_loss")
    assert loss.standings[0].outcome == "best_test_loss"
    assert "best test loss" in board_lines(loss, 76).plain


@pytest.mark.parametrize(("done", "says"), [(0, "0 finished candidates"), (2, "2 finished")])
def test_too_few_rows_say_what_is_missing(make_run: MakeRun, done: int, says: str) -> None:
    words = board_lines(board(make_run("stopped", done=done)), 76).plain
    assert says in words
    assert "at least 3" in words


def test_a_config_that_says_nothing_has_no_board(make_run: MakeRun) -> None:
    with RunReader(make_run("done")) as reader:
        found = board_of({"run_id": "x"}, reader.rows, "best_test_acc")
    assert board_lines(found, 76).plain.startswith("No leaderboard: the run does not say")


def test_what_is_not_known_is_a_dash_and_a_note_says_of_which_score(make_run: MakeRun) -> None:
    with RunReader(make_run("stopped", done=12)) as reader:
        rows = reader.rows.copy()
        rows["pruned_train_acc"] = 0.5
        found = board_of(reader.config, rows, "best_test_acc")
    lines = board_lines(found, 76).plain.split("\n")
    constant = next(line for line in lines if line.startswith("Pruned train accuracy"))
    assert constant.split()[3:5] == ["-", "-"]
    assert "all scores are equal (pruned_train_acc)" in lines
    assert notes_of(found.standings)[0].endswith("a rough interval (pruned_train_loss)")
    assert (signed(-0.0), signed(-0.0001), ends(None, 1.0)) == ("+0.000", "+0.000", "-")


async def test_the_tab_follows_the_outcome(app: OracleApp) -> None:
    async with opened(app) as (pilot, _):
        await pilot.press("3")
        await until(
            pilot, lambda: "best test accuracy" in text(app, "#leaderboard-words"), "the board"
        )
        await pilot.press("v", "down", "enter")
        await until(
            pilot,
            lambda: "best test accuracy" not in text(app, "#leaderboard-words"),
            "another board",
        )


@pytest.mark.parametrize("width", [72, 116])
def test_scores_whose_titles_begin_alike_can_be_told_apart(width: int) -> None:
    run = shipped_folder() / "runs" / "narrow-resnet20-fashion-5k-0.5-correct.h5"
    found = board(run)
    lines = board_lines(found, width).plain.split("\n")
    assert len(found.standings) == 5
    names = {line.partition("  ")[0].split(" +")[0].split(" -")[0] for line in lines[3:8]}
    assert len(names) == 5
    assert any(name.startswith("recalibrated_train_a") for name in names)
