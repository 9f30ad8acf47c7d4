"""The form: every entry is judged by the same sentences as the command line's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from engine.entries import problems_in
from engine.presets import PRESETS
from engine.store.reader import RunReader
from oracle_tui.app import OracleApp
from oracle_tui.screens.new_run import NewRunScreen
from oracle_tui.screens.run import RunScreen
from oracle_tui.screens.runs import RunsScreen
from oracle_tui.widgets.fields import Field
from tests.app.waiting import settled, until

MakeApp = Callable[..., OracleApp]


async def form(pilot: Pilot[None]) -> NewRunScreen:
    await settled(pilot)
    await pilot.press("n")
    await until(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen), "the form")
    await settled(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, NewRunScreen)
    return screen


def enter(screen: NewRunScreen, name: str, value: str) -> None:
    screen.query_one(f"#field-{name} Input", Input).value = value


def text(screen: NewRunScreen, selector: str) -> str:
    return str(screen.query_one(selector, Static).content)


async def test_it_begins_with_a_preset_that_can_be_started(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        assert screen.spec == PRESETS["quick"].spec
        assert "C(10,2) = 45 candidates" in text(screen, "#outlook")
        assert "about" in text(screen, "#outlook")
        assert not screen.query_one("#start", Button).disabled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers", "conv9"),
        ("ratio", "0"),
        ("ratio", "1"),
        ("ratio", "-3"),
        ("ratio", "nan"),
        ("candidates", "0"),
        ("candidates", "46"),
        ("repeats", "none"),
        ("epochs", "0"),
        ("seed", "-1"),
    ],
)
async def test_a_bad_entry_is_told_beside_it_and_nothing_can_start(
    make_app: MakeApp, runs_dir: Path, name: str, value: str
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        enter(screen, name, value)
        await until(pilot, lambda: screen.spec is None, "the judgement")
        sentence = problems_in(screen.entries, PRESETS["quick"])[name]
        field = screen.query_one(f"#field-{name}", Field)
        assert field.has_class("-wrong")
        assert str(field.query_one(".sentence", Static).content) == sentence
        assert sentence in text(screen, "#reason")
        assert screen.query_one("#start", Button).disabled
        await pilot.press("ctrl+s")
        await settled(pilot)
        assert list(runs_dir.glob("[!.]*")) == []


async def test_a_device_that_is_not_there_is_told(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        enter(screen, "device", "tpu")
        await until(pilot, lambda: screen.spec is None, "the judgement")
        assert "auto, cpu, cuda" in text(screen, "#reason")


async def test_another_model_brings_its_own_layers(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        enter(screen, "layers", "conv1,conv2")
        enter(screen, "ratio", "0.5")
        await until(
            pilot,
            lambda: "C(10,5) x C(10,5) = 63,504" in text(screen, "#outlook"),
            "the number of candidates",
        )


async def test_typing_goes_to_the_field_that_has_the_focus(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        screen = await form(pilot)
        screen.query_one("#field-ratio Input", Input).focus()
        await pilot.press("end", "backspace", "5")
        await until(pilot, lambda: "C(10,5) = 252" in text(screen, "#outlook"), "252")


async def test_start_makes_the_run_and_follows_it(
    make_app: MakeApp, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    # The engine itself is another process's affair, tested where it lives.
    monkeypatch.setattr("engine.control.start_engine", started.append)
    app = make_app()
    async with app.run_test() as pilot:
        await form(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, RunScreen), "the run's screen")
        await settled(pilot)
        (folder,) = runs_dir.glob("[!.]*")
        assert started == [folder]
        assert RunReader(folder).config["spec"] == PRESETS["quick"].spec.to_json()
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)


async def test_a_folder_that_cannot_be_written_is_a_toast(
    make_app: MakeApp, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    app = make_app()
    app.runs_dir = blocked / "runs"
    async with app.run_test() as pilot:
        screen = await form(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app._notifications, "the reason")
        assert app.screen is screen
        assert not screen.query_one("#start", Button).disabled


async def test_escape_leaves_without_starting(make_app: MakeApp, runs_dir: Path) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await form(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert isinstance(app.screen, RunsScreen)
        assert list(runs_dir.glob("[!.]*")) == []
