"""Textual's command palette, made to stand small terminals and quick fingers."""

from __future__ import annotations

from typing import Any

from textual.command import CommandList, CommandPalette


class Palette(CommandPalette):
    """The palette without the two ways in which it could end the app.

    Textual looks for lines of the list where it has room for none, and for the list itself when
    the search for commands outlives the palette.
    """

    @property
    def _is_there(self) -> bool:
        return bool(self.query(CommandList))

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region.height > 0:
            super()._action_command_list(action)

    def _refresh_command_list(self, *what: Any) -> None:
        if self._is_there:
            super()._refresh_command_list(*what)

    def _watch__list_visible(self) -> None:
        if self._is_there:
            super()._watch__list_visible()

    async def _watch__show_busy(self) -> None:
        if self._is_there:
            await super()._watch__show_busy()
