"""All rows of a run in pages: sortable, linked with the scatter's cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from oracle_tui.formats import DASH, plain
from oracle_tui.views import CandidateRows
from oracle_tui.widgets.tables import KeyTable
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from rich.console import JustifyMethod

#: Rows of one page: more would make the table slow, fewer would turn pages all the time.
PAGE = 100

COLUMNS = (
    ("candidate", "cand.", 7),
    ("repeat", "rep.", 4),
    ("score", "score", 11),
    ("best_acc", "best acc", 8),
    ("last_acc", "last acc", 8),
    ("best_loss", "best loss", 9),
    ("best_epoch", "epoch", 5),
    ("state", "state", 10),
)
STATES = {0: "scored", 1: "○ training", 2: "done", 3: "✗ diverged"}


class CandidateTable(Vertical):
    """A page of rows, a line that says which, and keys that sort and turn pages."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_curly_bracket,pagedown", "page(1)", "Next page", id="candidates.next",
                show=False, tooltip="Next page"),
        Binding("left_curly_bracket,pageup", "page(-1)", "Previous page", id="candidates.previous",
                show=False, tooltip="Previous page"),
        Binding("greater_than_sign", "sort(1)", "Sort", id="candidates.sort", show=False,
                tooltip="Sort by the next column"),
        Binding("less_than_sign", "sort(-1)", "Sort back", id="candidates.sort_back", show=False,
                tooltip="Sort by the previous column"),
        Binding("i", "reverse", "Reverse", id="candidates.reverse", show=False,
                tooltip="Sort the other way round"),
        Binding("space", "pick", "Pick", id="candidates.pick", show=False,
                tooltip="Pick the candidate, or unpick it"),
        Binding("f", "only", "Only picked", id="candidates.only", show=False,
                tooltip="Show only picked candidates, or all"),
    ]  # fmt: skip

    @dataclass
    class Highlighted(Message):
        """The table's cursor stands on a row of this candidate."""

        candidate: int

    @dataclass
    class Picked(Message):
        """A person picked or unpicked a candidate."""

        candidate: int

    def __init__(self, *, id: str | None = None) -> None:
        """Make an empty table."""
        super().__init__(id=id)
        self.rows: CandidateRows | None = None
        self.page = 0
        self.sort = 0
        self.descending = False
        self.picked: frozenset[int] = frozenset()
        self.only = False  # whether only picked candidates are shown
        self._order = np.zeros(0, np.int64)
        self._wanted: int | None = None
        self._drawn: list[tuple[object, ...]] = []

    def compose(self) -> ComposeResult:
        """Table and footing."""
        yield KeyTable(id="candidate-rows")
        yield Words("", id="candidate-page")

    def on_mount(self) -> None:
        """Set the columns."""
        table = self.query_one(KeyTable)
        for key, title, width in COLUMNS:
            justify: JustifyMethod = "left" if key == "state" else "right"
            table.add_column(Text(title, justify=justify), key=key, width=width)

    def show_rows(self, rows: CandidateRows) -> None:
        """Show these rows, on the page that is open."""
        self.rows = rows
        values = np.asarray(getattr(rows, COLUMNS[self.sort][0]), np.float64)
        ordered = -values if self.descending else values  # NaN stays at the end either way
        self._order = np.lexsort((rows.repeat, rows.candidate, ordered))
        if self.only:
            kept = np.isin(rows.candidate[self._order], np.fromiter(self.picked, np.int64))
            self._order = self._order[kept]
        self._draw()

    def set_picked(self, picked: frozenset[int], *, only: bool) -> None:
        """Mark these candidates, and show no others where that is wanted."""
        self.picked, self.only = picked, only and bool(picked)
        self._resort()

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-len(self._order) // PAGE))

    def _draw(self) -> None:
        rows = self.rows
        if rows is None:
            return
        self.page = min(self.page, self.pages - 1)
        first = self.page * PAGE
        shown = self._order[first : first + PAGE]
        cells = [_cells(rows, int(index), self.picked) for index in shown]
        table = self.query_one(KeyTable)
        if len(cells) == len(self._drawn):
            for number, (new, old) in enumerate(zip(cells, self._drawn, strict=True)):
                for column, (value, before) in enumerate(zip(new, old, strict=True)):
                    if value != before:
                        table.update_cell_at(Coordinate(number, column), value)
        else:
            at = table.cursor_row
            table.clear()
            for row in cells:
                table.add_row(*row)
            table.move_cursor(row=min(at, max(0, len(cells) - 1)), animate=False)
        self._drawn = cells
        total = len(self._order)
        arrow = "↓" if self.descending else "↑"
        last = min(first + PAGE, total)
        picked = f"{len(self.picked):,} picked {'only (f all)' if self.only else '(f only)'}   "
        self.query_one("#candidate-page", Words).show(
            f"{first + 1 if total else 0:,} to {last:,} of {total:,} rows   "
            f"{picked if self.picked else ''}"
            f"page {self.page + 1} of {self.pages} ({{ }})   "
            f"by {COLUMNS[self.sort][1]} {arrow} (< > i)"
        )
        self._go_to_wanted()

    # Linked with the scatter.

    def move_cursor(self, candidate: int | None) -> None:
        """Go to the first row of a candidate, turning the page where needed."""
        self._wanted = candidate
        self._go_to_wanted()

    def _go_to_wanted(self) -> None:
        if self._wanted is None or self.rows is None:
            return
        where = np.flatnonzero(self.rows.candidate[self._order] == self._wanted)
        self._wanted = None
        if not len(where):
            return
        page, row = divmod(int(where[0]), PAGE)
        if page != self.page:
            self.page = page
            self._draw()
        table = self.query_one(KeyTable)
        if table.cursor_row != row:
            table.move_cursor(row=row, animate=False)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Tell which candidate the cursor stands on, when a person moved it."""
        event.stop()
        current = self.current
        if current is not None and event.cursor_row >= 0 and event.data_table.has_focus:
            self.post_message(self.Highlighted(current))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by a clicked column; a second click turns it round."""
        event.stop()
        if event.column_index == self.sort:
            self.action_reverse()
        else:
            self.sort = event.column_index
            self._resort()

    def _resort(self) -> None:
        if self.rows is not None:
            self.show_rows(self.rows)

    def action_page(self, step: int) -> None:
        """Turn pages."""
        self.page = min(max(self.page + step, 0), self.pages - 1)
        self._draw()

    def action_sort(self, step: int) -> None:
        """Sort by another column."""
        self.sort = (self.sort + step) % len(COLUMNS)
        self._resort()

    @property
    def current(self) -> int | None:
        """The candidate of the row that the cursor stands on."""
        row = self.query_one(KeyTable).cursor_row  # -1 where there are none
        index = self.page * PAGE + row
        if self.rows is None or row < 0 or index >= len(self._order):
            return None
        return int(self.rows.candidate[self._order[index]])

    def action_pick(self) -> None:
        """Pick or unpick the candidate and go down."""
        if self.current is not None:
            self.post_message(self.Picked(self.current))
            self.query_one(KeyTable).action_cursor_down()

    def action_only(self) -> None:
        """Show only picked candidates, or all."""
        self.set_picked(self.picked, only=not self.only)

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.descending = not self.descending
        self._resort()


def _cells(rows: CandidateRows, index: int, picked: frozenset[int]) -> tuple[object, ...]:
    state = int(rows.state[index])
    style = "dim" if state in (0, 1) else "red" if state == 3 else ""
    epoch = int(rows.best_epoch[index])
    candidate = int(rows.candidate[index])
    numbers = (
        f"{'●' if candidate in picked else ''}{candidate}",
        str(rows.repeat[index]),
        plain(float(rows.score[index])),
        plain(float(rows.best_acc[index])),
        plain(float(rows.last_acc[index])),
        plain(float(rows.best_loss[index])),
        str(epoch) if epoch else DASH,
    )
    return (
        *(Text(number, style, justify="right") for number in numbers),
        Text(STATES.get(state, "?"), style),
    )
