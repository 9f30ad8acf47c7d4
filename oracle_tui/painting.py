"""What the terminal shows, kept beside it, so that only changed cells cross a slow line.

Textual repaints a widget whole, each segment with all its colours and a reset behind it. Here an
update is compared with what is shown, cell by cell; what differs is sent in runs, and of a style
only what differs from the style before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.strip import Strip

#: Unchanged cells between two changed ones that are cheaper to send again than to jump over.
GAP = 4

#: A style as SGR parameters: attributes, foreground, background; "" is the terminal's own.
Pen = tuple[str, str, str]

PLAIN: Pen = ("", "", "")


class Shown:
    """The cells that the terminal shows, as far as they are known."""

    def __init__(self) -> None:
        """Know nothing."""
        self._width = 0
        self._glyphs: list[list[str]] = []
        self._pens: list[list[Pen]] = []

    def forget(self) -> None:
        """Know nothing any more: the next update is sent whole."""
        self._width = 0

    def _fit(self, width: int, height: int) -> None:
        if (width, height) != (self._width, len(self._glyphs)):
            self._width = width
            self._glyphs = [[""] * width for _ in range(height)]
            self._pens = [[PLAIN] * width for _ in range(height)]

    def changes(self, update: CompositorUpdate, console: Console, size: tuple[int, int]) -> str:
        """Return the sequence that makes the terminal show an update, and take it as shown.

        Args:
            update: an update of the whole terminal or of parts of it.
            console: the console it is meant for.
            size: columns and rows of the terminal.
        """
        self._fit(*size)
        colours = console._color_system or ColorSystem.TRUECOLOR
        out: list[str] = []
        pen = PLAIN
        for x, y, strip in _places(update):
            if not 0 <= y < len(self._glyphs):
                continue
            cells = _cells(strip, colours)
            if cells is None or x + len(cells[0]) > self._width:
                out += [_sgr(pen, PLAIN), f"\x1b[{y + 1};{x + 1}H", strip.render(console)]
                self._unknown(x, y, strip.cell_length)
                pen = PLAIN
                continue
            for start, end in self._take(x, y, *cells):
                out.append(f"\x1b[{y + 1};{x + start + 1}H")
                for glyph, wanted in zip(cells[0][start:end], cells[1][start:end], strict=True):
                    if wanted is not pen and wanted != pen:
                        out.append(_sgr(pen, wanted))
                        pen = wanted
                    out.append(glyph)
        out.append(_sgr(pen, PLAIN))
        return "".join(out)

    def _take(self, x: int, y: int, glyphs: list[str], pens: list[Pen]) -> list[tuple[int, int]]:
        """Take cells as shown; return the runs that differ from what was, as [start, end)."""
        end = x + len(glyphs)
        old_glyphs, old_pens = self._glyphs[y][x:end], self._pens[y][x:end]
        if old_glyphs == glyphs and old_pens == pens:
            return []
        self._glyphs[y][x:end], self._pens[y][x:end] = glyphs, pens
        runs: list[tuple[int, int]] = []
        both = zip(glyphs, old_glyphs, pens, old_pens, strict=True)
        for place, (glyph, old, pen, old_pen) in enumerate(both):
            if glyph != old or (pen is not old_pen and pen != old_pen):
                if runs and place - runs[-1][1] <= GAP:
                    runs[-1] = (runs[-1][0], place + 1)
                else:
                    runs.append((place, place + 1))
        return runs

    def _unknown(self, x: int, y: int, width: int) -> None:
        # One cell more: a wide glyph may have reached over the end.
        places = range(max(0, x - 1), min(self._width, x + width + 1))
        for place in places:
            self._glyphs[y][place] = ""


class Changes(CompositorUpdate):
    """An update of which only what is new is sent."""

    def __init__(self, shown: Shown, update: CompositorUpdate, size: tuple[int, int]) -> None:
        """Take an update of a terminal of so many columns and rows."""
        self._shown, self._update, self._size = shown, update, size

    def render_segments(self, console: Console) -> str:
        """Return the sequence to send."""
        return self._shown.changes(self._update, console, self._size)


def _places(update: CompositorUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Yield column, row and strip of everything in an update."""
    if isinstance(update, LayoutUpdate):
        for y, line in enumerate(update.strips, update.region.y):
            x = update.region.x
            for strip in line:
                if strip is not None:
                    yield x, y, strip
                    x += strip.cell_length
    elif isinstance(update, ChopsUpdate):
        for y, left, right in update.spans:
            for end, (x, part) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if part is not None and x < right and end > left:
                    yield x, y, part if end <= right else part.crop(0, right - x)


def _cells(strip: Strip, colours: ColorSystem) -> tuple[list[str], list[Pen]] | None:
    """Return a strip cell by cell; None where a glyph is not one cell wide, or is a link."""
    glyphs: list[str] = []
    pens: list[Pen] = []
    for text, style, _ in strip:
        if not _single(text) or (style is not None and style.link):
            return None
        glyphs += text
        pens += [PLAIN if style is None else _pen(style, colours)] * len(text)
    return glyphs, pens


@lru_cache(4096)
def _single(text: str) -> bool:
    return all(get_character_cell_size(glyph) == 1 for glyph in set(text))


@lru_cache(1024)
def _pen(style: Style, colours: ColorSystem) -> Pen:
    colour, ground = style.color, style.bgcolor
    attributes = Strip.render_ansi(style.without_color, colours)
    return (
        attributes,
        "" if colour is None else ";".join(colour.downgrade(colours).get_ansi_codes()),
        "" if ground is None else ";".join(ground.downgrade(colours).get_ansi_codes(False)),
    )


def _sgr(old: Pen, new: Pen) -> str:
    """Return the sequence from one style to another."""
    if old == new:
        return ""
    if new == PLAIN:
        return "\x1b[0m"
    if old[0] == new[0]:
        parts = [
            part or own
            for part, before, own in zip(new[1:], old[1:], ("39", "49"), strict=True)
            if part != before
        ]
    else:
        parts = [part for part in ("0" if old != PLAIN else "", *new) if part]
    return f"\x1b[{';'.join(parts)}m"
