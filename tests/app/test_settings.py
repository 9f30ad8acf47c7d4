"""The settings screen, and serving the app: what is wrong is a sentence, never an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Static

from engine.errors import UsageError
from oracle_tui.app import OracleApp
from oracle_tui.screens.palette import Palette
from oracle_tui.screens.settings import SettingsScreen
from tests.app.conftest import MakeRun
from tests.app.waiting import settled

MakeApp = Callable[..., OracleApp]


async def test_the_file_is_checked_and_used_when_it_changed(
    make_app: MakeApp, tmp_path: Path
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("comma")
        assert isinstance(app.screen, SettingsScreen)
        words = app.screen.query_one("#settings-words", Static)
        assert "nothing is wrong" in str(words.content)
        (tmp_path / "config.toml").write_text('theme = "nord"\ntehme = "x"\n')
        await pilot.press("r")
        assert app.theme == "nord"
        assert "did you mean theme?" in str(words.content)
        (tmp_path / "config.toml").write_text('theme = "nrd"\n')
        await pilot.press("r")
        assert "did you mean nord?" in str(words.content)
        await pilot.press("escape")
        assert not isinstance(app.screen, SettingsScreen)


async def test_the_editor_gets_the_file(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "true")
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("comma", "e")
        await settled(pilot)
        # A headless app cannot step aside for an editor; the file is there all the same.
        assert "[keys]" in (tmp_path / "config.toml").read_text()
        assert app.is_running


def test_serving_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from oracle_tui import serving

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"oracle-tui\[serve\]"):
        serving.serve(Path("runs"), 8000)


@pytest.mark.parametrize("size", [(20, 4), (80, 24)])
async def test_the_palette_stands_a_terminal_without_room(
    make_app: MakeApp, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        for opens in (app.action_command_palette, app.search_themes):
            opens()
            await pilot.pause()
            assert isinstance(app.screen, Palette)
            await pilot.press("pagedown", "pageup", "escape")
            await pilot.pause()
            assert not isinstance(app.screen, Palette)


async def test_the_palette_offers_every_command_once(make_app: MakeApp, make_run: MakeRun) -> None:
    make_run("done")
    app = make_app()
    async with app.run_test() as pilot:
        await settled(pilot)
        titles = [command.title for command in app.get_system_commands(app.screen)]
    assert "Bottom" in titles  # of two keys
    assert sorted(titles) == sorted(set(titles))
