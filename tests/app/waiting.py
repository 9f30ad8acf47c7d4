"""Waiting for the app itself, never for a time: its workers, its frames, its screens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static

from oracle_tui.app import OracleApp
from oracle_tui.plots.plot import Plot
from oracle_tui.screens.run import RunScreen

PATIENCE = 60.0


async def until(pilot: Pilot[Any], reached: Callable[[], object], what: str) -> None:
    """Let the app work until something holds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not reached():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await pilot.pause(0.01)


async def settled(pilot: Pilot[Any]) -> None:
    """Let the app work until its screen shows everything that was asked for."""
    app = pilot.app
    await pilot.pause()

    def quiet() -> bool:
        screen = app.screen
        plots = [plot for plot in screen.query(Plot) if plot.visible_region]
        return not any(
            worker.is_running or not worker.is_finished for worker in app.workers
        ) and all(plot.waits or (plot.frame is not None and not plot.due) for plot in plots)

    await until(pilot, quiet, "the app to settle")
    await pilot.pause()


@asynccontextmanager
async def opened(
    app: OracleApp, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Pilot[Any], RunScreen]]:
    """Start the app and let it open the run that it was told to, whole."""
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunScreen), "the run")
        screen = app.screen
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.view is not None, "its view")
        await settled(pilot)
        yield pilot, screen


def text(app: OracleApp, selector: str) -> str:
    """Return the words that a part of the screen shows."""
    return str(app.screen.query_one(selector, Static).content)
