"""Text that is painted when it changes, and only then."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Words(Static):
    """Plain text or styled lines. Showing the same again costs no paint and no byte."""

    def __init__(
        self, text: str = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        """Make it show this text, taken literally."""
        super().__init__(text, id=id, classes=classes, markup=False)
        self._shown: str | Text = text

    def show(self, text: str | Text) -> None:
        """Show this text from now on."""
        if text != self._shown:
            self._shown = text
            self.update(text)
