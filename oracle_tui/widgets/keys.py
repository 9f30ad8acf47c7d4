"""The line of keys at the bottom: help always comes first, whatever has the focus."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer


class KeyLine(Footer):
    """A compact footer that begins with the key of the help."""

    def __init__(self) -> None:
        """Make it one line, without the palette's key."""
        super().__init__(compact=True, show_command_palette=False)

    def compose(self) -> ComposeResult:
        """Put help before the keys of the focused widget."""
        yield from sorted(
            super().compose(), key=lambda key: "app.help" not in getattr(key, "action", "")
        )
