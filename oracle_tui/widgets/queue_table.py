"""The table of the queue: its columns, and what moves in it; only what changed is painted anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from oracle_tui.formats import duration, escape, progress
from oracle_tui.views import GLYPHS
from oracle_tui.widgets.run_table import STYLES
from oracle_tui.widgets.tables import KeyTable

if TYPE_CHECKING:
    from engine.queueing import QueuedRun

#: Columns: key, title, width in a narrow and in a wide terminal; 0 where there is no room.
COLUMNS = (
    ("place", "", 4, 4),
    ("id", "run", 39, 46),
    ("status", "status", 13, 13),
    ("left", "left", 10, 11),
    ("where", "where", 0, 30),
)


class QueueTable(KeyTable):
    """Queued runs in their order."""

    def __init__(self, *, id: str | None = None) -> None:
        """Make an empty table without columns; `set_wide` brings them."""
        super().__init__(id=id)
        self._cells: list[dict[str, Text]] = []

    def set_wide(self, wide: bool) -> None:
        """Take the columns that fit, and forget the lines."""
        self.clear(columns=True)
        self._cells = []
        for key, title, narrow_width, wide_width in COLUMNS:
            if width := wide_width if wide else narrow_width:
                self.add_column(title, key=key, width=width)

    def show_runs(self, runs: Sequence[QueuedRun], follow: str = "") -> None:
        """Show these runs; the cursor stays at its place, or goes with the run to follow."""
        cells = [_cells(place, run) for place, run in enumerate(runs, start=1)]
        keys = [str(key.value) for key in self.columns]
        if len(cells) == len(self._cells):
            for row, (new, old) in enumerate(zip(cells, self._cells, strict=True)):
                for column, key in enumerate(keys):
                    if new[key] != old[key]:
                        self.update_cell_at((row, column), new[key])  # type: ignore[arg-type]
        else:
            at = self.cursor_row
            self.clear()
            for each in cells:
                self.add_row(*(each[key] for key in keys))
            self.move_cursor(row=min(at, max(0, len(cells) - 1)), animate=False)
        self._cells = cells
        names = [run.id for run in runs]
        if follow in names:
            self.move_cursor(row=names.index(follow), animate=False)


def where(run: QueuedRun) -> str:
    """Return who works on a run, or what it waits for."""
    return f"{run.where}, process {run.pid}" if run.pid else run.where


def _cells(place: int, run: QueuedRun) -> dict[str, Text]:
    working = run.status in ("running", "paused") or run.n_done
    share = f" {progress(run.n_done, run.n_total)}" if working and run.n_total else ""
    glyph = GLYPHS.get(run.status, "✗")
    return {
        "place": Text(f"{place:>3}", "dim"),
        "id": Text(escape(run.id)),
        "status": Text(f"{glyph} {run.status}{share}", STYLES.get(run.status, "")),
        "left": Text(duration(run.seconds)),
        "where": Text(escape(where(run))),
    }
