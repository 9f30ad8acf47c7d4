"""Every state of a run, of the list and of the settings, in every look: one start serves four."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pytest_textual_snapshot import SVGImageExtension, normalize_svg
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from engine.store.writer import RunWriter
from oracle_tui.app import OracleApp
from tests.app.conftest import MakeRun
from tests.app.test_snapshots import SIZES, keys, ready

MakeApp = Callable[..., OracleApp]
Drive = Callable[[Pilot[Any]], Awaitable[None]]

THEMES = {"dark": "textual-dark", "light": "textual-light"}
STATES = ("empty", "filtered", "live", "finished", "failed", "stalled", "settings")


def begin(state: str, make_app: MakeApp, make_run: MakeRun) -> tuple[OracleApp, Drive]:
    """Return the app and what leads to a state."""
    if state == "filtered":
        make_run("done")
        make_run("stopped", ratio=0.3, done=30)
        return make_app(), keys("slash", *"0.3")
    if state == "settings":
        return make_app(), keys("comma")
    run = {
        "empty": lambda: None,
        "live": lambda: make_run("running", done=20, training=8),
        "finished": lambda: make_run("done"),
        "failed": lambda: make_run("failed", done=12, message="No space is left on the disk."),
        "stalled": lambda: make_run("running", done=12),
    }[state]()
    return make_app(run), keys()


async def looks(
    app: OracleApp, drive: Drive, snapshot: SnapshotAssertion, names: list[str]
) -> None:
    """Compare the app with what it looked like, in every theme and size of one start."""
    shots = snapshot.use_extension(SVGImageExtension)
    async with app.run_test(size=SIZES[0]) as pilot:
        await drive(pilot)
        for name in names:
            if name in THEMES:
                app.theme = THEMES[name]
            for width, height in SIZES:
                await pilot.resize_terminal(width, height)
                await ready(pilot)
                shot = normalize_svg(app.export_screenshot())
                assert shot == shots(name=f"{name}-{width}x{height}")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("look", ["colour", "no_color"])
async def test_state(
    make_app: MakeApp,
    make_run: MakeRun,
    snapshot: SnapshotAssertion,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    look: str,
) -> None:
    if look == "no_color":
        monkeypatch.setenv("NO_COLOR", "1")
    app, drive = begin(state, make_app, make_run)
    writer = (
        RunWriter.open(app.runs_dir / app.open_run) if state == "live" and app.open_run else None
    )
    try:
        await looks(app, drive, snapshot, [look] if look == "no_color" else list(THEMES))
    finally:
        if writer is not None:
            writer.close()
