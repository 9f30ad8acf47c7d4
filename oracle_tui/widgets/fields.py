"""One line of the form: a name, a box to type into, and a sentence about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Click
from textual.message import Message
from textual.widgets import Input, Label, Static

from oracle_tui.widgets.words import Words


class Asks(Static, can_focus=True):
    """Text that is not typed but picked from a list: enter, space or a click asks for it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "ask", "Choose", id="field.ask", tooltip="Choose from a list"),
    ]

    class Pressed(Message):
        """A person wants the list."""

    def action_ask(self) -> None:
        """Ask for the list."""
        self.post_message(self.Pressed())

    def on_click(self, event: Click) -> None:
        """Ask for the list by mouse."""
        event.stop()
        self.action_ask()


class Field(Horizontal):
    """A named entry. Its sentence is help while all is well, else what is wrong."""

    @dataclass
    class Changed(Message):
        """The entry was changed by a person."""

        field: Field

    @dataclass
    class Asked(Message):
        """A person wants to pick from a list."""

        field: Field

    @dataclass
    class Entered(Message):
        """Enter was pressed where there is no list."""

        field: Field

    def __init__(
        self, name: str, title: str, hint: str, *, picks: bool = False, typed: bool = True
    ) -> None:
        """Make a field.

        Args:
            name: its key among the entries of a study.
            title: what is written before it.
            hint: what is written after it while nothing is wrong.
            picks: whether there is a list to pick from.
            typed: whether it can be typed into.
        """
        super().__init__(id=f"field-{name}", classes="field")
        self.field_name = name
        self._title = title
        self._hint = hint
        self._picks = picks
        self._typed = typed
        self._value = ""
        self._untold = 0

    def compose(self) -> ComposeResult:
        """Name, entry, mark of a list, sentence."""
        yield Label(self._title, markup=False)
        if self._typed:
            yield Input(compact=True)
        else:
            yield Asks("", markup=False)
        yield Asks(self._mark, classes="mark", markup=False)
        yield Words(self._hint, classes="sentence")

    def on_mount(self) -> None:
        """Let the keys pass by the mark; it is for the mouse."""
        self.query_one(".mark", Asks).can_focus = False

    @property
    def _mark(self) -> str:
        return "▾" if self._picks else " "

    @property
    def value(self) -> str:
        """What is entered, as a person would type it."""
        return self.query_one(Input).value if self._typed else self._value

    @property
    def has_keys(self) -> bool:
        """Whether the keys go to it."""
        return self.has_class("-focused")

    def focus_entry(self) -> None:
        """Let the keys go to it."""
        (self.query_one(Input) if self._typed else self.query(Asks).first()).focus()

    def set_value(self, value: str) -> None:
        """Fill the field without telling anybody, unless somebody is typing into it just now."""
        if not self._typed:
            self._value = value
            self.query(Asks).first().update(value)
            return
        box = self.query_one(Input)
        if box.value == self._value and not self._untold:
            self._value = value
            with self.prevent(Input.Changed):
                box.value = value

    def put(self, value: str) -> None:
        """Fill the field as a person would who types it."""
        self.query_one(Input).value = value

    def set_placeholder(self, text: str) -> None:
        """Say what an empty box means."""
        if self._typed:
            self.query_one(Input).placeholder = text

    def set_sentence(self, problem: str, hint: str = "") -> None:
        """Show what is wrong, or the hint."""
        if problem or self.has_class("-wrong"):  # not by colour alone
            self.query_one(".mark", Asks).update("✗" if problem else self._mark)
        self.set_class(bool(problem), "-wrong")
        self.query_one(".sentence", Words).show(problem or hint or self._hint)

    def on_descendant_focus(self) -> None:
        """Show where the keys go."""
        self.add_class("-focused")

    def on_descendant_blur(self) -> None:
        """Show that they go elsewhere."""
        self.remove_class("-focused")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell that a person typed."""
        event.stop()
        self._value = event.value
        self._untold += 1
        self.post_message(self.Changed(self))

    def heard(self) -> None:
        """The change that was told has been taken note of: from now on the box may be filled."""
        self._untold -= 1

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter opens the list, or goes on."""
        event.stop()
        self.post_message(self.Asked(self) if self._picks else self.Entered(self))

    def on_asks_pressed(self, event: Asks.Pressed) -> None:
        """A click on the mark, or enter on what cannot be typed."""
        event.stop()
        if self._picks:
            self.post_message(self.Asked(self))
