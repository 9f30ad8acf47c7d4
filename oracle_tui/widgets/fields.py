"""One line of the form: a name, a box or a choice, and a sentence about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Select

from oracle_tui.widgets.words import Words


class Field(Horizontal):
    """A named entry. Its sentence is help while all is well, else what is wrong."""

    @dataclass
    class Changed(Message):
        """The entry was changed by a person."""

        field: Field

    def __init__(
        self,
        name: str,
        title: str,
        help_text: str,
        choices: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        """Make a field.

        Args:
            name: its key among the entries of a study.
            title: what is written before it.
            help_text: what is written after it while nothing is wrong.
            choices: (shown, value) pairs where it is a choice; a text box without.
        """
        super().__init__(id=f"field-{name}", classes="field")
        self.field_name = name
        self._title = title
        self._help = help_text
        self._choices = choices
        self._setting: str | None = None

    def compose(self) -> ComposeResult:
        """Name, entry, sentence."""
        yield Label(self._title, markup=False)
        if self._choices is None:
            yield Input(compact=True)
        else:
            yield Select(self._choices, allow_blank=False, compact=True)
        yield Words(self._help, classes="sentence")

    @property
    def value(self) -> str:
        """What is entered, as a person would type it."""
        if self._choices is None:
            return self.query_one(Input).value
        value = self.query_one(Select).value
        return value if isinstance(value, str) else ""

    def set_value(self, value: str) -> None:
        """Fill the field without telling anybody."""
        if value == self.value:
            return
        self._setting = value
        if self._choices is None:
            self.query_one(Input).value = value
        else:
            self.query_one(Select).value = value

    def set_sentence(self, problem: str, help_text: str | None = None) -> None:
        """Show what is wrong, or the help."""
        if help_text is not None:
            self._help = help_text
        self.set_class(bool(problem), "-wrong")
        self.query_one(".sentence", Words).show(problem or self._help)

    def on_descendant_focus(self) -> None:
        """Show where the keys go."""
        self.add_class("-focused")

    def on_descendant_blur(self) -> None:
        """Show that they go elsewhere."""
        self.remove_class("-focused")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell that a person typed."""
        event.stop()
        self._changed(event.value)

    def on_select_changed(self, event: Select.Changed) -> None:
        """Tell that a person chose."""
        event.stop()
        self._changed(str(event.value))

    def _changed(self, value: str) -> None:
        if value == self._setting:
            self._setting = None
            return
        self._setting = None
        self.post_message(self.Changed(self))
