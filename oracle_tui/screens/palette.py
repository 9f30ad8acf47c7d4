"""Textual's command palette, made to stand a terminal that has no room for its list."""

from __future__ import annotations

from textual.command import CommandList, CommandPalette


class Palette(CommandPalette):
    """The palette; a key that turns pages of a list without a single line does nothing.

    Textual looks its lines up then, finds none, and the app would end.
    """

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region.height > 0:
            super()._action_command_list(action)
