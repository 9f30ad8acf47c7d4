"""Keys are taken one after the other, however slow the first of them is."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import Key
from textual.widget import Widget

from oracle_tui.key_order import KeyOrderApp
from tests.app.waiting import until


class Typed(Widget, can_focus=True):
    """Takes y, and is slow over x, which is bound to something in the app."""

    async def on_key(self, event: Key) -> None:
        if event.key == "x":
            await asyncio.sleep(0.4)
        elif event.key == "y":
            event.stop()
            self.app.taken.append("y")  # type: ignore[attr-defined]


class Keeps(Container):
    """Takes z on its way from the focused widget to the app."""

    def on_key(self, event: Key) -> None:
        if event.key == "z":
            event.stop()
            self.app.taken.append("z")  # type: ignore[attr-defined]


class Keyed(KeyOrderApp):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("x", "take", "Take")]

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[str] = []

    def compose(self) -> ComposeResult:
        with Keeps():
            yield Typed()

    def on_mount(self) -> None:
        self.query_one(Typed).focus()

    async def action_take(self) -> None:
        await asyncio.sleep(0.1)
        self.taken.append("x")


@pytest.mark.parametrize("keys", ["xyxy", "zyzx", "zzzz"])
async def test_no_key_overtakes_another_or_waits_for_one_that_is_done(
    monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    monkeypatch.setattr("oracle_tui.key_order.LOST", 3600.0)  # every key is reported on
    app = Keyed()
    async with app.run_test() as pilot:
        for key in keys:
            app.post_message(Key(key, key))
        await until(pilot, lambda: len(app.taken) == len(keys), "all keys")
        assert app.taken == list(keys)
