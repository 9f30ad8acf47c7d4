"""Sweeps and the queue: what is queued, moved and removed is what `oracle-tui queue` sees."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from engine.errors import UsageError
from engine.queueing import QueueReader, queue_engine_pid, stop_queue
from engine.store.lock import RunLock
from engine.waiting import ENGINE_LOCK_NAME, LOG_NAME, RunQueue
from oracle_tui.app import OracleApp
from oracle_tui.screens.confirm import ConfirmScreen
from oracle_tui.screens.new_run import NewRunScreen
from oracle_tui.screens.queue import QueueScreen
from oracle_tui.screens.run import RunScreen
from oracle_tui.screens.sweep import SweepScreen
from oracle_tui.widgets.tables import KeyTable
from tests.app.conftest import MakeRun
from tests.app.test_new_run_screen import enter, form
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]


async def queue_screen(pilot: Pilot[None]) -> QueueScreen:
    await settled(pilot)
    await pilot.press("Q")
    await until(pilot, lambda: isinstance(pilot.app.screen, QueueScreen), "the queue")
    screen = pilot.app.screen
    assert isinstance(screen, QueueScreen)
    await until(pilot, lambda: screen.state is not None, "its runs")
    await pilot.pause()
    return screen


def text(screen: QueueScreen | SweepScreen, selector: str) -> str:
    return str(screen.query_one(selector, Static).content)


def listed(screen: QueueScreen) -> list[str]:
    table = screen.query_one(KeyTable)
    return [str(table.get_row_at(row)[1]) for row in range(table.row_count)]


@pytest.fixture
def three(make_run: MakeRun, runs_dir: Path) -> list[str]:
    """Three queued runs; the first half done and stopped."""
    names = [
        make_run("stopped", seed=0, done=20).name,
        make_run("queued", seed=1, done=0).name,
        make_run("queued", seed=2, ratio=0.3, done=0).name,
    ]
    RunQueue(runs_dir).add(names)
    return names


async def test_a_sweep_of_three_ratios_queues_three_runs(make_app: MakeApp, runs_dir: Path) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await enter(pilot, screen, "ratio", "0.2; 0.3; 0.5")
        assert "3 studies, 417 candidates" in str(screen.query_one("#outlook", Static).content)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen), "the studies")
        await pilot.pause()
        sweep = app.screen
        assert isinstance(sweep, SweepScreen)
        table = sweep.query_one(KeyTable)
        assert [str(table.get_row_at(row)[1]) for row in range(3)] == ["0.2", "0.3", "0.5"]
        assert "417 retrainings" in text(sweep, "#sweep-outlook")
        assert RunQueue(runs_dir).names() == []
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen), "the queue")
        queue = app.screen
        assert isinstance(queue, QueueScreen)
        await until(pilot, lambda: queue.state is not None, "its runs")
        await pilot.pause()
        names = RunQueue(runs_dir).names()
        assert [name.rpartition("-")[2] for name in names] == ["0.2", "0.3", "0.5"]
        assert listed(queue) == names
        # Neither the form nor the list of studies is left below.
        assert not any(isinstance(one, NewRunScreen | SweepScreen) for one in app.screen_stack)


async def test_a_wrong_value_of_a_sweep_is_told_with_its_study(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await enter(pilot, screen, "ratio", "0.2; 2")
        said = str(screen.query_one("#field-ratio .sentence", Static).content)
        assert said.startswith("The study with ratio 2 cannot be: The ratio must be between 0")


async def test_an_empty_queue_says_what_to_do(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await queue_screen(pilot)
        assert "n opens the form" in text(screen, "#queue-empty")
        await pilot.press("s", "p", "d", "J", "y", "plus", "enter")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen, "the runs")


async def test_runs_are_moved_and_removed(
    make_app: MakeApp, runs_dir: Path, three: list[str]
) -> None:
    a, b, c = three
    queue = RunQueue(runs_dir)
    app = make_app()
    async with app.run_test() as pilot:
        screen = await queue_screen(pilot)
        assert listed(screen) == [a, b, c]
        for key, wanted in (
            ("J", [b, a, c]),
            ("J", [b, c, a]),
            ("J", [b, c, a]),  # there is no place further down
            ("less_than_sign", [a, b, c]),
            ("greater_than_sign", [b, c, a]),
            ("K", [b, a, c]),
        ):
            await pilot.press(key)
            await until(
                pilot, lambda wanted=wanted: listed(screen) == wanted, f"the order after {key}"
            )
            await until(pilot, lambda wanted=wanted: queue.names() == wanted, "the file")
            # The cursor goes with the run.
            await until(pilot, lambda: screen.current and screen.current.id == a, "the run")
        await pilot.press("J", "K", "J")  # as fast as keys come
        await settled(pilot)
        await until(pilot, lambda: queue.names() == listed(screen) == [b, c, a], "the last word")
        await pilot.press("d")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("n", "d", "y")
        await until(pilot, lambda: listed(screen) == [b, c], "one run fewer")
        assert queue.names() == [b, c]
        assert (runs_dir / a).is_dir()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen), "the run's own screen")


async def test_it_shows_what_others_do_to_the_queue(
    make_app: MakeApp, runs_dir: Path, three: list[str]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        screen = await queue_screen(pilot)
        assert "Nobody works through it; s starts" in text(screen, "#queue-about")
        (runs_dir / LOG_NAME).write_text("12:00:00 all devices are taken\n")
        lock = RunLock.acquire(runs_dir / ENGINE_LOCK_NAME)  # as whoever works through it does
        try:
            RunQueue(runs_dir).remove(three[1])
            await until(pilot, lambda: listed(screen) == [three[0], three[2]], "the change")
            about = text(screen, "#queue-about")
            assert f"Process {queue_engine_pid(runs_dir)} works through it" in about
            assert "all devices are taken" in about
            assert "20 of 45 retrainings" in about
        finally:
            lock.release()


async def test_s_starts_who_works_through_it(
    make_app: MakeApp, runs_dir: Path, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, int | None]] = []

    def start(folder: Path, at_once: int | None) -> str:
        asked.append((folder, at_once))
        return "It begins."

    # The process itself is tested with the command line.
    monkeypatch.setattr("engine.queueing.start_queue", start)
    app = make_app()
    async with app.run_test() as pilot:
        screen = await queue_screen(pilot)
        await pilot.press("plus", "plus", "minus")
        assert "2 at once" in text(screen, "#queue-about")
        await pilot.press("s")
        await until(pilot, lambda: asked, "the start")
        assert asked == [(runs_dir, 2)]


async def test_a_puts_runs_of_the_list_into_the_queue(
    make_app: MakeApp, make_run: MakeRun, runs_dir: Path
) -> None:
    stopped, done = make_run("stopped", seed=0, done=20), make_run("done", seed=1)
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("space", "space", "a")
        await until(pilot, lambda: app._notifications, "the refusal")
        assert "is done; there is nothing to queue" in next(n.message for n in app._notifications)
        assert RunQueue(runs_dir).names() == []
        await pilot.press("escape", "slash", *stopped.name[:6], "enter", "a")
        await until(pilot, lambda: RunQueue(runs_dir).names() == [stopped.name], "the queue")
    assert done.is_dir()


def test_a_run_that_is_gone_is_missing_not_fatal(runs_dir: Path, three: list[str]) -> None:

    reader = QueueReader(runs_dir)
    reader.read()
    shutil.rmtree(runs_dir / three[0])
    first, second, _ = reader.read().runs
    assert (first.status, second.status) == ("missing", "queued")
    assert second.seconds is not None
    assert second.seconds > 0
    with pytest.raises(UsageError, match="Nobody on this machine"):
        stop_queue(runs_dir)
