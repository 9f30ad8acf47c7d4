"""The terminal app: themes, keys, signals, and which screen is shown. Screens do the rest."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from textual import on
from textual._compositor import CompositorUpdate
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import Screen

from oracle_tui.acts import Acts
from oracle_tui.config import DEFAULT_THEME, Config, load_config, nearest
from oracle_tui.key_order import KeyOrderApp
from oracle_tui.painting import Changes, Shown
from oracle_tui.screens.runs import RunsScreen


class OracleApp(KeyOrderApp):
    """Explores pruning studies: the list of runs below, everything else above it."""

    TITLE = "oracle-tui"
    # Textual does not load the stylesheet of the screen an app begins with.
    CSS_PATH = ["app.tcss", "screens/runs.tcss"]  # noqa: RUF012
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave", "Quit", id="app.quit",
                tooltip="Leave the app; engines go on in the background (ctrl+q while you type)"),
        Binding("question_mark", "help", "Help", id="app.help", show=False,
                tooltip="Every key of this screen"),
        Binding("Q", "queue", "Queue", id="app.queue", show=False,
                tooltip="The runs that wait, in their order, and who works on them"),
        Binding("comma", "settings", "Settings", id="app.settings", show=False,
                tooltip="The settings, where they come from, and what is wrong in them"),
        Binding("ctrl+p", "command_palette", "Palette", id="app.palette", show=False,
                tooltip="Search for a command"),
        Binding("ctrl+l", "redraw", "Redraw", id="app.redraw", show=False,
                tooltip="Draw everything again, where something else wrote on the terminal"),
        Binding("ctrl+z", "suspend_process", "Suspend", id="app.suspend", show=False,
                tooltip="Give the terminal back to the shell; fg there comes back"),
    ]  # fmt: skip

    def __init__(
        self, runs_dir: Path, *, open_run: str | None = None, config: Config | None = None
    ) -> None:
        """Make the app.

        Args:
            runs_dir: folder of runs; it need not exist yet.
            open_run: id, unique prefix or path of a run to open at once.
            config: settings; read from their file where not given.
        """
        super().__init__()
        self.runs_dir = runs_dir
        self.open_run = open_run
        self.config = load_config() if config is None else config
        self.animation_level = "none"  # moving underlines cost bytes on a slow line
        self.live_runs: dict[str, str] = {}  # id -> status, as far as seen
        self.run_places: dict[str, int] = {}  # of runs among the glyphs of comparisons
        self.acts = Acts()
        self.shown = Shown()
        self._painted: Screen[Any] | None = None

    def get_driver_class(self) -> type[Driver]:
        """Take Textual's driver, and ours in place of that for a terminal."""
        chosen = super().get_driver_class()
        if chosen.__name__ != "LinuxDriver":
            return chosen
        from oracle_tui.terminal import TerminalDriver

        return TerminalDriver

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        """Send of an update only what the terminal does not show yet; a new screen is sent whole.

        It is a private method of Textual, whose version is pinned. Should a new one have it no
        more, only bytes are lost.
        """
        if screen is not self._painted:
            self._painted = screen
            self.shown.forget()
        if isinstance(renderable, CompositorUpdate) and not self.is_inline:
            renderable = Changes(self.shown, renderable, self.size)
        super()._display(screen, renderable)

    def action_redraw(self) -> None:
        """Send everything again: something else has written on the terminal."""
        self.shown.forget()
        self.refresh(layout=True)

    @on(Driver.SignalResume)
    def _continued(self) -> None:
        """Draw everything again after a stop: the shell has had the terminal meanwhile."""
        self.action_redraw()

    def get_default_screen(self) -> Screen[None]:
        """Begin with the list of runs."""
        return RunsScreen()

    def on_mount(self) -> None:
        """Take signals over and apply the settings; what is wrong in them is only told."""
        self._handle_signals()
        for problem in self.use_config(self.config):
            self.notify(problem, title="Settings", severity="warning", timeout=10, markup=False)

    def _remap_keys(self) -> list[str]:
        if not self.config.keys:
            self.set_keymap({})
            return []
        known = binding_ids()
        problems = [
            f"{self.config.path}: there is no key binding {name!r}{nearest(name, sorted(known))}."
            for name in self.config.keys
            if name not in known
        ]
        self.set_keymap({name: key for name, key in self.config.keys.items() if name in known})
        return problems

    def _handle_signals(self) -> None:
        """Leave in order when the terminal hangs up or the process is asked to end.

        Without a handler Textual would die at once on a hang-up, and spin where it is ignored.
        """
        loop = asyncio.get_running_loop()
        for name in ("SIGHUP", "SIGTERM"):
            number = getattr(signal, name, None)
            if number is not None:
                loop.add_signal_handler(number, self._hung_up, 128 + number)

    def _hung_up(self, code: int) -> None:
        self.exit(return_code=code)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Offer the bindings of the screen in the palette, beside Textual's own commands."""
        offered: set[str] = set()  # a binding of two keys is there twice
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.id and binding.tooltip and active.enabled and binding.id not in offered:
                offered.add(binding.id)
                action, node = binding.action, active.node
                yield SystemCommand(
                    binding.description,
                    binding.tooltip,
                    lambda action=action, node=node: self.run_worker(
                        self.run_action(action, default_namespace=node)
                    ),
                )
        yield SystemCommand("Theme", "Choose how the app looks", self.action_change_theme)

    def action_command_palette(self) -> None:
        """Search for a command."""
        from oracle_tui.screens.palette import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        """Choose a theme, in the same palette."""
        from textual.theme import ThemeProvider

        from oracle_tui.screens.palette import Palette

        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def action_help(self) -> None:
        """Show every key."""
        from oracle_tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen, self.config.keys))

    def action_queue(self) -> None:
        """Show the queue; where it is open below, go back to it."""
        from oracle_tui.screens.queue import QueueScreen

        for screen in self.screen_stack:
            if isinstance(screen, QueueScreen):
                while self.screen is not screen:
                    self.pop_screen()
                return
        self.push_screen(QueueScreen())

    def action_settings(self) -> None:
        """Show the settings."""
        from oracle_tui.screens.settings import SettingsScreen

        if not isinstance(self.screen, SettingsScreen):
            self.push_screen(SettingsScreen())

    def use_config(self, config: Config) -> list[str]:
        """Take settings over as far as a running app can; return what is wrong in them."""
        self.config = config
        problems = list(config.problems)
        if config.theme in self.available_themes:
            self.theme = config.theme
        else:
            hint = nearest(config.theme, list(self.available_themes))
            problems.append(f"{config.path}: there is no theme {config.theme!r}{hint}.")
            self.theme = DEFAULT_THEME
        return problems + self._remap_keys()

    def action_leave(self) -> None:
        """Quit; engines stay."""
        self.exit()

    def action_help_quit(self) -> None:
        """Say after ctrl+c, which copies what is selected, how the app is left."""
        key = self.get_key_display(Binding(self.config.keys.get("app.quit", "q").split(",")[0], ""))
        words = f"{key} leaves, or ctrl+q while you type; engines go on in the background."
        self.notify(words, markup=False)


