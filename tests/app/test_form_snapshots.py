"""What the form, the list of a sweep and the queue look like, narrow and wide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.catalog import find_model
from engine.estimate import remember_rate
from engine.waiting import RunQueue
from oracle_tui.app import OracleApp
from oracle_tui.screens.new_run import NewRunScreen
from oracle_tui.screens.pick import PickScreen
from oracle_tui.screens.queue import QueueScreen
from oracle_tui.screens.sweep import SweepScreen
from tests.app.conftest import MakeRun
from tests.app.test_snapshots import Compare, Drive, sizes
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]


@pytest.fixture(autouse=True)
def _measured_rates() -> None:
    """A rate as if a run had been measured here: costs then differ on no machine."""
    for model in ("lenet5-mini", "resnet20", "vgg11"):
        remember_rate(find_model(model), "cpu", 2e10)


def form(entries: dict[str, str] | None = None, *presses: str) -> Drive:
    """Open the form, fill it, press keys; wait until everything is judged."""

    async def drive(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen), "the form")
        screen = pilot.app.screen
        assert isinstance(screen, NewRunScreen)
        await until(pilot, lambda: screen.order is not None, "the judgement")
        for name, value in (entries or {}).items():
            box = screen.query_one(f"#field-{name} Input", Input)
            box.focus()
            box.value = value
            await pilot.pause()
            await until(pilot, lambda: screen.judgement is not None, "the judgement")
        for press in presses:
            await pilot.press(press)
            await settled(pilot)
        for box in pilot.app.screen.query(Input):
            box.cursor_blink = False
        await pilot.pause()

    return drive


@sizes
def test_form(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=form())


@sizes
def test_form_with_mistakes(
    snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]
) -> None:
    drive = form({"model": "lenet5-minni"}, "tab", "tab", "tab")
    assert snap_compare(make_app(), terminal_size=size, run_before=drive)


@sizes
def test_form_of_a_sweep(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    drive = form({"seed": "0; 1; 2", "ratio": "0.2; 0.3"})
    assert snap_compare(make_app(), terminal_size=size, run_before=drive)


@sizes
def test_presets(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    async def drive(pilot: Pilot[Any]) -> None:
        await form(None, "f3")(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, PickScreen), "the presets")
        pilot.app.screen.query_one(Input).cursor_blink = False
        await pilot.press("down", "down")
        await settled(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=drive)


def sweep(pilot_keys: tuple[str, ...] = ()) -> Drive:
    async def drive(pilot: Pilot[Any]) -> None:
        await form({"ratio": "0.2; 0.3; 0.5", "layers": "conv1; conv1,conv2"}, "ctrl+s")(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen), "the studies")
        await settled(pilot)
        for press in pilot_keys:
            await pilot.press(press)
            await settled(pilot)

    return drive


@sizes
def test_sweep(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=sweep(("down",)))


async def queue(pilot: Pilot[Any]) -> None:
    await settled(pilot)
    await pilot.press("Q")
    await until(pilot, lambda: isinstance(pilot.app.screen, QueueScreen), "the queue")
    screen = pilot.app.screen
    assert isinstance(screen, QueueScreen)
    await until(pilot, lambda: screen.state is not None, "its runs")
    await settled(pilot)


@sizes
def test_queue_empty(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=queue)


@pytest.fixture
def queued(make_run: MakeRun) -> None:
    names = [
        make_run("stopped", seed=0, done=20).name,
        make_run("running", seed=1, done=30).name,  # its engine is gone: stalled
        make_run("failed", seed=2, done=0, message="The disk is full.").name,
        make_run("queued", seed=3, ratio=0.3, done=0).name,
        make_run("queued", seed=4, ratio=0.5, done=0).name,
    ]
    folder = make_run("queued", seed=5, done=0).parent
    RunQueue(folder).add([*names, "a-run-that-was-deleted"])


@sizes
@pytest.mark.usefixtures("queued")
def test_queue(snap_compare: Compare, make_app: MakeApp, size: tuple[int, int]) -> None:
    async def drive(pilot: Pilot[Any]) -> None:
        await queue(pilot)
        await pilot.press("j")
        await settled(pilot)

    assert snap_compare(make_app(), terminal_size=size, run_before=drive)
