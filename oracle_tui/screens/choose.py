"""A short list to choose one thing from; the keys are those of every list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option


class ChooseScreen(ModalScreen[str | None]):
    """Ends with the chosen value, or with None."""

    CSS_PATH = "choose.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Close", id="choose.close",
                tooltip="Close without choosing"),
        Binding("j", "step(1)", "Down", id="choose.down", show=False, tooltip="Next"),
        Binding("k", "step(-1)", "Up", id="choose.up", show=False, tooltip="Previous"),
    ]  # fmt: skip

    def __init__(
        self, title: str, choices: Sequence[tuple[str, str]], current: str | None = None
    ) -> None:
        """Take (shown, value) pairs and the value to begin at."""
        super().__init__()
        self._title = title
        self._choices = choices
        self._current = current

    def compose(self) -> ComposeResult:
        """One line a choice."""
        options = [Option(shown.replace("[", r"\["), id=value) for shown, value in self._choices]
        yield OptionList(*options, id="choices", compact=True)

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        box = self.query_one(OptionList)
        box.border_title = self._title
        box.border_subtitle = "enter takes, esc closes"
        values = [value for _, value in self._choices]
        if self._current in values:
            box.highlighted = values.index(self._current)

    def action_step(self, step: int) -> None:
        """Go up or down."""
        box = self.query_one(OptionList)
        if step > 0:
            box.action_cursor_down()
        else:
            box.action_cursor_up()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take it."""
        self.dismiss(event.option_id)
