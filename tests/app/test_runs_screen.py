"""The list of runs, driven by keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from engine.store.reader import RunReader
from engine.store.requests import pending_request
from engine.store.writer import RunWriter
from engine.tables import export_csv
from oracle_tui.app import OracleApp
from oracle_tui.filters import matches
from oracle_tui.screens.confirm import ConfirmScreen
from oracle_tui.screens.run import RunScreen
from oracle_tui.screens.runs import RunsScreen
from oracle_tui.views import RunRow
from oracle_tui.widgets.preview import Preview
from oracle_tui.widgets.run_table import WIDTHS, _id
from oracle_tui.widgets.tables import KeyTable
from tests.app.conftest import MakeRun
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]


def shown(app: OracleApp) -> list[str]:
    screen = app.screen
    assert isinstance(screen, RunsScreen)
    return [row.status for row in screen.table.runs]


def toasts(app: OracleApp) -> str:
    return "\n".join(notification.message for notification in app._notifications)


async def test_an_empty_folder_says_what_to_press(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        empty = app.screen.query_one("#runs-empty", Static)
        assert empty.display
        assert "n starts one" in str(empty.content)


async def test_runs_are_listed_live_ones_first(make_app: MakeApp, make_run: MakeRun) -> None:
    make_run("done", seed=0)
    make_run("failed", seed=1, done=3, message="The disk is full.")
    make_run("queued", seed=2)
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        assert shown(app)[0] == "queued"
        assert sorted(shown(app)) == ["done", "failed", "queued"]


async def test_a_new_run_appears_by_itself_and_the_cursor_stays(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    first = make_run("done", seed=0)
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        second = make_run("queued", seed=1)
        await until(pilot, lambda: len(shown(app)) == 2, "the second run")
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        assert [row.path for row in screen.table.runs] == [second, first]
        assert screen.current is not None
        assert screen.current.path == first


async def test_the_filter_applies_while_it_is_typed(make_app: MakeApp, make_run: MakeRun) -> None:
    make_run("done", seed=0)
    make_run("stopped", seed=1, done=5)
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("/", *"status:sto")
        assert shown(app) == ["stopped"]
        await pilot.press(*"xxx")
        assert shown(app) == []
        assert "No run matches" in str(app.screen.query_one("#runs-empty", Static).content)
        await pilot.press("escape")
        assert len(shown(app)) == 2
        assert not app.screen.query_one("#filter", Input).display
        assert app.screen.query_one(KeyTable).has_focus


async def test_keys_of_the_filter_do_not_act_on_runs(make_app: MakeApp, make_run: MakeRun) -> None:
    make_run("done")
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("/", *"qnd")
        assert app.is_running
        assert isinstance(app.screen, RunsScreen)


async def test_enter_opens_and_escape_comes_back(make_app: MakeApp, make_run: MakeRun) -> None:
    path = make_run("done")
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("enter")
        await settled(pilot)
        assert isinstance(app.screen, RunScreen)
        assert app.screen.path == path
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)


async def test_export_writes_the_bytes_of_the_tables(
    make_app: MakeApp, make_run: MakeRun, tmp_path: Path
) -> None:
    path = make_run("done")
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("e")
        await until(pilot, lambda: "Wrote" in toasts(app), "the export")
        for table in ("candidates", "summary"):
            written = tmp_path / f"{path.name}-{table}.csv"
            assert written.read_bytes() == export_csv([RunReader(path)], table)
        assert str(tmp_path) in toasts(app)


async def test_stop_asks_and_then_leaves_a_request(make_app: MakeApp, make_run: MakeRun) -> None:
    path = make_run("paused", done=10)
    engine = RunWriter.open(path)  # somebody holds the lock
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("s")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("enter")  # the safe answer has the focus
        await settled(pilot)
        assert pending_request(path) is None
        await pilot.press("s", "y")
        await until(pilot, lambda: pending_request(path) == "stop", "the request")
    engine.close()


async def test_p_goes_on_with_a_paused_run(make_app: MakeApp, make_run: MakeRun) -> None:
    path = make_run("paused", done=10)
    engine = RunWriter.open(path)  # somebody holds the lock
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: pending_request(path) == "resume", "the request")
    engine.close()


async def test_pausing_a_run_without_an_engine_says_so(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    path = make_run("queued", done=0)
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("p")
        await until(pilot, lambda: "has no engine to pause" in toasts(app), "the reason")
        assert pending_request(path) is None


async def test_resume_starts_an_engine_where_none_is_left(
    make_app: MakeApp, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    # The engine itself is another process's affair, tested where it lives.
    monkeypatch.setattr("engine.control.start_engine", started.append)
    path = make_run("stopped", done=10)
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("r")
        await until(pilot, lambda: started == [path], "the engine")


async def test_delete_asks_and_removes_every_selected_run(
    make_app: MakeApp, make_run: MakeRun, runs_dir: Path
) -> None:
    kept, *gone = (make_run("done", seed=seed) for seed in range(3))
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        for path in gone:
            at = [row.path for row in screen.table.runs].index(path)
            screen.query_one(KeyTable).move_cursor(row=at)
            await pilot.press("space")
        await pilot.press("d")
        assert all(path.exists() for path in gone)
        await pilot.press("y")
        await until(pilot, lambda: not any(path.exists() for path in gone), "the deletion")
        assert kept.exists()
        await until(pilot, lambda: len(screen.table.runs) == 1, "the list")


async def test_the_example_cannot_be_deleted(
    make_app: MakeApp, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    source = make_run("done")
    (shipped / "example.h5").write_bytes((source / "run.h5").read_bytes())
    monkeypatch.setattr("oracle_tui.listing.example_folders", lambda: [shipped])
    from oracle_tui.listing import _example_rows

    _example_rows.cache_clear()
    app = make_app()
    try:
        async with app.run_test() as pilot:
            await until(pilot, lambda: len(shown(app)) == 2, "the example")
            await pilot.press("G", "d")
            await settled(pilot)
            assert isinstance(app.screen, RunsScreen)
            assert "stays" in toasts(app)
            assert [path.name for path in shipped.iterdir()] == ["example.h5"]
    finally:
        _example_rows.cache_clear()


async def test_an_unreadable_run_is_a_row_and_opening_it_says_why(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    path = make_run("done")
    (path / "run.h5").write_bytes(b"this is no run file")
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        assert screen.rows[0].error
        await pilot.press("enter")
        await until(pilot, lambda: toasts(app), "the reason")
        assert app.is_running


async def test_a_wide_terminal_previews_the_highlighted_run(
    make_app: MakeApp, make_run: MakeRun
) -> None:
    make_run("done")
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: bool(app.screen.query(Preview)), "the preview")
        await settled(pilot)
        numbers = app.screen.query_one("#preview-numbers", Static)
        await until(pilot, lambda: "n=45" in str(numbers.content), "its numbers")


async def test_copy_sends_the_id_to_the_terminal(make_app: MakeApp, make_run: MakeRun) -> None:
    path = make_run("done")
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("y")
        assert app.clipboard == path.name
        assert "Sent to the terminal" in toasts(app)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ("lenet", True),
        ("LENET done", True),
        ("status:done", True),
        ("status:fail", False),
        ("ratio:0.2 conv1", True),
        ("resnet", False),
        ("nofield:x", False),
        ("tau<-0.2", True),
        ("tau<-0.6 status:done", False),
        ("released", True),
        ("wiring:correct", False),
        ("n>=45 tau>-1", True),
        ("ratio=0.2", True),
        ("tau<", True),
        ("tau<abc", False),
    ],
)
def test_filters(text: str, found: bool) -> None:
    row = RunRow(
        id="99204e-x", path=Path("x"), model="lenet5-mini", dataset="mnist-5k", layers="conv1",
        ratio="0.2", wiring="released", status="done", n_done=45, n_total=45, tau=-0.5, n=45,
        created=0.0,
    )  # fmt: skip
    assert matches(row, text) is found


def test_ids_are_told_apart_in_their_column() -> None:
    width = WIDTHS["id"]
    shown = [
        _id(name)
        for name in ("99204e-lenet5-mini-mnist-5k-conv1-0.2", "99204e-lenet5-mini-conv1-0.2-2",
                     "99204e-lenet5-mini-conv1-0.2-12", "imported-others", "imported-a_long_table")
    ]  # fmt: skip
    assert shown == ["99204e", "99204·2", "9920·12", "others", "a_long…"]
    assert all(len(each) <= width for each in shown)
