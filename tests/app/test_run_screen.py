"""One run, driven by keys: live and finished, its plots, its tables, its requests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import kendalltau
from textual.widgets.data_table import RowKey

from engine.masks import told
from engine.presets import PRESETS
from engine.store.requests import pending_request
from engine.store.writer import RunWriter
from oracle_tui.app import OracleApp
from oracle_tui.plots.line import LinePlot
from oracle_tui.plots.scatter import ScatterPlot
from oracle_tui.plots.window import ViewMode
from oracle_tui.screens.run import RunScreen
from oracle_tui.widgets.candidates import PAGE, CandidateTable
from oracle_tui.widgets.tables import KeyTable
from tests.app.conftest import MakeRun
from tests.app.waiting import opened, settled, text, until

MakeApp = Callable[..., OracleApp]


async def test_the_numbers_are_those_of_scipy(app: OracleApp) -> None:
    async with opened(app) as (_, screen):
        assert screen.view is not None
        data = screen.view.scatter
        tau = kendalltau(data.x, data.y).statistic
        assert f"{tau:+.3f}  n=45" in text(app, "#numbers")
        assert int(data.candidate[data.oracle or 0]) == int(np.argmin(data.x))
        assert data.anomaly.sum() == (data.y > data.y[data.oracle or 0]).sum()


async def test_the_choice_of_l1_is_marked(app: OracleApp) -> None:
    async with opened(app) as (_, screen):
        assert screen.view is not None
        data = screen.view.scatter
        assert data.l1 is not None
        assert data.candidate[data.l1] == 17
        assert "■ L1     #17" in text(app, "#numbers")


async def test_provisional_candidates_are_shown_but_not_counted(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    app = make_app(make_run("paused", done=20, training=8))
    async with opened(app) as (_, screen):
        assert screen.view is not None
        assert len(screen.view.scatter.x) == 20
        assert len(screen.view.scatter.provisional_x) == 8
        assert "n=20" in text(app, "#numbers")
        assert "8 provisional: not counted" in text(app, "#numbers")
        frame = screen.query_one(ScatterPlot).frame
        assert frame is not None
        assert "○" in "".join(frame.rows)


async def test_a_candidate_with_open_repeats_is_provisional(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    # 3 repeats of each: 7 rows are two whole candidates and a third of one.
    app = make_app(make_run("paused", repeats=3, done=7))
    async with opened(app) as (_, screen):
        assert screen.view is not None
        assert screen.view.scatter.candidate.tolist() == [0, 1]
        assert screen.view.scatter.provisional_candidate.tolist() == [2]


async def test_rows_that_arrive_are_drawn_without_a_key(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    path = make_run("running", done=10)
    app = make_app(path)
    writer = RunWriter.open(path)
    async with opened(app) as (pilot, screen):
        assert "n=10" in text(app, "#numbers")
        more = writer.rows[10:30].copy()
        more["status"] = 2
        more["epochs"] = more["best_epoch"] = 6
        for name in ("best_test_acc", "last_test_acc", "last5_test_acc"):
            more[name] = 0.9
        for name in ("best_test_loss", "last_test_loss", "last5_test_loss"):
            more[name] = 0.3
        writer.append(more, None, None)
        await until(pilot, lambda: "n=30" in text(app, "#numbers"), "the new rows")
        assert screen.query_one(ScatterPlot).data.x.size == 30
    writer.close()


async def test_an_unchanged_run_builds_no_frames(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        built = plot.frames_built
        for _ in range(3):
            screen.acted()
            await settled(pilot)
        assert plot.frames_built == built


async def test_a_hidden_plot_builds_no_frames(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        line = screen.query_one("#line-plot", LinePlot)
        assert line.frames_built == 0
        await pilot.press("2")
        await settled(pilot)
        assert line.frames_built >= 1


async def test_the_cursor_moves_without_building_a_frame(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        built = plot.frames_built
        await pilot.press("right")
        oracle = plot.cursor
        assert screen.view is not None
        assert screen.view.numbers.oracle is not None
        assert oracle == screen.view.numbers.oracle.candidate
        await pilot.press("l", "l", "k")
        assert plot.cursor != oracle
        assert plot.frames_built == built
        await until(pilot, lambda: f"candidate {plot.cursor}" in text(app, "#numbers"), "details")
        await until(pilot, lambda: "conv1 without" in text(app, "#numbers"), "the filters")


async def test_zoom_freezes_and_new_points_do_not_move_the_view(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        before = plot.window
        await pilot.press("+")
        await settled(pilot)
        assert plot.mode is ViewMode.FROZEN
        assert plot.window.x_high - plot.window.x_low < before.x_high - before.x_low
        frozen = plot.window
        plot.set_data(plot.data)
        assert plot.window == frozen
        await pilot.press("L")
        assert plot.window.x_low > frozen.x_low
        await pilot.press("a")
        assert plot.mode is ViewMode.ALL
        await pilot.press("0")
        await settled(pilot)
        assert plot.mode is ViewMode.LIVE
        assert plot.window == before
        assert "LIVE" in text(app, "#scatter-name")


async def test_table_and_scatter_follow_each_other(make_app: MakeApp, make_run: MakeRun) -> None:
    app = make_app(make_run("done", ratio=0.5))  # 252 candidates: three pages
    async with opened(app) as (pilot, screen):
        plot = screen.query_one(ScatterPlot)
        plot.move_cursor(201)
        await pilot.press("4")
        await settled(pilot)
        table = screen.query_one(CandidateTable)
        assert table.page == 201 // PAGE
        assert table.query_one(KeyTable).cursor_row == 201 % PAGE
        await pilot.press("j")
        await until(pilot, lambda: plot.cursor == 202, "the scatter's cursor")
        await pilot.press("{", "{")
        assert table.page == 0
        assert "1 to 100 of 252 rows" in text(app, "#candidate-page")


async def test_what_a_candidate_lost_is_told(make_app: MakeApp, make_run: MakeRun) -> None:
    app = make_app(make_run("done"))
    async with opened(app) as (pilot, screen):
        screen.query_one(ScatterPlot).move_cursor(0)
        await until(pilot, lambda: "conv1 without 0,1" in text(app, "NumbersPanel"), "its filters")


async def test_a_mask_is_told_by_its_seed_and_checksum(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    app = make_app(make_run("done", granularity="weights", candidates=20))
    async with opened(app) as (pilot, screen):
        screen.query_one(ScatterPlot).move_cursor(3)
        spec = PRESETS["quick"].spec.with_(ratios=(0.2,), granularity="weights", candidates=20)
        mask = told(spec.space[3][0])
        said = f"conv1 by a mask of seed {mask['seed']}, checksum {mask['checksum']}"
        await until(pilot, lambda: said in text(app, "NumbersPanel"), "its mask")


async def test_a_table_without_rows_has_no_candidate(make_app: MakeApp, make_run: MakeRun) -> None:
    app = make_app(make_run("queued", done=0))
    async with opened(app) as (pilot, screen):
        table = screen.query_one(CandidateTable)
        await pilot.press("4")
        await settled(pilot)
        await pilot.press("end", "up", "space", "j")
        # What Textual says of a table that has just become empty.
        rows = table.query_one(KeyTable)
        table.post_message(KeyTable.RowHighlighted(rows, -1, RowKey()))
        await pilot.pause()
        assert table.current is None
        assert screen.query_one(ScatterPlot).cursor is None


async def test_the_table_sorts_by_any_column(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        await pilot.press("4", ">", ">")
        await settled(pilot)
        table = screen.query_one(CandidateTable)
        assert table.rows is not None
        scores = table.rows.score[table._order]
        assert (np.diff(scores) >= 0).all()
        await pilot.press("i")
        assert (np.diff(table.rows.score[table._order]) <= 0).all()


async def test_every_tab_shows_something(app: OracleApp) -> None:
    async with opened(app) as (pilot, screen):
        await pilot.press("2")
        await settled(pilot)
        assert "at n=45" in text(app, "#line-name")
        await pilot.press("7")
        await settled(pilot)
        assert any("stage: retraining" in line for line in screen.query_one("#log-lines").lines)  # type: ignore[attr-defined]
        await pilot.press("]")
        await settled(pilot)
        assert screen.tab == "spec"


async def test_pause_leaves_a_request(make_app: MakeApp, make_run: MakeRun) -> None:
    path = make_run("running", done=10)
    writer = RunWriter.open(path)  # an engine that is there
    app = make_app(path)
    async with opened(app) as (pilot, _):
        await pilot.press("p")
        await until(pilot, lambda: pending_request(path) == "pause", "the request")
    writer.close()


async def test_a_run_whose_engine_is_gone_is_stalled(make_app: MakeApp, make_run: MakeRun) -> None:
    app = make_app(make_run("running", done=10))
    async with opened(app) as (_, screen):
        assert screen.view is not None
        assert screen.view.status == "stalled"
        assert "r starts a new one" in text(app, "#run-stage")


async def test_the_title_says_where_the_wiring_is_the_released_one(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    for wiring, said in (("correct", False), ("released", True)):
        app = make_app(make_run("done", wiring=wiring))
        async with opened(app):
            assert ("released wiring" in text(app, "#run-title")) is said


async def test_a_run_deleted_under_the_screen_is_a_sentence(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    import shutil

    path = make_run("done")
    app = make_app(path)
    async with opened(app) as (pilot, _):
        shutil.rmtree(path)
        await until(pilot, lambda: app._notifications, "the reason")
        assert app.is_running
        await pilot.press("escape")
        await settled(pilot)
        assert not isinstance(app.screen, RunScreen)


async def test_diverged_candidates_are_marked_and_left_out(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    path = make_run("paused", done=20)
    writer = RunWriter.open(path)
    row = writer.rows[20:21].copy()
    row["status"] = 3
    writer.append(row, None, None)
    writer.close()
    app = make_app(path)
    async with opened(app) as (pilot, screen):
        assert screen.view is not None
        assert screen.view.numbers.n == 20
        await pilot.press("4")
        await settled(pilot)
        cells = screen.query_one("#candidate-rows", KeyTable).get_row_at(20)
        assert "diverged" in str(cells[-1])
