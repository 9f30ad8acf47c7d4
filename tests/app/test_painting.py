"""What is sent to the terminal: only changes, and they show what Textual's own sequence shows."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from oracle_tui.painting import Shown

WIDTH, HEIGHT = 12, 4
CONSOLE = Console(color_system="truecolor", force_terminal=True)
STYLES = [
    None, Style(), Style(color="red"), Style(color="#102030", bgcolor="#405060"),
    Style(bgcolor="blue", bold=True), Style(color="red", bgcolor="#405060"),
    Style(reverse=True, underline=True), Style(bold=True),
]  # fmt: skip
TOKEN = re.compile(r"\x1b\[([\d;]*)([Hm])|([^\x1b])")


class Terminal:
    """As much of a terminal as these sequences need: places, SGR, and glyphs of one cell."""

    def __init__(self) -> None:
        self.cells = [[(" ", frozenset())] * WIDTH for _ in range(HEIGHT)]
        self.pen: dict[str, str] = {}
        self.row = self.column = 0

    def feed(self, sequence: str) -> None:
        assert TOKEN.sub("", sequence) == ""
        for numbers, kind, glyph in TOKEN.findall(sequence):
            if kind == "H":
                row, column = numbers.split(";")
                self.row, self.column = int(row) - 1, int(column) - 1
            elif kind == "m":
                self._sgr([int(number or 0) for number in numbers.split(";")])
            elif glyph != "\n":
                self.cells[self.row][self.column] = (glyph, frozenset(self.pen.items()))
                self.column += 1

    def _sgr(self, codes: list[int]) -> None:
        while codes:
            code = codes.pop(0)
            if code == 0:
                self.pen.clear()
            elif code in (38, 48):
                count = 3 if codes.pop(0) == 2 else 1
                self.pen[str(code)] = str(codes[:count])
                del codes[:count]
            elif code in (39, 49):
                self.pen.pop(str(code - 1), None)
            elif 30 <= code < 48 or 90 <= code < 108:
                self.pen["48" if code % 30 >= 10 else "38"] = str(code)
            else:
                self.pen[str(code)] = "on"


def strips(width: int) -> st.SearchStrategy[Strip]:
    """Strips of exactly so many cells."""
    cell = st.tuples(st.sampled_from("ab •⣿"), st.sampled_from(STYLES))
    return st.lists(cell, min_size=width, max_size=width).map(
        lambda cells: Strip([Segment(glyph, style) for glyph, style in cells], width)
    )


@st.composite
def updates(draw: st.DrawFn) -> CompositorUpdate:
    """A whole repaint, or spans of lines that two widgets share."""
    cut = draw(st.integers(1, WIDTH - 1))
    lines = [[draw(strips(cut)), draw(strips(WIDTH - cut))] for _ in range(HEIGHT)]
    if draw(st.booleans()):
        return LayoutUpdate(list(lines), Region(0, 0, WIDTH, HEIGHT))
    rows = sorted(draw(st.sets(st.integers(0, HEIGHT - 1), min_size=1)))
    spans = []
    for y in rows:
        left = draw(st.integers(0, WIDTH - 1))
        spans.append((y, left, draw(st.integers(left + 1, WIDTH))))
    chops = [{0: line[0], cut: line[1]} for line in lines]
    return ChopsUpdate(chops, spans, [[cut, WIDTH]] * HEIGHT)


@settings(max_examples=60, deadline=None)
@given(st.lists(updates(), min_size=1, max_size=4))
def test_changes_show_what_the_whole_shows(found: list[CompositorUpdate]) -> None:
    whole, changed, shown = Terminal(), Terminal(), Shown()
    for update in found:
        whole.feed(update.render_segments(CONSOLE))
        changed.feed(shown.changes(update, CONSOLE, (WIDTH, HEIGHT)))
        assert changed.cells == whole.cells


def whole(*lines: str) -> LayoutUpdate:
    width = len(lines[0])
    strips = [[Strip([Segment(line, STYLES[3])], width)] for line in lines]
    return LayoutUpdate(list(strips), Region(0, 0, width, len(lines)))


def test_the_same_again_costs_nothing_and_one_glyph_little() -> None:
    shown, size = Shown(), (60, 2)
    first = shown.changes(whole("a" * 60, "b" * 60), CONSOLE, size)
    assert len(first) > 120
    assert shown.changes(whole("a" * 60, "b" * 60), CONSOLE, size) == ""
    one = shown.changes(whole("a" * 60, "b" * 30 + "c" + "b" * 29), CONSOLE, size)
    assert one.startswith("\x1b[2;31H")
    assert one.count("c") == 1
    assert "b" not in one


def test_what_was_forgotten_or_resized_is_sent_whole() -> None:
    shown = Shown()
    first = shown.changes(whole("abc", "def"), CONSOLE, (3, 2))
    shown.forget()
    assert shown.changes(whole("abc", "def"), CONSOLE, (3, 2)) == first
    assert "abcd" in shown.changes(whole("abcd", "def "), CONSOLE, (4, 2))


def test_glyphs_of_two_cells_are_sent_as_textual_would_each_time() -> None:
    shown = Shown()
    wide = LayoutUpdate([[Strip([Segment("語x", STYLES[2])], 3)]], Region(0, 0, 3, 1))
    for _ in range(2):
        assert "語x" in shown.changes(wide, CONSOLE, (3, 1))
    # The cells are known again once single ones are there, and all three are sent.
    assert "abc" in shown.changes(whole("abc"), CONSOLE, (3, 1))