def binding_ids() -> set[str]:
    """Return the id of every binding that can be remapped."""
    from oracle_tui.plots.line import LinePlot
    from oracle_tui.plots.scatter import ScatterPlot
    from oracle_tui.screens.choose import ChooseScreen
    from oracle_tui.screens.compare import CompareScreen
    from oracle_tui.screens.confirm import ConfirmScreen
    from oracle_tui.screens.help import HelpScreen
    from oracle_tui.screens.new_run import NewRunScreen
    from oracle_tui.screens.pick import PickScreen
    from oracle_tui.screens.queue import QueueScreen
    from oracle_tui.screens.run import RunScreen
    from oracle_tui.screens.settings import SettingsScreen
    from oracle_tui.screens.sweep import SweepScreen
    from oracle_tui.widgets.candidates import CandidateTable
    from oracle_tui.widgets.fields import Asks
    from oracle_tui.widgets.tables import KeyTable

    owners = (
        OracleApp, RunsScreen, NewRunScreen, SweepScreen, QueueScreen, RunScreen, CompareScreen,
        HelpScreen, ConfirmScreen, ChooseScreen, PickScreen, SettingsScreen, KeyTable, Asks,
        CandidateTable, LinePlot, ScatterPlot,
    )  # fmt: skip
    return {
        binding.id
        for owner in owners
        for kind in owner.__mro__
        for binding in vars(kind).get("BINDINGS", ())
        if isinstance(binding, Binding) and binding.id
    }


def run_app(
    runs_dir: Path,
    *,
    open_run: str | None = None,
    mouse: bool = True,
    config: Config | None = None,
) -> NoReturn:
    """Run the app until it is left, and end the process; engines it started go on.

    The exit code is 0, or 128 and the number of the signal that ended it.

    Args:
        runs_dir: folder of runs.
        open_run: id, unique prefix or path of a run to open at once.
        mouse: whether to use the mouse; the settings can only turn it off.
        config: settings; read from their file where not given.
    """
    app = OracleApp(runs_dir, open_run=open_run, config=config)
    if isinstance(sys.__stderr__, io.TextIOWrapper):
        # What Textual writes to. Terminals read UTF-8, whatever the locale says of text in files.
        sys.__stderr__.reconfigure(encoding="utf-8", errors="replace")
    loop = asyncio.new_event_loop()
    app.run(mouse=mouse and app.config.mouse, loop=loop)
    going_on = sorted(name for name, status in app.live_runs.items() if status == "running")
    if going_on and (app.return_code or 0) == 0:
        runs = going_on[0] if len(going_on) == 1 else f"{len(going_on)} runs"
        goes = "goes" if len(going_on) == 1 else "go"
        print(f"{runs} {goes} on in the background; oracle-tui shows it again.", file=sys.stderr)
    app.acts.wait()
    code = app.return_code or 0
    # What threads still read or compute is for nobody any more, but Python would wait for it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
