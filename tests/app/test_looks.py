"""Every screen and tab in light and without colours, narrow and wide, and the palette in the dark.

One start of the app goes through many screens, since the start costs most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pytest_textual_snapshot import SVGImageExtension, normalize_svg
from syrupy.assertion import SnapshotAssertion
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.widgets import Static

from oracle_tui.app import OracleApp
from oracle_tui.screens.sweep import SweepScreen
from tests.app.conftest import MakeRun
from tests.app.test_form_snapshots import _measured_rates, form, queue, queued
from tests.app.test_snapshots import SIZES, keys, ready
from tests.app.waiting import until

MakeApp = Callable[..., OracleApp]
Shoot = Callable[[str], Awaitable[None]]
Tour = Callable[[Pilot[Any], Shoot], Awaitable[None]]

__all__ = ["_measured_rates", "queued"]  # fixtures that are used by name

LOG = ["2026-01-02T03:04:05Z stage: retraining", "2026-01-02T03:05:05Z done"]


async def of_a_run(pilot: Pilot[Any], shoot: Shoot) -> None:
    """Every tab of a run of one of the paper's panels, then what lies over it."""
    await keys("o", "space")(pilot)
    for tab in "12345678":
        await pilot.press(tab)
        await shoot(pilot.app.screen.tab)  # type: ignore[attr-defined]
    await pilot.press("1", "v")
    await shoot("axes")
    await pilot.press("escape", "question_mark")
    await shoot("help")
    await pilot.press("escape", "s")
    await shoot("nothing-to-stop")


async def of_a_comparison(pilot: Pilot[Any], shoot: Shoot) -> None:
    """Every tab of a comparison of four runs, two of which differ in the wiring alone."""
    await keys(*["space"] * 4, "c")(pilot)
    await until(pilot, lambda: getattr(pilot.app.screen, "found", None), "the comparison")
    for tab in "123456":
        await pilot.press(tab)
        await shoot(f"compare-{tab}")


async def of_what_is_made(pilot: Pilot[Any], shoot: Shoot) -> None:
    """The form, a sweep before it is queued, and the queue."""
    await queue(pilot)
    await pilot.press("j")
    await shoot("queue")
    await pilot.press("escape")
    await form({"ratio": "0.2; 0.3; 0.5", "model": "lenet5-minni"})(pilot)
    await shoot("form-wrong")
    await pilot.press("escape")
    await form({"ratio": "0.2; 0.3; 0.5"}, "ctrl+s")(pilot)
    await until(pilot, lambda: isinstance(pilot.app.screen, SweepScreen), "the studies")
    await shoot("sweep")


async def of_the_list(pilot: Pilot[Any], shoot: Shoot) -> None:
    """Selected runs, the question before one is deleted, and the command palette."""
    await keys("space", "j")(pilot)
    await shoot("selected")
    await pilot.press("d")
    await shoot("delete")
    await pilot.press("escape", "ctrl+p")
    await until(pilot, lambda: isinstance(pilot.app.screen, CommandPalette), "the palette")
    await pilot.press(*"queue")
    await until(pilot, lambda: pilot.app.screen.query_one("CommandList").option_count, "commands")  # type: ignore[attr-defined]
    await shoot("palette")


def reading(pilot: Pilot[Any]) -> bool:
    """Whether anything on screen says that it is not there yet."""
    shown = (each for each in pilot.app.screen.query(Static) if each.region)
    return any("eading…" in str(each.content) for each in shown)


TOURS: dict[str, Tour] = {
    "run": of_a_run,
    "compare": of_a_comparison,
    "making": of_what_is_made,
    "list": of_the_list,
}
# What other tests show in the dark theme already is left out there.
LOOKS = [*((look, tour) for look in ("light", "no_color") for tour in TOURS), ("dark", "list")]


def begin(tour: str, make_app: MakeApp, make_run: MakeRun, **settings: str) -> OracleApp:
    """Make the runs of a tour, and the app."""
    if tour == "run":
        return make_app(make_run("done", dataset="mnist"), **settings)
    if tour == "compare":
        for seed, ratio in ((0, 0.2), (1, 0.2), (2, 0.3)):
            make_run("done", seed=seed, ratio=ratio)
        make_run("done", wiring="released")
    elif tour == "list":
        make_run("done")
        make_run("stopped", ratio=0.3, done=30)
    return make_app(**settings)


@pytest.mark.usefixtures("_measured_rates")
@pytest.mark.parametrize(("look", "tour"), LOOKS, ids=["-".join(each) for each in LOOKS])
async def test_looks(
    make_app: MakeApp,
    make_run: MakeRun,
    request: pytest.FixtureRequest,
    snapshot: SnapshotAssertion,
    monkeypatch: pytest.MonkeyPatch,
    look: str,
    tour: str,
) -> None:
    monkeypatch.setattr("engine.store.reader.RunReader.log_tail", lambda _, lines: LOG)
    if tour == "making":
        request.getfixturevalue("queued")
    if look == "no_color":
        monkeypatch.setenv("NO_COLOR", "1")
    theme = "textual-light" if look == "light" else "textual-dark"
    app = begin(tour, make_app, make_run, theme=theme)
    shots = snapshot.use_extension(SVGImageExtension)
    async with app.run_test(size=SIZES[0]) as pilot:

        async def shoot(name: str) -> None:
            for width, height in SIZES:
                await pilot.resize_terminal(width, height)
                await ready(pilot)
                await until(pilot, lambda: not reading(pilot), "what is read")
                await ready(pilot)
                assert normalize_svg(app.export_screenshot()) == shots(
                    name=f"{name}-{width}x{height}"
                )
            await pilot.resize_terminal(*SIZES[0])
            await ready(pilot)

        await TOURS[tour](pilot, shoot)
