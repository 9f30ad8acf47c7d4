"""The scatter of candidates: score against outcome, with the oracle and a cursor over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from oracle_tui.plots.frame import LEFT, Frame, draw_frame
from oracle_tui.plots.plot import Mark, Plot
from oracle_tui.plots.reduction import CellMap, Ints, nearest, neighbour, reduce_points
from oracle_tui.plots.window import Floats

#: Up to this many points each is one dot; beyond it sub-cells show the density.
FEW = 600

#: From this many finished points on, a live view does not follow provisional ones any more.
ENOUGH = 20

POINT, ANOMALY, PROVISIONAL = "•", "×", "○"  # noqa: RUF001
ORACLE, BEST, L1 = "◆", "★", "■"


def _floats() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class ScatterData:
    """Points of a scatter: finished candidates first, then provisional ones.

    Attributes:
        candidate: candidate number of each finished point [n].
        x: score of each finished point [n].
        y: outcome of each finished point [n].
        anomaly: whether the point is better than the oracle [n].
        oracle, best, l1: index of that point, None where there is none (yet).
        provisional_candidate, provisional_x, provisional_y: points still in training [m].
        x_name, y_name: names of the axes.
    """

    candidate: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    x: Floats = field(default_factory=_floats)
    y: Floats = field(default_factory=_floats)
    anomaly: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    oracle: int | None = None
    best: int | None = None
    l1: int | None = None
    provisional_candidate: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    provisional_x: Floats = field(default_factory=_floats)
    provisional_y: Floats = field(default_factory=_floats)
    x_name: str = "pruned train loss"
    y_name: str = "final test accuracy"


def draw_scatter(data: ScatterData, cells: CellMap, cancelled: Callable[[], bool]) -> Frame:
    """Draw a scatter in cell space (any thread)."""
    few = data.x.size <= FEW
    normal = ~data.anomaly
    series = [
        reduce_points(data.provisional_x, data.provisional_y, cells, PROVISIONAL),
        reduce_points(data.x[normal], data.y[normal], cells, POINT if few else "braille"),
        reduce_points(data.x[~normal], data.y[~normal], cells, ANOMALY if few else "quadrant"),
    ]
    points = sum(layer.points for layer in series)
    places = sum(layer.places for layer in series)
    outside = sum(layer.outside for layer in series)
    note = f"{points:,} point{'' if points == 1 else 's'}"
    if places < points:
        note += f" in {places:,} cells"
    if outside:
        note += f", {outside:,} outside"
    rule = float(data.y[data.oracle]) if data.oracle is not None else None
    return draw_frame(
        cells, series, x_name=f"{data.x_name} →", rule=rule, note=note, cancelled=cancelled
    )


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
    ]  # fmt: skip

    @dataclass
    class CursorMoved(Message):
        """The cursor stands on another candidate (None: on nothing)."""

        plot: ScatterPlot
        candidate: int | None

        @property
        def control(self) -> Widget:
            """The plot it is about."""
            return self.plot

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty scatter."""
        super().__init__(id=id, classes=classes)
        self.data = ScatterData()
        self.cursor: int | None = None  # candidate number
        self.picked: frozenset[int] = frozenset()
        self._candidates: Ints = np.zeros(0, np.int64)
        self._columns: Ints = np.zeros(0, np.int64)
        self._rows: Ints = np.zeros(0, np.int64)
        self._marks: list[Mark] = []

    def set_data(self, data: ScatterData) -> None:
        """Show these points from the next frame on."""
        self.data = data
        self.data_changed()

    def extent(self) -> tuple[Floats, Floats]:
        """Fit the finished points, and the provisional ones while few are finished."""
        data = self.data
        if data.x.size >= ENOUGH:
            return data.x, data.y
        return (
            np.concatenate([data.x, data.provisional_x]),
            np.concatenate([data.y, data.provisional_y]),
        )

    def painter(self) -> Callable[[CellMap, Callable[[], bool]], Frame]:
        """Draw the points of this moment."""
        data = self.data
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
        data, cells = self.data, self.frame.cells
        self._candidates = np.concatenate([data.candidate, data.provisional_candidate])
        self._columns = cells.columns(np.concatenate([data.x, data.provisional_x]))
        self._rows = cells.rows(np.concatenate([data.y, data.provisional_y]))
        self._place_marks()

    def _place_marks(self) -> None:
        data, marks = self.data, []
        for index, glyph, style in (
            (data.l1, L1, "plot--l1"),
            (data.best, BEST, "plot--best"),
            (data.oracle, ORACLE, "plot--oracle"),
        ):
            if index is not None and index < self._columns.size:
                marks.append(Mark(int(self._columns[index]), int(self._rows[index]), glyph, style))
        for candidate in self.picked:
            index = self._index(candidate)
            if index is not None:
                marks.append(self._plain_mark(index, "plot--picked"))
        cursor = self._index(self.cursor)
        if cursor is not None:
            marks.append(self._plain_mark(cursor, "plot--cursor"))
        self._marks = [mark for mark in marks if mark.column >= 0 and mark.row >= 0]

    def _plain_mark(self, index: int, style: str) -> Mark:
        return Mark(int(self._columns[index]), int(self._rows[index]), None, style)

    def _index(self, candidate: int | None) -> int | None:
        if candidate is None:
            return None
        where = np.nonzero(self._candidates == candidate)[0]
        return int(where[0]) if where.size else None

    def marks(self) -> Iterable[Mark]:
        """Oracle, best, L1's choice, picked points and the cursor."""
        return self._marks

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
        before = self._marks
        self.cursor = candidate
        self._place_marks()
        for row in {mark.row for mark in before} ^ {mark.row for mark in self._marks} | {
            mark.row for mark in (*before[-1:], *self._marks[-1:])
        }:
            self.refresh_row(row)
        if tell:
            self.post_message(self.CursorMoved(self, candidate))

    def set_picked(self, candidates: frozenset[int]) -> None:
        """Underline these candidates."""
        self.picked = candidates
        self._place_marks()
        self.refresh()

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
        if index is None or self._columns[index] < 0 or self._rows[index] < 0:
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

    def on_click(self, event: events.Click) -> None:
        """Move to the point nearest to the mouse."""
        if self.frame is None:
            return
        found = nearest(self._columns, self._rows, event.x - LEFT, event.y)
        if found is not None:
            self.move_cursor(int(self._candidates[found]))
