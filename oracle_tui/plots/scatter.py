"""The scatter of candidates: score against outcome, with the oracle and a cursor over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from oracle_tui.plots.box import Box, box_marks
from oracle_tui.plots.frame import LEFT, Frame
from oracle_tui.plots.plot import Mark, Plot
from oracle_tui.plots.reduction import CellMap, Ints, nearest, neighbour
from oracle_tui.plots.scatter_data import (
    BEST,
    L1,
    ORACLE,
    POINT,
    PROVISIONAL,
    ScatterData,
    draw_scatter,
)
from oracle_tui.plots.window import Floats, ViewMode

#: From this many finished points on, a live view does not follow provisional ones any more.
ENOUGH = 20


class ScatterPlot(Plot):
    """Candidates as points, with a keyboard cursor that goes from point to point."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "go(-1, 0)", "Left", id="scatter.left", show=False,
                tooltip="Cursor to the nearest point on the left"),
        Binding("right,l", "go(1, 0)", "Right", id="scatter.right", show=False,
                tooltip="Cursor to the nearest point on the right"),
        Binding("up,k", "go(0, 1)", "Up", id="scatter.up", show=False,
                tooltip="Cursor to the nearest point above"),
        Binding("down,j", "go(0, -1)", "Down", id="scatter.down", show=False,
                tooltip="Cursor to the nearest point below"),
        Binding("full_stop", "next_here", "Next here", id="scatter.next_here", show=False,
                tooltip="Cursor to the next point in the same cell"),
        Binding("o", "go_to('oracle')", "Oracle", id="scatter.oracle", show=False,
                tooltip="Cursor to the oracle"),
        Binding("b", "go_to('best')", "Best", id="scatter.best", show=False,
                tooltip="Cursor to the best candidate"),
        Binding("space", "pick", "Pick", id="scatter.pick", show=False,
                tooltip="Pick the candidate under the cursor, or unpick it"),
        Binding("m", "box", "Box", id="scatter.box", show=False,
                tooltip="Begin a box at the cursor; again: pick all in it (or drag the mouse)"),
    ]  # fmt: skip

    @dataclass
    class CursorMoved(Message):
        """The cursor stands on another candidate (None: on nothing)."""

        plot: ScatterPlot
        candidate: int | None

    @dataclass
    class Picked(Message):
        """A person picked other candidates."""

        plot: ScatterPlot
        candidates: frozenset[int]
        box: bool  # whether a box was drawn around them

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty scatter."""
        super().__init__(id=id, classes=classes)
        self.data = ScatterData()
        self.scales = (False, False)  # whether x and y are log axes
        self._plotted = self.data  # the data on these scales
        self.cursor: int | None = None  # candidate number
        self.picked: frozenset[int] = frozenset()
        self._candidates: Ints = np.zeros(0, np.int64)
        self._columns: Ints = np.zeros(0, np.int64)
        self._rows: Ints = np.zeros(0, np.int64)
        self._marks: dict[int, list[Mark]] = {}  # by row, later ones over earlier ones
        self._box: Box | None = None

    def set_data(self, data: ScatterData) -> None:
        """Show these points from the next frame on; other axes are followed at once."""
        other = (data.x_name, data.y_name) != (self.data.x_name, self.data.y_name)
        self.data = data
        self._plotted = data.on_scales(*self.scales)
        if other and self.mode is ViewMode.FROZEN:
            self.mode = ViewMode.LIVE
        self.data_changed()

    def set_scales(self, x_log: bool, y_log: bool) -> None:
        """Put the points on linear or log axes; the limits follow them again."""
        if (x_log, y_log) != self.scales:
            self.scales = (x_log, y_log)
            self._plotted = self.data.on_scales(x_log, y_log)
            self._box = None
            self.action_live()

    def extent(self) -> tuple[Floats, Floats]:
        """Fit the finished points, and the provisional ones while few are finished."""
        data = self._plotted
        if data.x.size >= ENOUGH:
            return data.x, data.y
        return (
            np.concatenate([data.x, data.provisional_x]),
            np.concatenate([data.y, data.provisional_y]),
        )

    def painter(self) -> Callable[[CellMap, Callable[[], bool]], Frame]:
        """Draw the points of this moment."""
        data = self._plotted
        return lambda cells, cancelled: draw_scatter(data, cells, cancelled)

    def glyph_style(self, glyph: str) -> str:
        """Series differ by glyph, so the glyph says the colour."""
        if glyph == PROVISIONAL:
            return "plot--provisional"
        if glyph == POINT or "⠀" <= glyph <= "⣿":
            return "plot--point"
        return "plot--anomaly"

    # Overlay.

    def frame_changed(self) -> None:
        """Put cursor and marks where the new frame has their points."""
        assert self.frame is not None
        data, cells = self._plotted, self.frame.cells
        self._candidates = np.concatenate([data.candidate, data.provisional_candidate])
        self._columns = cells.columns(np.concatenate([data.x, data.provisional_x]))
        self._rows = cells.rows(np.concatenate([data.y, data.provisional_y]))
        self._place_marks()

    def _place_marks(self) -> None:
        data, marks = self.data, []
        columns, rows = self._columns, self._rows
        for index, glyph, style in (
            (data.l1, L1, "plot--l1"),
            (data.best, BEST, "plot--best"),
            (data.oracle, ORACLE, "plot--oracle"),
        ):
            if index is not None and index < columns.size:
                marks.append(Mark(int(columns[index]), int(rows[index]), glyph, style))
        if self.picked:
            chosen = np.isin(self._candidates, np.fromiter(self.picked, np.int64))
            places = set(zip(columns[chosen].tolist(), rows[chosen].tolist(), strict=True))
            marks += [Mark(column, row, None, "plot--picked") for column, row in places]
        if self._box is not None:
            marks += box_marks(self._box)
        cursor = self._index(self.cursor)
        if cursor is not None:
            marks.append(Mark(int(columns[cursor]), int(rows[cursor]), None, "plot--cursor"))
        self._marks = {}
        for mark in marks:
            if mark.column >= 0 and mark.row >= 0:
                self._marks.setdefault(mark.row, []).append(mark)

    def _index(self, candidate: int | None) -> int | None:
        if candidate is None:
            return None
        where = np.nonzero(self._candidates == candidate)[0]
        return int(where[0]) if where.size else None

    def marks_on(self, row: int) -> Iterable[Mark]:
        """Oracle, best, L1's choice, picked points, the box and the cursor."""
        return self._marks.get(row, ())

    def _marks_changed(self) -> None:
        """Repaint the rows whose overlay is another one now."""
        before = self._marks
        self._place_marks()
        for row in before.keys() | self._marks.keys():
            if before.get(row) != self._marks.get(row):
                self.refresh_row(row)

    def zoom_centre(self) -> tuple[float, float] | None:
        """Zoom about the cursor where it is in view."""
        index = self._index(self.cursor)
        if index is None or self.frame is None or min(self._columns[index], self._rows[index]) < 0:
            return None
        return self.frame.cells.data(int(self._columns[index]), int(self._rows[index]))

    # Cursor.

    def move_cursor(self, candidate: int | None, *, tell: bool = True) -> None:
        """Put the cursor on a candidate; only the two rows it leaves and enters are repainted."""
        if candidate == self.cursor:
            return
        self.cursor = candidate
        if self._box is not None and not self._box.dragged:
            self._stretch_box()
        self._marks_changed()
        if tell:
            self.post_message(self.CursorMoved(self, candidate))

    def set_picked(self, candidates: frozenset[int]) -> None:
        """Underline these candidates."""
        self.picked = candidates
        self._marks_changed()

    def _pick(self, candidates: frozenset[int], *, box: bool) -> None:
        self.set_picked(candidates)
        self.post_message(self.Picked(self, candidates, box))

    def action_pick(self) -> None:
        """Pick the candidate under the cursor, or unpick it."""
        if self.cursor is not None:
            self._pick(self.picked ^ {self.cursor}, box=False)

    def here(self) -> list[int]:
        """Return the candidates in the cursor's cell, the cursor's own included."""
        index = self._index(self.cursor)
        if index is None:
            return []
        same = (self._columns == self._columns[index]) & (self._rows == self._rows[index])
        return [int(candidate) for candidate in self._candidates[same]]

    def action_go(self, across: int, up: int) -> None:
        """Move to the nearest point in a direction; the first press takes the oracle or middle."""
        if self.frame is None or self._candidates.size == 0:
            return
        index = self._index(self.cursor)
        if (across, up) == (0, 0) or self._cell_of_cursor() is None or index is None:
            cells = self.frame.cells
            start = self.data.oracle
            if start is None or min(self._columns[start], self._rows[start]) < 0:
                start = nearest(self._columns, self._rows, cells.width / 2, cells.height / 2)
            target = start
        else:
            target = neighbour(self._columns, self._rows, index, across, up)
        if target is not None:
            self.move_cursor(int(self._candidates[target]))

    def action_next_here(self) -> None:
        """Go round the points of one cell."""
        here = self.here()
        if self.cursor in here and len(here) > 1:
            self.move_cursor(here[(here.index(self.cursor) + 1) % len(here)])

    def action_go_to(self, what: str) -> None:
        """Move to the oracle or to the best candidate."""
        index = self.data.oracle if what == "oracle" else self.data.best
        if index is not None:
            self.move_cursor(int(self.data.candidate[index]))

    # Box: two corners in cells, by keyboard from point to point, by mouse wherever it is dragged.

    def action_box(self) -> None:
        """Begin a box at the cursor, or pick what is in the one that was begun."""
        at = self._cell_of_cursor()
        if self._box is not None:
            self._close_box()
        elif at is None:
            self.action_go(0, 0)
        else:
            self._box = Box(at, at, dragged=False)
            self._marks_changed()

    def _cell_of_cursor(self) -> tuple[int, int] | None:
        index = self._index(self.cursor)
        if index is None or min(self._columns[index], self._rows[index]) < 0:
            return None
        return int(self._columns[index]), int(self._rows[index])

    def _stretch_box(self) -> None:
        at = self._cell_of_cursor()
        if self._box is not None and at is not None:
            self._box = replace(self._box, end=at)

    def _close_box(self) -> None:
        box, self._box = self._box, None
        if box is not None:
            inside = box.holds(self._columns, self._rows)
            self._pick(frozenset(self._candidates[inside].tolist()), box=True)

    def _cell_under(self, event: events.MouseEvent) -> tuple[int, int] | None:
        if self.frame is None:
            return None
        cells = self.frame.cells
        column, row = int(event.x) - LEFT, int(event.y)
        return min(max(column, 0), cells.width - 1), min(max(row, 0), cells.height - 1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin a box; a click without a drag moves the cursor."""
        at = self._cell_under(event)
        if at is not None and event.button == 1:
            self._box = Box(at, at, dragged=True)
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Stretch the box."""
        at = self._cell_under(event)
        if at is not None and self._box is not None and self._box.dragged and at != self._box.end:
            self._box = replace(self._box, end=at)
            self._marks_changed()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Pick what is in the box, or move the cursor to the nearest point."""
        box = self._box
        if box is None or not box.dragged:
            return
        self.release_mouse()
        if box.start != box.end:
            self._close_box()
            return
        self._box = None
        found = nearest(self._columns, self._rows, *box.start)
        if found is not None:
            self.move_cursor(int(self._candidates[found]))
