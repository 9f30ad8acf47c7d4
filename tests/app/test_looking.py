"""How a run is looked at: axes, log scales, picks, boxes, and the tabs computed for them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kendalltau
from textual.widgets import OptionList, Static

from engine.folders import shipped_folder
from engine.store.layout import empty_rows
from engine.store.reader import RunReader
from oracle_tui.app import OracleApp
from oracle_tui.deeper import agreement_of
from oracle_tui.machine import gpu_words
from oracle_tui.plots.box import Box, box_marks
from oracle_tui.plots.frame import LEFT
from oracle_tui.plots.scatter import ScatterPlot
from oracle_tui.plots.series import SeriesPlot
from oracle_tui.plots.ticks import label, log_ticks, own_step
from oracle_tui.view_parts import Finished, finishing_order
from oracle_tui.views import Axes
from oracle_tui.widgets.candidates import CandidateTable
from oracle_tui.widgets.intervals import interval_line
from tests.app.conftest import MakeRun
from tests.app.waiting import opened, settled, text, until

MakeApp = Callable[..., OracleApp]


async def test_the_axes_can_be_chosen_and_tau_is_theirs(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        oracle = plot.data.candidate[plot.data.oracle or 0]
        await pilot.press("v")
        choices = app.screen.query_one(OptionList)
        choices.highlighted = choices.get_option_index("last_test_loss")
        await pilot.press("enter")
        await until(pilot, lambda: plot.data.y_name == "last test loss", "the other outcome")
        await pilot.press("x", "j", "enter")  # the second score
        await until(pilot, lambda: "accuracy" in plot.data.x_name, "the other score")
        await settled(pilot)
        tau = kendalltau(plot.data.x, plot.data.y).statistic
        assert f"tau loss {tau:+.3f}  n=45" in text(app, "#numbers")
        # The oracle stays the candidate of the lowest pruned train loss.
        assert plot.data.candidate[plot.data.oracle or 0] == oracle
        assert plot.data.y[plot.data.best] == plot.data.y.min()
        assert plot.data.anomaly.sum() == (plot.data.y < plot.data.y[plot.data.oracle]).sum()


async def test_a_log_axis_keeps_every_point_under_its_cursor(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        await pilot.press("X")
        await settled(pilot)
        assert plot.frame is not None
        assert "(log)" in "".join(plot.frame.rows)
        logs = np.log10(plot.data.x)
        assert plot.window.x_low <= logs.min()
        assert plot.window.x_high >= np.median(logs)
        columns = plot.frame.cells.columns(logs)
        await pilot.press("o")
        oracle = int(np.argmin(plot.data.x))
        assert plot.cursor == plot.data.candidate[oracle]
        (mark,) = [m for row in range(50) for m in plot.marks_on(row) if m.glyph == "◆"]
        assert mark.column == columns[oracle]


async def test_a_dragged_box_picks_what_is_in_it_for_the_table(app: OracleApp) -> None:
    async with opened(app, (120, 36)) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        assert plot.frame is not None
        columns, rows = plot.frame.cells.columns(plot.data.x), plot.frame.cells.rows(plot.data.y)
        await pilot.mouse_down(plot, offset=(LEFT + 5, 3))
        await pilot.hover(plot, offset=(LEFT + 40, 20))
        await pilot.mouse_up(plot, offset=(LEFT + 40, 20))
        await settled(pilot)
        inside = (columns >= 5) & (columns <= 40) & (rows >= 3) & (rows <= 20)
        assert 0 < inside.sum() < 45
        assert plot.picked == frozenset(plot.data.candidate[inside].tolist())
        await pilot.press("4")
        await settled(pilot)
        table = screen.query_one(CandidateTable)
        assert table.rows is not None
        assert set(table.rows.candidate[table._order]) == plot.picked
        await pilot.press("f")
        assert len(table._order) == 45
        await pilot.press("escape")  # lets the picks go, and stays
        assert not plot.picked
        assert app.screen is screen


async def test_a_click_moves_the_cursor_to_the_nearest_point(app: OracleApp) -> None:
    async with opened(app, (120, 36)) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        assert plot.frame is not None
        column = int(plot.frame.cells.columns(plot.data.x)[7])
        row = int(plot.frame.cells.rows(plot.data.y)[7])
        await pilot.click(plot, offset=(LEFT + column, row))
        here = plot.here()
        assert 7 in here
        assert not plot.picked


async def test_a_box_by_keys_reaches_from_point_to_point(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        await pilot.press("o", "m")
        first = plot.cursor
        await pilot.press("right", "right", "down", "m")
        assert {first, plot.cursor} <= plot.picked
        await pilot.press("u")
        assert not plot.picked


async def test_curves_of_picked_candidates_beside_the_oracles(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        plot.move_cursor(3)
        await pilot.press("space", "5")
        await until(pilot, lambda: screen.query_one(SeriesPlot).data.series, "the curves")
        names = [one.name for one in screen.query_one(SeriesPlot).data.series]
        oracle = plot.data.candidate[plot.data.oracle or 0]
        assert names == ["#3", f"#{oracle}"]
        assert f"◆ oracle #{oracle}" in text(app, "#curves-legend")
        assert "picks others" not in text(app, "#curves-legend")


async def test_curves_without_a_pick_say_how_to_pick(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        await pilot.press("o", "5")
        await until(pilot, lambda: screen.query_one(SeriesPlot).data.series, "the curve")
        assert "space on the scatter picks others" in text(app, "#curves-legend")


async def test_the_noise_ceiling_is_in_words_and_in_the_plot(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    app = make_app(make_run("done", repeats=3))
    async with opened(app, (120, 36)) as (pilot, screen):
        await pilot.press("2")
        words = screen.query_one("#ceiling-words", Static)
        await until(pilot, lambda: "noise ceiling" in str(words.content), "the ceiling")
        await settled(pilot)
        line = screen.query_one("#line-plot")
        assert "3 repeats agree at tau" in str(words.content)
        assert line.data.ceiling is not None  # type: ignore[attr-defined]


def test_the_last_epoch_agrees_with_itself_though_curves_are_float32() -> None:
    # 5,000 digits: many mean accuracies are equal, and must be so in float32, too.
    with RunReader(shipped_folder() / "runs" / "lenet5-mini-mnist-5k-conv1-0.5.h5") as run:
        axes = Axes(outcome="last_test_acc")
        done = Finished(0, axes, run.config, run.rows, None)
        found = agreement_of(run.rows, run.curves(), done)
    assert found.line.y[-1] == pytest.approx(1.0, abs=1e-12)
    assert "; |tau| is 44 % of it" in found.ceiling_words


def test_candidates_that_end_together_follow_each_other_as_if_drawn() -> None:
    rows = empty_rows(252, ("pruned_train_loss",))
    rows["candidate"] = candidates = np.arange(252)
    rows["finished_at"] = 7.0  # one pack on a GPU
    order = finishing_order(rows, candidates)
    assert sorted(order) == list(range(252))
    # By number, the first half of all 5 of 10 filters are the candidates that lose filter 0.
    assert 40 < (candidates[order[:126]] < 126).sum() < 86
    # More candidates later do not change who came before whom.
    fewer = finishing_order(rows[:100], candidates[:100])
    assert [c for c in order if c < 100] == list(fewer)
    rows["finished_at"][3] = 6.0
    assert finishing_order(rows, candidates)[0] == 3


@pytest.mark.parametrize(("low", "high"), [(-3.0, 2.0), (-0.2, 0.3), (0.0, 0.05), (4.0, 9.0)])
def test_log_ticks_are_round_and_inside(low: float, high: float) -> None:
    for count in (2, 5, 9):
        found = log_ticks(low, high, count)
        assert found
        assert all(low - 1e-6 <= place <= high + 1e-6 for place in found)
        assert len(found) <= 4 * count + 4
        names = [label(10**place, own_step(10**place)) for place in found]
        assert len(set(names)) == len(names)


def test_a_box_holds_its_edges_and_nothing_outside_the_window() -> None:
    box = Box((5, 6), (2, 3), dragged=True)
    columns, rows = np.array([2, 5, 3, 1, -1]), np.array([3, 6, 7, 4, -1])
    assert box.holds(columns, rows).tolist() == [True, True, False, False, False]
    assert {(m.column, m.row) for m in box_marks(box)} >= {(2, 3), (5, 3), (2, 6), (5, 6)}


def test_gpu_words_are_empty_without_a_gpu() -> None:
    assert gpu_words([], 0, 0) == ""
    assert gpu_words([34], 2.1e9, 80e9) == "GPU 34 % 2.1/80 GB"
    assert gpu_words([30, 50], 4e9, 160e9) == "2 GPUs 40 % 4.0/160 GB"


def test_an_interval_is_drawn_where_its_numbers_are() -> None:
    line = interval_line(0.0, -0.5, 0.5, 41).plain
    assert len(line) == 41
    assert (line[10], line[20], line[30]) == ("├", "●", "┤")
    assert interval_line(float("nan"), float("nan"), float("nan"), 41).plain.strip("·") == "┊"
