"""A list to pick from: typing narrows it, space picks several, each line says more about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from oracle_tui.entry_texts import Item
from oracle_tui.widgets.words import Words


class Narrowing(Input):
    """The filter. A box takes every key that can be seen, so it hands the space on itself."""

    async def _on_key(self, event: Key) -> None:
        if event.key == "space":
            event.stop()
            event.prevent_default()
            await self.screen.run_action("mark")
        else:
            await super()._on_key(event)


class PickScreen(ModalScreen["tuple[str, ...] | None"]):
    """Ends with the picked values in the order of the list, or with None."""

    CSS_PATH = "pick.tcss"
    AUTO_FOCUS = "#pick-filter"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="pick.close",
                tooltip="Close without picking"),
        Binding("down", "step(1)", "Down", id="pick.down", show=False, priority=True,
                tooltip="Next"),
        Binding("up", "step(-1)", "Up", id="pick.up", show=False, priority=True,
                tooltip="Previous"),
        Binding("pagedown", "page(1)", "Page down", id="pick.page_down", show=False, priority=True,
                tooltip="Next page"),
        Binding("pageup", "page(-1)", "Page up", id="pick.page_up", show=False, priority=True,
                tooltip="Previous page"),
        Binding("space", "mark", "Pick", id="pick.mark", show=False,
                tooltip="Pick several, where several can be picked"),
    ]  # fmt: skip

    def __init__(
        self, title: str, items: Sequence[Item], chosen: Sequence[str] = (), *, several: bool
    ) -> None:
        """Take the list, what is picked now, and whether several can be."""
        super().__init__()
        self._title = title
        self._items = items
        self._several = several
        self._at = chosen[0] if chosen else ""
        self._marked = set(chosen) if several and len(chosen) > 1 else set[str]()
        self._visible: list[Item] = []
        self._there = False  # keys come before what they are for

    def compose(self) -> ComposeResult:
        """Filter, list, what the highlighted line is about."""
        with Vertical(id="pick"):
            yield Narrowing(placeholder="type to narrow the list", id="pick-filter", compact=True)
            yield OptionList(id="pick-list", compact=True)
            yield Words("", id="pick-about")

    def on_mount(self) -> None:
        """Begin at what is picked now."""
        box = self.query_one("#pick", Vertical)
        box.styles.height = min(30, len(self._items) + 7)
        box.border_title = self._title
        several = ", space picks several" if self._several else ""
        box.border_subtitle = f"enter takes{several}, esc closes"
        self._list.can_focus = False
        self._there = True
        self._show()

    @property
    def _list(self) -> OptionList:
        return self.query_one("#pick-list", OptionList)

    @property
    def highlighted(self) -> Item | None:
        """The item under the cursor."""
        place = self._list.highlighted
        return None if place is None else self._visible[place]

    def _show(self) -> None:
        words = self.query_one("#pick-filter", Input).value.lower().split()
        self._visible, heading = [], list[Item]()
        for item in self._items:
            told = f"{item.value} {item.shown} {item.about}".lower()
            if not item.value:
                heading = [item]
            elif all(word in told for word in words):
                # A heading stays where something is left under it.
                self._visible += [*heading, item]
                heading = []
        self._list.set_options([self._option(item) for item in self._visible])
        values = [item.value for item in self._visible]
        first = next((place for place, value in enumerate(values) if value), None)
        self._list.highlighted = (
            values.index(self._at) if self._at and self._at in values else first
        )
        about = self.highlighted.about if self.highlighted else "Nothing matches."
        self.query_one("#pick-about", Words).show(about)

    def _option(self, item: Item) -> Option:
        several = self._several and item.value
        mark = "● " if item.value in self._marked else "  " if several else ""
        style = "bold" if not item.value else "" if item.enabled else "dim"
        # What cannot be picked can be looked at all the same: it says why.
        return Option(Text(mark + item.shown, style), disabled=not item.value)

    def on_input_changed(self) -> None:
        """Narrow the list while it is typed."""
        self._show()

    def on_option_list_option_highlighted(self) -> None:
        """Say more about it."""
        item = self.highlighted
        if item is not None:
            self._at = item.value
            self.query_one("#pick-about", Words).show(item.about)

    def action_step(self, step: int) -> None:
        """Go up or down."""
        if not self._there:
            return
        if step > 0:
            self._list.action_cursor_down()
        else:
            self._list.action_cursor_up()

    def action_page(self, step: int) -> None:
        """Go up or down a page."""
        if not self._there:
            return
        if step > 0:
            self._list.action_page_down()  # type: ignore[no-untyped-call]
        else:
            self._list.action_page_up()  # type: ignore[no-untyped-call]

    def action_mark(self) -> None:
        """Pick one more, or leave it out again."""
        item = self.highlighted if self._there else None
        if item is None or not self._several or not item.enabled:
            return
        self._marked ^= {item.value}
        place = self._list.highlighted
        if place is not None:
            self._list.replace_option_prompt_at_index(place, self._option(item).prompt)
        self._list.action_cursor_down()

    def on_input_submitted(self) -> None:
        """Take what is picked, else the highlighted line."""
        self._take()

    def on_option_list_option_selected(self) -> None:
        """Take it by mouse."""
        self._take()

    def _take(self) -> None:
        if self._marked:
            self.dismiss(tuple(item.value for item in self._items if item.value in self._marked))
        elif self.highlighted is not None and self.highlighted.enabled:
            self.dismiss((self.highlighted.value,))
