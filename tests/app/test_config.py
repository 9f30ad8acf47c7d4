"""Settings: the order of who wins, and that nothing a person writes prevents the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oracle_tui.app import OracleApp, binding_ids
from oracle_tui.config import Config, load_config
from tests.app.waiting import settled


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    def write(text: str) -> dict[str, str]:
        path = tmp_path / "settings.toml"
        path.write_text(text, encoding="utf-8")
        return {"ORACLE_TUI_CONFIG": str(path)}

    return write


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    config = load_config({"ORACLE_TUI_CONFIG": str(tmp_path / "none.toml")})
    assert config.problems == ()
    assert (config.theme, config.mouse, config.runs_dir) == ("textual-dark", True, None)


def test_flag_beats_environment_beats_file(write: Callable[[str], dict[str, str]]) -> None:
    environ = write('theme = "nord"\nmouse = true\nruns_dir = "/from/file"\n')
    assert load_config(environ).theme == "nord"
    assert load_config(environ).runs_dir == Path("/from/file")
    environ |= {"ORACLE_TUI_THEME": "gruvbox", "ORACLE_TUI_MOUSE": "0", "ORACLE_TUI_RUNS": "/env"}
    config = load_config(environ)
    assert (config.theme, config.mouse, config.runs_dir) == ("gruvbox", False, Path("/env"))
    config = load_config(environ, theme="dracula", mouse=True, runs_dir=Path("/flag"))
    assert (config.theme, config.mouse, config.runs_dir) == ("dracula", True, Path("/flag"))


def test_an_unknown_key_names_file_key_and_the_nearest(
    write: Callable[[str], dict[str, str]],
) -> None:
    environ = write('them = "nord"\nmouse = "yes"\n')
    config = load_config(environ)
    first, second = config.problems
    assert environ["ORACLE_TUI_CONFIG"] in first
    assert "'them'" in first
    assert "did you mean theme?" in first
    assert "mouse must be true or false" in second
    assert config.theme == "textual-dark"


@pytest.mark.parametrize("text", ["theme = ", "\x00", "[keys]\n'runs.new' = 3\n"])
def test_a_broken_file_is_one_sentence(write: Callable[[str], dict[str, str]], text: str) -> None:
    config = load_config(write(text))
    assert len(config.problems) == 1


def test_keys_may_be_written_with_dots(write: Callable[[str], dict[str, str]]) -> None:
    config = load_config(write('[keys]\nruns.new = "N"\n"app.quit" = "Q"\n'))
    assert config.keys == {"runs.new": "N", "app.quit": "Q"}


def test_every_binding_has_an_id_and_a_tooltip() -> None:
    from textual.binding import Binding

    from oracle_tui.screens.new_run import NewRunScreen
    from oracle_tui.screens.run import RunScreen
    from oracle_tui.screens.runs import RunsScreen

    for owner in (OracleApp, RunsScreen, RunScreen, NewRunScreen):
        for binding in owner.BINDINGS:
            assert isinstance(binding, Binding)
            assert binding.id
            assert binding.tooltip
    assert {"runs.new", "plot.zoom_in", "scatter.left", "table.top", "app.quit"} <= binding_ids()


async def test_a_bad_theme_and_a_bad_key_are_toasts(runs_dir: Path) -> None:
    config = Config(
        theme="nrod", keys={"runs.nwe": "N", "runs.new": "N"}, path=Path("/the/file.toml")
    )
    app = OracleApp(runs_dir, config=config)
    async with app.run_test() as pilot:
        await settled(pilot)
        toasts = [notification.message for notification in app._notifications]
        assert app.theme == "textual-dark"
        assert any("/the/file.toml" in t and "'nrod'" in t and "mean nord" in t for t in toasts)
        assert any("'runs.nwe'" in t and "mean runs.new" in t for t in toasts)
        await pilot.press("n")
        assert type(app.screen).__name__ == "RunsScreen"
        await pilot.press("N")
        await settled(pilot)
        assert type(app.screen).__name__ == "NewRunScreen"
