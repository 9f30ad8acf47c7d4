"""Keys one after the other: each has its effect before the next one finds its place."""

from __future__ import annotations

from collections import deque

from textual.app import App
from textual.events import Event, Key
from textual.widget import Widget

#: Seconds after which a key that nobody reports on is taken for done: its target is gone. Not less,
#: since a key that is only slow, where other work has the cores, must not be overtaken.
LOST = 1.0


class KeyOrderApp(App[None]):
    """An app that a burst of keys does not confuse.

    Textual sends each key to what has the focus when it comes in, before the keys ahead of it had
    their effect: on a slow line, or pasted, `/done` would not be a filter but the keys d, o, n, e.
    """

    def __init__(self) -> None:
        """Wait for no key."""
        super().__init__()
        self._waiting: deque[Key] = deque()
        self._on_its_way: Key | None = None
        self._arrived: Key | None = None  # the key that bubbled up to the app itself

    async def on_event(self, event: Event) -> None:
        """Send a key on its way when the one before it is done."""
        if isinstance(event, Key) and not event.is_forwarded:
            if not self.screen_stack:
                return  # the app is ending: there is nothing left that a key could mean
            self._waiting.append(event)
            if self._on_its_way is None:
                await self._send_next()
            return
        if isinstance(event, Key):
            self._arrived = event
        await super().on_event(event)
        if isinstance(event, Key) and event is self._on_its_way:
            # It bubbled up to here, and what is bound to it was run.
            self._settle(self.focused, event)

    async def _send_next(self) -> None:
        if self._on_its_way is not None or not self._waiting or not self.screen_stack:
            return
        key = self._on_its_way = self._waiting.popleft()
        target = self.focused or self.screen
        await super().on_event(key)
        if not key.is_forwarded:
            self._done(key)
            return
        target.call_later(self._heard, target, key)
        self.set_timer(LOST, lambda: self._done(key))

    def _heard(self, target: Widget, key: Key) -> None:
        """Go on after a key that its target kept; others bubble up, and may be kept there."""
        if key is not self._on_its_way or key is self._arrived:
            return  # what is bound to it may still be at work
        parent = target.parent
        if not isinstance(parent, Widget):
            # Of a screen's key nobody can say whether it was kept: but where it was not, it has
            # arrived here by the time that the app takes this.
            self.call_later(self._kept, target, key)
        elif key._stop_propagation:
            self._settle(target, key)
        else:
            parent.call_later(self._heard, parent, key)

    def _kept(self, screen: Widget, key: Key) -> None:
        if key is self._on_its_way and key is not self._arrived:
            self._settle(screen, key)

    def _settle(self, target: Widget | None, key: Key) -> None:
        """Let what a widget says because of the key be heard, by itself and by its screen."""
        screen = self.screen

        def said() -> None:
            screen.call_later(self._done, key)

        (target or screen).call_later(said)

    def _done(self, event: Event) -> None:
        if event is self._on_its_way:
            self._on_its_way = None
            if self._waiting:
                self.call_next(self._send_next)
