"""Pictures of the app for the README: `python -m benchmarks.screenshots [FOLDER]`.

The app itself is driven by keys, over the recorded runs that ship with it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from oracle_tui.app import OracleApp
from oracle_tui.config import Config
from oracle_tui.plots.plot import Plot
from oracle_tui.screens.compare import CompareScreen
from oracle_tui.screens.run import RunScreen
from oracle_tui.screens.runs import RunsScreen
from oracle_tui.widgets.preview import Preview

SIZE = (116, 32)
PATIENCE = 60.0


async def until(pilot: Pilot[Any], reached: Callable[[], object]) -> None:
    """Let the app work until something holds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not reached():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError("the app does not show what was waited for")
        await pilot.pause(0.02)


async def settle(pilot: Pilot[Any]) -> None:
    """Let the app work until every plot on screen is drawn and no worker is at work."""
    await pilot.pause()

    def quiet() -> bool:
        plots = [plot for plot in pilot.app.screen.query(Plot) if plot.visible_region]
        drawn = all(plot.frame is not None and not plot.due for plot in plots)
        return drawn and not any(not worker.is_finished for worker in pilot.app.workers)

    await until(pilot, quiet)
    await pilot.pause()


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys one after the other."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def take(folder: Path, runs: Path) -> None:
    """Drive the app, and write each picture when its screen is there."""
    app = OracleApp(runs, config=Config())

    def save(name: str, title: str) -> None:
        svg = app.export_screenshot(title=title)
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        print(folder / f"{name}.svg", f"{len(svg) // 1000} kB")

    async with app.run_test(size=SIZE) as pilot:
        listed = app.screen
        assert isinstance(listed, RunsScreen)
        await until(pilot, lambda: len(listed.rows) >= 3)
        place = next(at for at, row in enumerate(listed.table.runs) if row.ratio == "0.5")
        await press(pilot, *["j"] * place)
        await until(pilot, lambda: listed.query_one(Preview).view is not None)
        await settle(pilot)
        save("runs", "oracle-tui: the list of runs")
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.view)
        await press(pilot, "b", "left", "left", "down")
        save("scatter", "oracle-tui: every candidate of a run")
        await press(pilot, "escape", "slash", *"fashion", "enter")
        await press(pilot, "g", "space", "space", "c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.found)
        await settle(pilot)
        save("compare", "oracle-tui: one study with both wirings")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/screenshots"))
    folder = parser.parse_args(arguments).folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        runs = Path(home) / ".local/share/oracle-tui/runs"
        os.environ.update(HOME=home, ORACLE_TUI_CACHE=f"{home}/.cache", TZ="UTC")
        asyncio.run(take(folder, runs))


if __name__ == "__main__":
    main()
