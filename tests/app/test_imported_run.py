"""A run from elsewhere has no spec, no curves and perhaps no filters: every screen shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.facts import Origin
from engine.imports import Columns, make_run, read_csv
from oracle_tui.app import OracleApp
from oracle_tui.screens.run import TABS, RunScreen
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]


@pytest.fixture
def imported(runs_dir: Path, tmp_path: Path) -> Path:
    table = tmp_path / "others.csv"
    rows = "".join(f"{0.1 * i:.1f},{0.9 - 0.01 * i:.2f}\n" for i in range(30))
    table.write_text(f"pruned_train_loss,test_acc\n{rows}")
    return make_run(runs_dir, "others", read_csv([table], Columns())[""], Origin("CSV: x", 30, 1))


async def test_every_tab_shows_it(make_app: MakeApp, imported: Path) -> None:
    app = make_app(imported)
    async with app.run_test() as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunScreen), "the run")
        screen = app.screen
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.view is not None, "its view")
        for key in range(1, 1 + len(TABS)):
            await pilot.press(str(key))
            await settled(pilot)
        view = screen.view
        assert view is not None
        assert (view.status, view.title, view.numbers.n) == ("done", "CSV: x", 30)
        assert view.numbers.tau == pytest.approx(-1)
        assert ("origin", "CSV: x") in view.spec
        assert not any(value == "None" for _, value in view.spec)


async def test_the_list_shows_it_and_its_preview(make_app: MakeApp, imported: Path) -> None:
    app = make_app()
    async with app.run_test(size=(120, 36)) as pilot:
        await settled(pilot)
        screenshot = app.export_screenshot()
        assert "others" in screenshot
        assert "None" not in screenshot
