"""What a terminal sends, read as keys: esc and the key after it stay two keys, however close."""

from __future__ import annotations

from collections.abc import Iterable

from textual._xterm_parser import XTermParser
from textual.message import Message

ESCAPE = "\x1b"

#: What may follow an escape character that begins a sequence: the control sequences of ECMA-48,
#: and what edits a line of text (alt with backspace, b and f), which keeps its meaning.
BEGINS = frozenset("[]OPX^_\\") | frozenset("\x1b\x7fbf")

_PASTE_BEGINS, _PASTE_ENDS = "\x1b[200~", "\x1b[201~"


class KeyParser(XTermParser):
    """Textual's parser without keys that nobody here uses: those pressed together with alt.

    A terminal sends alt+q as escape and q. A slow line delivers esc and the q after it together,
    and Textual would read alt+q; of esc and a punctuation mark it would drop the esc.
    """

    def __init__(self, debug: bool = False) -> None:
        """Expect a first character."""
        super().__init__(debug)
        self._tail = ""
        self._pasting = False

    def feed(self, data: str) -> Iterable[Message]:
        """Yield the events of what was read; a key after an escape character ends the esc."""
        if not data:
            yield from super().feed(data)
        for character in data:
            if self._tail[-1:] == ESCAPE and not self._pasting and character not in BEGINS:
                yield from self._end_sequence()
            yield from super().feed(character)
            self._tail = (self._tail + character)[-len(_PASTE_BEGINS) :]
            if self._tail in (_PASTE_BEGINS, _PASTE_ENDS):
                self._pasting = self._tail == _PASTE_BEGINS

    def _end_sequence(self) -> Iterable[Message]:
        """Take an escape character that waits for more as the key; its time is up now."""
        if self._timeout_time is not None:
            self._timeout_time = 0.0
            yield from self.tick()
