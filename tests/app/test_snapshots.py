"""What every screen looks like, in every state, narrow and wide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.store.writer import RunWriter
from oracle_tui.app import OracleApp
from oracle_tui.screens.run import RunScreen
from oracle_tui.widgets.preview import Preview
from tests.app.conftest import MakeRun
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]
Compare = Callable[..., bool]
Drive = Callable[[Pilot[Any]], Awaitable[None]]

SIZES = [(80, 24), (120, 36)]
NAMES = ["80x24", "120x36"]
sizes = pytest.mark.parametrize("size", SIZES, ids=NAMES)


def keys(*presses: str) -> Drive:
    """Open what is asked for, press keys one after the other, let each have its effect."""

    async def drive(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: pilot.app.screen.query("#runs-table, #run-title"), "a screen")
        if pilot.app.open_run is not None:  # type: ignore[attr-defined]
            await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen), "the run")
        await ready(pilot)
        for press in presses:
            await pilot.press(press)
            await ready(pilot)

    return drive


async def ready(pilot: Pilot[Any]) -> None:
    """Wait for everything on screen: workers, frames, the preview, no blinking cursor."""
    await settled(pilot)
    screen = pilot.app.screen
    for box in screen.query(Input):
        box.cursor_blink = False
    if screen.query("#runs-table") and screen.has_class("-wide") and screen.table.runs:  # type: ignore[attr-defined]
        await until(
            pilot, lambda: any(p.view is not None for p in screen.query(Preview)), "the preview"
        )
        await settled(pilot)


@sizes
def test_runs_empty(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=keys())


@pytest.fixture
def some_runs(make_run: MakeRun) -> None:
    make_run("done", seed=0)
    make_run("paused", seed=1, done=20, training=8)
    make_run("failed", seed=2, done=0, message="The disk is full.")
    make_run("stopped", seed=3, ratio=0.3, done=100)
    make_run("running", seed=4, done=12)  # its engine is gone: stalled
    make_run("queued", seed=5, done=0)


@sizes
@pytest.mark.usefixtures("some_runs")
def test_runs(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=keys("j", "j"))


@sizes
@pytest.mark.usefixtures("some_runs")
def test_runs_filtered(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=keys("slash", *"0.3"))


@sizes
def test_delete_asks(
    snap_compare: Compare, make_app: MakeApp, make_run: MakeRun, size: tuple[int, int]
) -> None:
    make_run("done")
    assert snap_compare(make_app(), terminal_size=size, run_before=keys("d"))


@sizes
def test_help(
    snap_compare: Compare, make_app: MakeApp, make_run: MakeRun, size: tuple[int, int]
) -> None:
    app = make_app(make_run("done"))
    assert snap_compare(app, terminal_size=size, run_before=keys("question_mark"))


@sizes
@pytest.mark.parametrize("tab", ["1", "2", "3", "4", "5", "6", "7", "8"])
def test_run_done(
    snap_compare: Compare,
    make_app: MakeApp,
    make_run: MakeRun,
    size: tuple[int, int],
    tab: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The log's times are the clock's; every other number follows from the seed.
    monkeypatch.setattr(
        "engine.store.reader.RunReader.log_tail",
        lambda _, lines: ["2026-01-02T03:04:05Z stage: retraining", "2026-01-02T03:05:05Z done"],
    )
    app = make_app(make_run("done"))
    assert snap_compare(app, terminal_size=size, run_before=keys(tab))


@sizes
def test_run_cursor(
    snap_compare: Compare, make_app: MakeApp, make_run: MakeRun, size: tuple[int, int]
) -> None:
    app = make_app(make_run("done"))

    async def drive(pilot: Pilot[Any]) -> None:
        await keys("right", "right", "down", "right")(pilot)
        await until(
            pilot, lambda: "without" in str(pilot.app.screen.query_one("#numbers").content),  # type: ignore[attr-defined]
            "the filters",
        )  # fmt: skip

    assert snap_compare(app, terminal_size=size, run_before=drive)


@sizes
def test_run_live(
    snap_compare: Compare, make_app: MakeApp, make_run: MakeRun, size: tuple[int, int]
) -> None:
    path = make_run("running", done=20, training=8)
    writer = RunWriter.open(path)  # somebody holds the lock: the engine is there
    try:
        assert snap_compare(make_app(path), terminal_size=size, run_before=keys())
    finally:
        writer.close()


@sizes
def test_run_pretraining(
    snap_compare: Compare, make_app: MakeApp, make_run: MakeRun, size: tuple[int, int]
) -> None:
    live = {"stage": "pretraining", "stage_done": 4, "stage_total": 15, "eta_seconds": 20.0}
    path = make_run("running", done=0, live=live)
    writer = RunWriter.open(path)
    try:
        assert snap_compare(make_app(path), terminal_size=size, run_before=keys())
    finally:
        writer.close()


@sizes
@pytest.mark.parametrize("status", ["failed", "stopped", "queued", "running"])
def test_run_not_working(
    snap_compare: Compare,
    make_app: MakeApp,
    make_run: MakeRun,
    size: tuple[int, int],
    status: str,
) -> None:
    message = "No space is left on the disk; free some, then resume." if status == "failed" else ""
    done = 0 if status == "queued" else 12
    app = make_app(make_run(status, done=done, message=message))
    assert snap_compare(app, terminal_size=size, run_before=keys())


def test_run_many_points(snap_compare: Compare, make_app: MakeApp, make_run: MakeRun) -> None:
    from oracle_tui.plots import scatter_data

    assert scatter_data.FEW < 4 * 252
    app = make_app(make_run("done", ratio=0.5))
    assert snap_compare(app, terminal_size=SIZES[1], run_before=keys())


@sizes
@pytest.mark.parametrize("tab", ["1", "2", "3", "4", "5", "6"])
def test_compare(
    snap_compare: Compare, make_app: MakeApp, make_run: MakeRun, size: tuple[int, int], tab: str
) -> None:
    for seed, ratio in ((0, 0.2), (1, 0.2), (2, 0.3)):
        make_run("done", seed=seed, ratio=ratio)

    async def drive(pilot: Pilot[Any]) -> None:
        await keys("space", "space", "space", "c")(pilot)
        await until(pilot, lambda: getattr(pilot.app.screen, "found", None), "the comparison")
        await ready(pilot)
        await pilot.press(tab)
        await ready(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=drive)


@sizes
def test_choose_an_outcome(
    snap_compare: Compare, make_app: MakeApp, make_run: MakeRun, size: tuple[int, int]
) -> None:
    app = make_app(make_run("done"))
    assert snap_compare(app, terminal_size=size, run_before=keys("X", "v"))
