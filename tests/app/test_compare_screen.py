"""Several runs beside each other, chosen with space in the list of runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.style import Style
from scipy.stats import kendalltau
from textual.widgets import Static

from engine.store.reader import RunReader
from oracle_tui.app import OracleApp
from oracle_tui.comparing import COMPLEXITIES, compare_runs, complexity, differing, heat_map
from oracle_tui.plots.reduction import CellMap, reduce_points
from oracle_tui.plots.series import Series, SeriesPlot, beside_each_other, take_turns
from oracle_tui.plots.window import Window
from oracle_tui.screens.compare import CompareScreen
from oracle_tui.screens.runs import RunsScreen
from oracle_tui.widgets.compare_text import legend_lines, tau_lines, wiring_lines
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


def test_intervals_at_the_same_place_stand_beside_each_other() -> None:
    cells = CellMap(Window(0.0, 1.0, -1.0, 1.0), 50, 20)
    tau = [np.array([value]) for value in (-0.5, 0.0, 0.5)]
    series = [Series("a", "+", np.array([0.5]), y, y - 0.1, y + 0.1) for y in tau]
    series.append(Series("b", "x", np.array([0.9]), tau[0], tau[0], tau[0]))
    shown = beside_each_other(series, cells)
    assert [int(cells.columns(one.x)[0]) for one in shown] == [25, 27, 23, 45]
    cloud = Series("c", "o", np.array([0.5]), tau[0])  # without an interval nothing is hidden
    assert beside_each_other([*series, cloud], cells)[-1] is cloud


def test_a_name_that_is_too_long_for_the_legend_says_that_it_goes_on(make_run: MakeRun) -> None:
    found = compare_runs([make_run("done", ratio=ratio) for ratio in (0.3, 0.2)])
    lines = legend_lines(found, 8, lambda _: Style()).plain.split("\n")
    assert all(len(line) == 8 and line.endswith("…") for line in lines)


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


def test_a_run_keeps_its_glyph_whatever_it_is_compared_with(make_run: MakeRun) -> None:
    paths = [make_run("done", seed=seed) for seed in range(4)]
    glyphs: dict[str, set[str]] = {}
    before: dict[str, int] = {}
    for chosen in ((0, 1), (2, 1), (3, 2, 1, 0)):
        found = compare_runs([paths[index] for index in chosen], before)
        before = {**found.places, **before}
        for run in found.runs:
            glyphs.setdefault(run.id, set()).add(run.glyph)
    assert [len(each) for each in glyphs.values()] == [1] * 4
    assert len(set.union(*glyphs.values())) == 4


def test_a_run_and_its_copy_differ_by_glyph(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("done")
    copy = shutil.copytree(run, tmp_path / "elsewhere" / run.name)
    found = compare_runs([run, copy])
    assert len({one.id for one in found.runs}) == 1
    assert len({one.glyph for one in found.runs}) == 2


def test_no_cloud_hides_another() -> None:
    x, y = np.meshgrid(np.linspace(0.01, 0.99, 200), np.linspace(0.01, 0.99, 100))
    cells = CellMap(Window(0.0, 1.0, 0.0, 1.0), 60, 20)
    clouds = [reduce_points(x.ravel(), y.ravel(), cells, glyph) for glyph in "abc"]
    shown = take_turns(clouds, cells)
    assert [len(one.glyphs) for one in shown] == [400, 400, 400]
    places = np.concatenate([one.rows * cells.width + one.columns for one in shown])
    assert np.array_equal(np.sort(places), np.arange(1200))
    assert all(set(one.glyphs) == {glyph} for one, glyph in zip(shown, "abc", strict=True))


@pytest.mark.parametrize("count", [2, 6, 12])
def test_a_legend_never_cuts_a_name(make_run: MakeRun, count: int) -> None:
    found = compare_runs([make_run("done", seed=seed, ratio=0.3) for seed in range(count)])
    lines = legend_lines(found, 50, lambda _: Style()).plain.split("\n")
    assert len(lines) <= 3
    assert max(map(len, lines)) <= 50
    named = sum(f"{run.glyph} {run.short}" in "\n".join(lines) for run in found.runs)
    assert named == count or f"and {count - named} more" in lines[-1]


def test_what_tells_runs_apart_stands_under_the_taus_where_it_does_not_fit(
    make_run: MakeRun,
) -> None:
    found = compare_runs(
        [make_run("done", seed=0), make_run("done", seed=1, ratio=0.3, wiring="released")]
    )
    wide, narrow = (tau_lines(found, width, lambda _: Style()).plain for width in (110, 60))
    assert all(f"{run.glyph} {run.name} " in wide for run in found.runs)
    for text in (wide, narrow):
        assert all(run.facts in text for run in found.runs)
    assert max(map(len, narrow.split("\n"))) <= 60


def test_complexity_begins_with_what_differs(make_run: MakeRun) -> None:
    found = compare_runs([make_run("done", ratio=ratio) for ratio in (0.2, 0.3)])
    assert COMPLEXITIES[differing(found)] == "ratio"
    assert differing(compare_runs([make_run("done", seed=seed) for seed in (1, 2)])) == 0
