"""The table of the app: arrows and hjkl, g and G, enter opens."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import DataTable


class KeyTable(DataTable[object]):
    """A DataTable of rows that a reader of vim and one of arrows both feel at home in."""

    DEFAULT_CSS = """
    KeyTable {
        background: $background;

        &:focus {
            background-tint: transparent;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="table.open", tooltip="Open this row"),
        Binding("j", "cursor_down", "Down", id="table.down", show=False, tooltip="Next row"),
        Binding("k", "cursor_up", "Up", id="table.up", show=False, tooltip="Previous row"),
        Binding("g,home", "scroll_top", "Top", id="table.top", show=False, tooltip="First row"),
        Binding("G,end", "scroll_bottom", "Bottom", id="table.bottom", show=False,
                tooltip="Last row"),
    ]  # fmt: skip

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty table with a row cursor."""
        super().__init__(id=id, classes=classes, cursor_type="row", zebra_stripes=False)
