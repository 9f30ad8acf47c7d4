"""The list of runs, live and past: the app begins here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widgets import DataTable, Input
from textual.worker import Worker

from oracle_tui.filters import FILTERS, matches
from oracle_tui.formats import at_home
from oracle_tui.screens.acts import ActingScreen, Target
from oracle_tui.screens.base import WIDE
from oracle_tui.views import LIVE, RunRow
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.preview import Preview
from oracle_tui.widgets.run_table import SORTS, RunTable, ordered
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from oracle_tui.listing import RunLister

#: Seconds between two looks at the folder.
LOOK_AGAIN = 1.0


class RunsScreen(ActingScreen):
    """A table of runs, a filter, and beside it a preview where the terminal is wide."""

    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="runs.help",
                tooltip="Every key of this screen"),
        Binding("n", "new", "New", id="runs.new", tooltip="Start a new study"),
        Binding("slash", "filter", "Filter", id="runs.filter",
                tooltip="Show only matching runs: words, status:done, model:lenet, tau<-0.2, n>45"),
        Binding("e", "export", "Export", id="runs.export",
                tooltip="Write candidates and summary as CSV"),
        Binding("p", "pause", "Pause", id="runs.pause",
                tooltip="Pause the run, or go on with a paused one"),
        Binding("s", "stop", "Stop", id="runs.stop",
                tooltip="Stop the run; what is finished stays"),
        Binding("r", "resume", "Resume", id="runs.resume", show=False,
                tooltip="Go on with a paused, stopped or failed run"),
        Binding("d", "delete", "Delete", id="runs.delete", show=False,
                tooltip="Delete the run for good"),
        Binding("y", "copy", "Copy id", id="runs.copy", show=False,
                tooltip="Copy the run's id through the terminal"),
        Binding("space", "mark", "Select", id="runs.mark", show=False,
                tooltip="Select several runs for export, stop or delete"),
        Binding("greater_than_sign,t", "sort(1)", "Sort", id="runs.sort", show=False,
                tooltip="Sort by the next column (or click its title)"),
        Binding("less_than_sign", "sort(-1)", "Sort back", id="runs.sort_back", show=False,
                tooltip="Sort by the previous column"),
        Binding("i", "reverse", "Reverse", id="runs.reverse", show=False,
                tooltip="Sort the other way round"),
        Binding("c", "compare", "Compare", id="runs.compare",
                tooltip="Compare the selected runs"),
        Binding("a", "enqueue", "Enqueue", id="runs.enqueue", show=False,
                tooltip="Put the selected runs at the end of the queue (Q shows it)"),
        Binding("escape", "unfilter", "Clear filter", id="runs.unfilter", show=False,
                tooltip="Show all runs again"),
    ]  # fmt: skip

    @dataclass
    class Listed(Message):
        """The folder was read."""

        rows: tuple[RunRow, ...]
        seconds: float

    class Warm(Message):
        """The heavy imports are done."""

    def __init__(self) -> None:
        """Make a list that reads nothing before it is painted."""
        super().__init__()
        self.rows: tuple[RunRow, ...] = ()
        self.marked: set[Path] = set()
        self.sort = SORTS[0]
        self.descending = False
        self._known = False
        self._warm: bool | None = None  # None: not asked for yet
        self._lister: RunLister | None = None
        self._look: Timer | None = None
        self._wide: bool | None = None

    def compose(self) -> ComposeResult:
        """Header line, table, preview, filter, keys."""
        yield Words("", id="runs-header")
        with Horizontal(id="runs-body"):
            yield RunTable(id="runs-table")
            yield Words("Reading runs…", id="runs-empty")
            yield Preview(id="preview")
        yield Input(
            placeholder="words, status:done, model:lenet, tau<-0.2", id="filter", compact=True
        )
        yield KeyLine()

    def on_mount(self) -> None:
        """Paint first; read afterwards."""
        self.query_one(Input).display = False
        self.table.display = False
        self.table.focus()
        self._header()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._list()
        if self.oracle_app.open_run is not None:
            self._open_named(self.oracle_app.open_run)

    def _warm_up(self) -> None:
        """Import what the other screens need, once the list is there to be looked at."""

        def work() -> Message:
            from oracle_tui.listing import warm_up

            warm_up()
            return self.Warm()

        self._warm = False
        self.in_thread(work, group="warm")

    def on_runs_screen_warm(self) -> None:
        """From now on the shipped runs are listed too."""
        self._warm = True
        self.acted()

    # Reading.

    def _list(self) -> None:
        if self._lister is None:
            from oracle_tui.listing import RunLister

            self._lister = RunLister(self.oracle_app.runs_dir)
        lister, examples = self._lister, bool(self._warm)
        self._look = None

        def read() -> Message:
            start = time.thread_time()
            rows = lister.read(examples=examples)
            return self.Listed(rows, time.thread_time() - start)

        self.in_thread(read, group="list")

    def on_runs_screen_listed(self, message: Listed) -> None:
        """Show the folder, and look again a little later."""
        self.rows = message.rows
        self.marked &= {row.path for row in self.rows}
        self._known = True
        if self._warm is None:
            self._warm_up()
        self.oracle_app.live_runs = {row.id: row.status for row in self.rows if row.status in LIVE}
        self._show()
        # Looking at very many runs costs more: then look less often, never for more than 3 %.
        self._look_again(max(LOOK_AGAIN, 33 * message.seconds))

    def worker_failed(self, worker: Worker[object]) -> None:
        """Keep looking: a folder that cannot be read now may be there again in a moment."""
        if worker.group == "list":
            self._known = True
            self._look_again(5 * LOOK_AGAIN)

    def _look_again(self, seconds: float = LOOK_AGAIN) -> None:
        if self.is_current and self._look is None:
            self._look = self.set_timer(seconds, self._list)

    def on_screen_resume(self) -> None:
        """Another screen went: look at once."""
        if self._known and self._look is None:
            self._list()
            self.query_one(Preview).shown_again()

    def acted(self) -> None:
        """Look at once after an act."""
        if self._look is not None:
            self._look.stop()
        self._list()

    # The table.

    def on_resize(self) -> None:
        """Fit the columns, and have the preview only where it fits."""
        wide = self.size.width >= WIDE
        if wide != self._wide:
            self._wide = wide
            self.table.set_wide(wide)
            self._show()

    def _show(self) -> None:
        if self._wide is None:
            return
        kept = (row for row in self.rows if matches(row, self._filter))
        visible = ordered(kept, self.sort, self.descending)
        self.table.show_runs(visible, self.marked)
        self._follow()
        self._header()
        self._empty_state()

    def _header(self) -> None:
        live = sum(row.status == "running" for row in self.rows)
        counts = f"{len(self.rows):,} run{'' if len(self.rows) == 1 else 's'}"
        if live:
            counts += f", {live:,} running"
        if len(self.table.runs) < len(self.rows):
            counts = f"{len(self.table.runs):,} of {counts}"
        if self.marked:
            counts += f", {len(self.marked):,} selected"
        if self.sort != SORTS[0] or self.descending:
            counts += f", by {self.sort} {'↓' if self.descending else '↑'}"
        where = at_home(self.oracle_app.runs_dir)
        header = self.query_one("#runs-header", Words)
        room = max(10, self.size.width - len(counts) - 17)
        if len(where) > room:
            where = "…" + where[-(room - 1) :]
        header.show(f"oracle-tui  {where}  {counts if self._known else ''}")

    def _empty_state(self) -> None:
        empty = self.query_one("#runs-empty", Words)
        table = self.table
        nothing = self._known and not self.table.runs
        table.display = self._known and bool(self.table.runs)
        empty.display = not table.display
        self.set_class(not table.display, "-nothing")
        if nothing and self.rows:
            empty.show(f"No run matches the filter.\n\n{FILTERS}\nesc shows all runs again.")
        elif nothing:
            empty.show(
                "No runs yet.\n\nn starts one: the quick preset takes a minute or two.\n"
                "? shows every key."
            )
        if table.display and self.focused is None:
            table.focus()

    @property
    def table(self) -> RunTable:
        """The table of runs."""
        return self.query_one(RunTable)

    @property
    def current(self) -> RunRow | None:
        """The highlighted run, as it was last seen."""
        return self.table.current

    @property
    def chosen(self) -> list[RunRow]:
        """The selected runs, else the highlighted one."""
        marked = [row for row in self.rows if row.path in self.marked]
        current = self.current
        return marked or ([current] if current else [])

    @property
    def target(self) -> Target | None:
        """The highlighted run, for keys."""
        row = self.current
        return None if row is None else Target(row.path, row.id, row.status)

    @property
    def targets(self) -> list[Target]:
        """The selected runs, else the highlighted one, for keys."""
        return [Target(row.path, row.id, row.status) for row in self.chosen]

    def on_data_table_row_highlighted(self) -> None:
        """Preview the run."""
        self._follow()

    def _follow(self) -> None:
        current = self.current
        self.query_one(Preview).follow(None if current is None else current.path)

    # The filter.

    @property
    def _filter(self) -> str:
        return self.query_one("#filter", Input).value

    def action_filter(self) -> None:
        """Type a filter."""
        box = self.query_one("#filter", Input)
        box.display = True
        self.set_focus(box)  # at once: what is typed next must not be taken for keys

    def on_input_changed(self) -> None:
        """Filter while it is typed."""
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and go back to the table."""
        event.input.display = bool(event.value)
        self.set_focus(self.table)

    def action_unfilter(self) -> None:
        """Drop the filter, then the selection."""
        box = self.query_one("#filter", Input)
        if box.display:
            box.value = ""
            box.display = False
        elif self.marked:
            self.marked.clear()
        self._show()
        self.set_focus(self.table)

    # Acts.

    def on_data_table_row_selected(self) -> None:
        """Open the run."""
        if self.current is not None:
            self.open(self.current.path)

    def open(self, path: Path) -> None:
        """Open a run on a screen of its own."""
        from oracle_tui.screens.run import RunScreen

        self.app.push_screen(RunScreen(path))

    def _open_named(self, name: str) -> None:
        runs_dir = self.oracle_app.runs_dir

        def find() -> Message:
            from engine.store.listing import find_run

            return self.Found(find_run(runs_dir, name))

        self.in_thread(find, group="find")

    @dataclass
    class Found(Message):
        """The run that was asked for at the start."""

        path: Path

    def on_runs_screen_found(self, message: Found) -> None:
        """Open it."""
        self.open(message.path)

    def action_new(self) -> None:
        """Open the form."""
        from oracle_tui.screens.new_run import NewRunScreen

        self.app.push_screen(NewRunScreen())

    def action_mark(self) -> None:
        """Select or unselect the run and go down."""
        row = self.current
        if row is None:
            return
        self.marked ^= {row.path}
        self._show()
        self.table.action_cursor_down()

    def action_sort(self, step: int) -> None:
        """Sort by another column."""
        self.sort = SORTS[(SORTS.index(self.sort) + step) % len(SORTS)]
        self._show()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self.descending = not self.descending
        self._show()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by a clicked column; a second click turns it round."""
        name = "newest" if event.column_key.value == "age" else event.column_key.value
        if name == self.sort:
            self.action_reverse()
        elif name in SORTS:
            self.sort = name
            self._show()

    def action_compare(self) -> None:
        """Compare the selected runs."""
        rows = [row for row in self.chosen if not row.error]
        if len(rows) < 2:
            self.notify("Select two or more runs with space, then press c.", markup=False)
            return
        from oracle_tui.screens.compare import CompareScreen

        self.app.push_screen(CompareScreen([row.path for row in rows]))

    def action_enqueue(self) -> None:
        """Put the chosen runs at the end of the queue."""
        self.enqueue(self.targets)

    def action_delete(self) -> None:
        """Delete the chosen runs, after asking."""
        rows = self.chosen
        if any(row.example for row in rows):
            self.notify("The example run is shipped with the app and stays.", markup=False)
        elif rows:
            self.delete(self.targets)
