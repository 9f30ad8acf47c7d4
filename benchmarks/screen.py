"""What a terminal shows after a program's output: places and glyphs, no colours."""

from __future__ import annotations

import codecs
import re

_TOKEN = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|\x1b\[[<>?][\d;$]*[A-Za-z]|\x1b[78=>]|([^\x1b])")


class Screen:
    """The cells of a terminal; understands as much as the app sends."""

    def __init__(self, columns: int, lines: int) -> None:
        """Begin empty."""
        self._cells = [[" "] * columns for _ in range(lines)]
        self._column = self._row = 0
        self._rest = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, output: bytes) -> None:
        """Take output; a glyph or a sequence may be cut anywhere."""
        text = self._rest + self._decode(output)
        cut = text.rfind("\x1b", max(0, len(text) - 40))
        if cut < 0 or _TOKEN.match(text, cut):
            cut = len(text)
        text, self._rest = text[:cut], text[cut:]
        for numbers, kind, glyph in _TOKEN.findall(text):
            if kind == "H":
                row, _, column = numbers.partition(";")
                self._row, self._column = int(row or 1) - 1, int(column or 1) - 1
            elif glyph == "\n":
                self._row += 1
            elif glyph and glyph >= " ":
                if self._row < len(self._cells) and self._column < len(self._cells[0]):
                    self._cells[self._row][self._column] = glyph
                self._column += 1

    @property
    def text(self) -> str:
        """The lines."""
        return "\n".join("".join(line).rstrip() for line in self._cells)
