"""The table of runs: its columns, its order, its filter; only what changed is painted anew."""

from __future__ import annotations

import time
from collections.abc import Iterable, Set
from pathlib import Path

from rich.text import Text

from oracle_tui.formats import age, progress, short_id, tau_with_n
from oracle_tui.views import GLYPHS, RunRow
from oracle_tui.widgets.tables import KeyTable

#: Columns: key, title, width, and whether they are shown in a narrow terminal.
COLUMNS = (
    ("mark", "", 1, True),
    ("id", "id", 7, True),
    ("model", "model", 11, True),
    ("dataset", "data", 8, True),
    ("layers", "layers", 6, True),
    ("ratio", "ratio", 5, True),
    ("wiring", "wiring", 8, True),
    ("status", "status", 13, True),
    ("tau", "tau", 12, True),
    ("age", "age", 4, False),
)

WIDTHS = {key: width for key, _, width, _ in COLUMNS}

#: Columns that say what is studied.
SPECIFIED = ("model", "dataset", "layers", "ratio", "wiring")

#: Columns that the list can be sorted by; "newest" is the order that the runs come in.
SORTS = ("newest", "id", "model", "dataset", "layers", "ratio", "wiring", "status", "tau")

#: Seconds between two looks at whether a run's age reads differently.
AGES = 20.0

STYLES = {
    "running": "green",
    "queued": "cyan",
    "paused": "yellow",
    "stalled": "bold red",
    "failed": "red",
    "stopped": "yellow",
}


def ordered(rows: Iterable[RunRow], sort: str, descending: bool = False) -> list[RunRow]:
    """Return runs by one of `SORTS`, those without a value last either way."""
    result = list(rows)
    if sort == "newest":
        return result[::-1] if descending else result
    if sort == "tau":
        known = [row for row in result if row.tau is not None]
        known.sort(key=lambda row: row.tau or 0.0, reverse=descending)
        return known + [row for row in result if row.tau is None]
    result.sort(key=lambda row: str(getattr(row, sort)), reverse=descending)
    return result


class RunTable(KeyTable):
    """Runs, one a line; the cursor stays on its run whatever comes and goes around it."""

    def __init__(self, *, id: str | None = None) -> None:
        """Make an empty table without columns; `set_wide` brings them."""
        super().__init__(id=id)
        self.cell_padding = 0  # the columns bring one space each: so they fit into 80
        self.runs: list[RunRow] = []
        # What each shown line was made from, so that it is made again only when that changes.
        self._made_from: dict[Path, tuple[RunRow, bool, str]] = {}
        self._marked: set[Path] = set()
        self._fresh_until = 0.0

    def set_wide(self, wide: bool) -> None:
        """Take the columns that fit, and forget the lines."""
        self.clear(columns=True)
        self.runs, self._made_from, self._fresh_until = [], {}, 0.0
        for key, title, width, narrow in COLUMNS:
            if narrow or wide:
                self.add_column(title, key=key, width=width + 1)

    def show_runs(self, runs: list[RunRow], marked: Set[Path]) -> None:
        """Show these runs in this order."""
        if runs == self.runs and time.monotonic() < self._fresh_until and marked == self._marked:
            return  # only ages could differ, and those by less than they show
        now, self._marked = time.time(), set(marked)
        self._fresh_until = time.monotonic() + AGES
        made_from = {row.path: (row, row.path in marked, _age(row, now)) for row in runs}
        keys = [str(key.value) for key in self.columns]
        if [row.path for row in runs] == [row.path for row in self.runs]:
            for path, source in made_from.items():
                old = self._made_from[path]
                if source == old:
                    continue
                new_cells, old_cells = _cells(*source), _cells(*old)
                for key in keys:
                    if new_cells[key] != old_cells[key]:
                        self.update_cell(str(path), key, new_cells[key])
        else:
            at = self.current
            self.clear()
            for row in runs:
                cells = _cells(*made_from[row.path])
                self.add_row(*(cells[key] for key in keys), key=str(row.path))
            if at is not None and at.path in made_from:
                self.move_cursor(row=[row.path for row in runs].index(at.path), animate=False)
        self.runs, self._made_from = runs, made_from

    @property
    def current(self) -> RunRow | None:
        """The highlighted run."""
        return self.runs[self.cursor_row] if 0 <= self.cursor_row < len(self.runs) else None


def _age(row: RunRow, now: float) -> str:
    return age(None if row.created is None else now - row.created)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _id(run_id: str) -> str:
    """Return what tells a run apart in so few columns: the number of a second run always stays."""
    width = WIDTHS["id"]
    head, dot, number = short_id(run_id).partition("·")
    return f"{head[: width - 1 - len(number)]}·{number}" if dot else _cut(head, width)


def _cells(row: RunRow, marked: bool, old: str) -> dict[str, Text]:
    dim = "dim" if row.example else ""
    finished = row.status in ("done", "failed") or not row.n_total
    share = "" if finished else f" {progress(row.n_done, row.n_total)}"
    glyph, style = GLYPHS.get(row.status, "?"), STYLES.get(row.status, "")
    status = Text(f"{glyph} {row.status}{share}", style)
    if row.error:
        status = Text("✗ unreadable", "red")
    elif row.example:
        status = Text("✓ example", "dim")
    return {
        "mark": Text("●" if marked else "", "bold"),
        "id": Text(_id(row.id), dim),
        **{name: Text(_cut(getattr(row, name), WIDTHS[name]), dim) for name in SPECIFIED},
        "status": status,
        "tau": Text(tau_with_n(row.tau, row.n, short=True), dim),
        "age": Text(old, "dim"),
    }
