"""The settings: what they are, which file they are in, and what is wrong there."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from oracle_tui.config import Config, config_path, load_config
from oracle_tui.formats import at_home
from oracle_tui.screens.base import WorkingScreen
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.words import Words

#: What a new file of settings says; every line is the default.
TEMPLATE = """\
# Settings of oracle-tui. Flags and environment variables win over this file.
# theme = "textual-dark"
# mouse = true
# runs_dir = "~/runs"
# export_dir = "~/exports"

# Keys by binding id; the help screen (?) lists what can be remapped.
# [keys]
# "runs.new" = "n"
"""


class SettingsScreen(WorkingScreen[None]):
    """Shows the settings; the file is changed in the person's own editor and checked after it."""

    CSS_PATH = "settings.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="settings.help",
                tooltip="Every key of this screen"),
        Binding("e,enter", "edit", "Edit", id="settings.edit",
                tooltip="Open the file in $EDITOR; it is checked when you come back"),
        Binding("r", "check", "Check again", id="settings.check",
                tooltip="Read the file again and use what it says"),
        Binding("t", "app.change_theme", "Theme", id="settings.theme",
                tooltip="Try a theme; write its name into the file to keep it"),
        Binding("escape", "back", "Back", id="settings.back", tooltip="Back"),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        """Header, settings, keys."""
        yield Words("Settings", id="settings-title")
        with VerticalScroll(id="settings-box"):
            yield Words("", id="settings-words")
        yield KeyLine()

    def on_mount(self) -> None:
        """Check the file at once."""
        self.query_one("#settings-box").focus()
        self.action_check()

    def action_check(self) -> None:
        """Read the file and show what it says."""
        app = self.oracle_app
        problems = app.use_config(load_config())
        words = settings_words(app.config, at_home(app.runs_dir), problems)
        self.query_one("#settings-words", Words).show(words)

    def action_edit(self) -> None:
        """Open the file in the person's editor."""
        path = config_path()
        editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_text(TEMPLATE, encoding="utf-8")
            with self.app.suspend():
                subprocess.run([*editor, str(path)], check=False)
        except (OSError, SuspendNotSupported) as error:
            self.notify(f"{path} cannot be opened here ({error}); edit it yourself, then press r.",
                        severity="error", markup=False)  # fmt: skip
        self.action_check()

    def action_back(self) -> None:
        """Leave."""
        self.dismiss()


def settings_words(config: Config, runs_dir: str, problems: list[str]) -> Text:
    """Return the settings in use, and one line for each problem."""
    path = config_path()
    lines = [
        Text.assemble(("file        ", "dim"), at_home(path), "" if path.exists() else " (none)")
    ]
    folder = config.export_dir
    export_dir = "the working directory" if folder is None else at_home(folder)
    for name, value in (
        ("theme", config.theme),
        ("mouse", "on" if config.mouse else "off (from the next start)"),
        ("runs_dir", runs_dir),
        ("export_dir", export_dir),
    ):
        lines.append(Text.assemble((f"{name:<12}", "dim"), value))
    lines += [Text.assemble((f"{f'[{key}]':<24}", "dim"), to) for key, to in config.keys.items()]
    lines.append(Text(""))
    if problems:
        lines += [Text(f"✗ {problem}", "red") for problem in problems]
    else:
        lines.append(Text("✓ nothing is wrong in it", "green"))
    return Text("\n").join(lines)
