"""Several runs beside each other, chosen with space in the list of runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import kendalltau
from textual.widgets import Static

from engine.store.reader import RunReader
from oracle_tui.app import OracleApp
from oracle_tui.comparing import compare_runs, complexity, heat_map
from oracle_tui.plots.series import SeriesPlot
from oracle_tui.screens.compare import CompareScreen
from oracle_tui.screens.runs import RunsScreen
from oracle_tui.widgets.compare_text import wiring_lines
from oracle_tui.widgets.leaderboard import overall_lines
from tests.app.conftest import MakeRun
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]


async def test_selected_runs_are_compared(make_app: MakeApp, make_run: MakeRun) -> None:
    paths = [make_run("done", seed=0), make_run("done", seed=1, ratio=0.3)]
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        await pilot.press("c")
        assert isinstance(app.screen, RunsScreen)  # one run is nothing to compare
        await pilot.press("space", "space", "c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen), "the comparison")
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        await until(pilot, lambda: screen.found is not None, "the runs")
        await settled(pilot)
        assert screen.found is not None
        series = screen.query_one("#clouds-plot", SeriesPlot).data.series
        assert len({one.glyph for one in series}) == 2
        words = str(screen.query_one("#taus-words", Static).content)
        for path in paths:
            rows = RunReader(path).rows
            tau = kendalltau(rows["pruned_train_loss"], rows["best_test_acc"]).statistic
            assert f"{tau:+.2f} n={len(rows)}" in words
        for key in "2345":
            await pilot.press(key)
            await settled(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)


def test_a_comparison_orders_taus_by_layer_ratio_and_complexity(make_run: MakeRun) -> None:
    found = compare_runs([make_run("done", ratio=ratio) for ratio in (0.3, 0.2)])
    layers, ratios, taus = heat_map(found)
    assert (layers, ratios) == (["conv1"], ["0.2", "0.3"])
    assert taus["conv1", "0.3"] == [found.runs[0].numbers.tau]
    against = complexity(found, "ratio")
    assert [one.x.tolist() for one in against.series] == [[0.3], [0.2]]
    assert all(np.all((one.low <= one.y) & (one.y <= one.high)) for one in against.series)


def test_a_run_that_cannot_be_read_is_a_sentence(make_run: MakeRun) -> None:
    good, bad = make_run("done", seed=0), make_run("done", seed=1)
    (bad / "run.h5").write_bytes(b"this is no run file")
    found = compare_runs([good, bad])
    assert len(found.runs) == 1
    assert len(found.problems) == 1


def test_only_the_wiring_makes_a_pair(make_run: MakeRun) -> None:
    paths = [make_run("done", seed=seed) for seed in (0, 1)]
    paths.append(make_run("done", wiring="released"))
    found = compare_runs(paths)
    assert [(pair.correct.id, pair.released.id) for pair in found.pairs] == [
        (paths[0].name, paths[2].name)
    ]
    words = wiring_lines(found).plain
    assert f"over {found.pairs[0].difference.n} shared candidates" in words


def test_scores_are_ranked_over_all_runs(make_run: MakeRun) -> None:
    found = compare_runs([make_run("done", seed=seed) for seed in (0, 1)])
    assert {one.runs for one in found.overall} == {2}
    assert found.overall[0].agreement == max(one.agreement for one in found.overall)
    words = overall_lines(found.overall, len(found.runs), 76).plain
    assert "over 2 runs" in words
    assert max(map(len, words.split("\n")[:5])) <= 76
