"""The list of runs, live and past: the app begins here."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widgets import DataTable, Input, Static
from textual.worker import Worker

from oracle_tui.formats import age, progress, short_id, tau_with_n
from oracle_tui.screens.base import WIDE, WorkingScreen
from oracle_tui.views import GLYPHS, LIVE, RunRow, RunView
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.tables import KeyTable

if TYPE_CHECKING:
    from oracle_tui.reading import RunFollower, RunLister
    from oracle_tui.widgets.preview import Preview

#: Seconds between two looks at the folder, and between two at the previewed run.
LOOK_AGAIN = 1.0

#: Columns: key, title, width, and whether they are shown in a narrow terminal.
COLUMNS = (
    ("mark", "", 1, True),
    ("id", "id", 7, True),
    ("model", "model", 11, True),
    ("dataset", "data", 9, True),
    ("layers", "layers", 6, True),
    ("ratio", "ratio", 5, True),
    ("status", "status", 13, True),
    ("tau", "tau", 11, True),
    ("age", "age", 4, False),
)
SORTS = ("newest", "status", "model", "tau")


class RunsScreen(WorkingScreen[None]):
    """A table of runs, a filter, and beside it a preview where the terminal is wide."""

    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="runs.help",
                tooltip="Every key of this screen"),
        Binding("n", "new", "New", id="runs.new", tooltip="Start a new study"),
        Binding("slash", "filter", "Filter", id="runs.filter",
                tooltip="Show only matching runs: words, or field:word such as status:done"),
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
        Binding("t", "sort", "Sort", id="runs.sort", show=False,
                tooltip="Sort by newest, status, model or tau"),
        Binding("escape", "unfilter", "Clear filter", id="runs.unfilter", show=False,
                tooltip="Show all runs again"),
    ]  # fmt: skip

    @dataclass
    class Listed(Message):
        """The folder was read."""

        rows: tuple[RunRow, ...]

    class Warm(Message):
        """The heavy imports are done."""

    @dataclass
    class Previewed(Message):
        """The highlighted run was read; the path says which it was."""

        path: Path
        view: RunView | None
        error: str = ""

    def __init__(self) -> None:
        """Make a list that reads nothing before it is painted."""
        super().__init__()
        self.rows: tuple[RunRow, ...] = ()
        self.marked: set[Path] = set()
        self.sort = SORTS[0]
        self._known = False
        self._warm: bool | None = None  # None: not asked for yet
        self._shown: list[RunRow] = []
        self._cells: dict[Path, dict[str, object]] = {}
        self._followers: dict[Path, RunFollower] = {}
        self._lister: RunLister | None = None
        self._look: Timer | None = None
        self._preview_timer: Timer | None = None
        self._previewed: Path | None = None
        self._wide: bool | None = None

    def compose(self) -> ComposeResult:
        """Header line, table, preview, filter, keys."""
        yield Static("", id="runs-header", markup=False)
        with Horizontal(id="runs-body"):
            yield KeyTable(id="runs-table")
            yield Static("Reading runs…", id="runs-empty", markup=False)
        yield Input(
            placeholder="words, or field:word such as status:done", id="filter", compact=True
        )
        yield KeyLine()

    def on_mount(self) -> None:
        """Paint first; read afterwards."""
        self.query_one(Input).display = False
        self.query_one(KeyTable).display = False
        self.query_one(KeyTable).focus()
        self._header()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._list()
        if self.oracle_app.open_run is not None:
            self._open_named(self.oracle_app.open_run)

    def _warm_up(self) -> None:
        """Import what the other screens need, once the list is there to be looked at."""

        def work() -> Message:
            from oracle_tui.reading import warm_up

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
            from oracle_tui.reading import RunLister

            self._lister = RunLister(self.oracle_app.runs_dir)
        lister, examples = self._lister, bool(self._warm)
        self._look = None

        def read() -> Message:
            return self.Listed(lister.read(examples=examples))

        self.in_thread(read, group="list")

    def on_runs_screen_listed(self, message: Listed) -> None:
        """Show the folder, and look again a little later."""
        self.rows = message.rows
        self._known = True
        if self._warm is None:
            self._warm_up()
        self.oracle_app.live_runs = {row.id: row.status for row in self.rows if row.status in LIVE}
        self._show()
        self._look_again()

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
        for preview in self.query("#preview"):
            cast("Preview", preview).shown_again()

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
            self._set_columns()
            self._show()
            if wide:
                self._plan_preview()

    def _set_columns(self) -> None:
        table = self.query_one(KeyTable)
        table.clear(columns=True)
        self._shown, self._cells = [], {}
        for key, title, width, narrow in COLUMNS:
            if narrow or self._wide:
                table.add_column(title, key=key, width=width)

    def _show(self) -> None:
        if self._wide is None:
            return
        table = self.query_one(KeyTable)
        visible = self._sorted(row for row in self.rows if matches(row, self._filter))
        cells = {row.path: self._row_cells(row) for row in visible}
        if [row.path for row in visible] == [row.path for row in self._shown]:
            for path, new in cells.items():
                old = self._cells[path]
                for key in new.keys() & {column[0] for column in COLUMNS}:
                    if new[key] != old[key] and key in table.columns:
                        table.update_cell(str(path), key, new[key])
        else:
            at = self._highlighted()
            table.clear()
            keys = [str(column.value) for column in table.columns]
            for row in visible:
                table.add_row(*(cells[row.path][key] for key in keys), key=str(row.path))
            if at is not None and at in cells:
                table.move_cursor(row=[row.path for row in visible].index(at), animate=False)
        self._shown, self._cells = visible, cells
        self._header()
        self._empty_state()

    def _row_cells(self, row: RunRow) -> dict[str, object]:
        dim = "dim" if row.example else ""
        done = row.status in ("done", "failed") or not row.n_total
        share = "" if done else f" {progress(row.n_done, row.n_total)}"
        glyph, style = GLYPHS.get(row.status, "?"), STYLES.get(row.status, "")
        status = Text(f"{glyph} {row.status}{share}", style)
        if row.error:
            status = Text("✗ unreadable", "red")
        elif row.example:
            status = Text("✓ example", "dim")
        created = None if row.created is None else time.time() - row.created
        return {
            "mark": Text("●" if row.path in self.marked else "", "bold"),
            "id": Text(short_id(row.id), dim),
            "model": Text(row.model, dim),
            "dataset": Text(row.dataset, dim),
            "layers": Text(row.layers, dim),
            "ratio": Text(row.ratio, dim),
            "status": status,
            "tau": Text(tau_with_n(row.tau, row.n), dim),
            "age": Text(age(created), "dim"),
        }

    def _sorted(self, rows: Iterable[RunRow]) -> list[RunRow]:
        ordered = list(rows)
        if self.sort == "tau":
            ordered.sort(key=lambda row: (row.tau is None, row.tau or 0.0))
        elif self.sort != "newest":
            ordered.sort(key=lambda row: str(getattr(row, self.sort)))
        return ordered

    def _header(self) -> None:
        live = sum(row.status == "running" for row in self.rows)
        counts = f"{len(self.rows)} run{'' if len(self.rows) == 1 else 's'}"
        if live:
            counts += f", {live} running"
        if len(self._shown) < len(self.rows):
            counts = f"{len(self._shown)} of {counts}"
        if self.marked:
            counts += f", {len(self.marked)} selected"
        if self.sort != SORTS[0]:
            counts += f", by {self.sort}"
        where = str(self.oracle_app.runs_dir).replace(str(Path.home()), "~", 1)
        header = self.query_one("#runs-header", Static)
        room = max(10, self.size.width - len(counts) - 17)
        if len(where) > room:
            where = "…" + where[-(room - 1) :]
        header.update(f"oracle-tui  {where}  {counts if self._known else ''}")

    def _empty_state(self) -> None:
        empty = self.query_one("#runs-empty", Static)
        table = self.query_one(KeyTable)
        nothing = self._known and not self._shown
        table.display = self._known and bool(self._shown)
        empty.display = not table.display
        if nothing and self.rows:
            empty.update("No run matches the filter.\n\nesc shows all runs again.")
        elif nothing:
            empty.update(
                "No runs yet.\n\nn starts one: the quick preset takes about two minutes.\n"
                "? shows every key."
            )
        if table.display and self.focused is None:
            table.focus()

    def _highlighted(self) -> Path | None:
        table = self.query_one(KeyTable)
        if 0 <= table.cursor_row < len(self._shown):
            return self._shown[table.cursor_row].path
        return None

    @property
    def current(self) -> RunRow | None:
        """The highlighted run."""
        at = self._highlighted()
        return next((row for row in self.rows if row.path == at), None)

    @property
    def chosen(self) -> list[RunRow]:
        """The selected runs, else the highlighted one."""
        marked = [row for row in self.rows if row.path in self.marked]
        current = self.current
        return marked or ([current] if current else [])

    # The preview.

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Preview the run once the cursor rests."""
        if self._wide:
            self._plan_preview()

    def _plan_preview(self) -> None:
        if self._preview_timer is not None:
            self._preview_timer.stop()
        self._preview_timer = self.set_timer(0.15, self._read_preview)

    def _read_preview(self) -> None:
        self._preview_timer = None
        row = self.current
        if row is None or not self._wide or not self.is_current:
            return
        path = row.path
        if path not in self._followers:
            while len(self._followers) >= 8:
                self._followers.pop(next(iter(self._followers)))
            from oracle_tui.reading import RunFollower

            self._followers[path] = RunFollower(path)
        follower = self._followers[path]

        def read() -> Message:
            from engine.errors import OracleError

            try:
                return self.Previewed(path, follower.read())
            except OracleError as error:
                return self.Previewed(path, None, str(error))

        self.in_thread(read, group="preview")

    def on_runs_screen_previewed(self, message: Previewed) -> None:
        """Show the run beside the table, where it is still the highlighted one."""
        row = self.current
        if row is None or row.path != message.path or not self._wide:
            return
        preview = self._preview()
        if message.view is None:
            preview.show_sentence(message.error)
            return
        preview.show_run(message.view)
        if message.view.live and self._preview_timer is None:
            self._preview_timer = self.set_timer(LOOK_AGAIN, self._read_preview)

    def _preview(self) -> Preview:
        from oracle_tui.widgets.preview import Preview

        found = self.query(Preview)
        if found:
            return found.first()
        preview = Preview(id="preview")
        self.query_one("#runs-body").mount(preview)
        return preview

    # The filter.

    @property
    def _filter(self) -> str:
        return self.query_one("#filter", Input).value

    def action_filter(self) -> None:
        """Type a filter."""
        box = self.query_one("#filter", Input)
        box.display = True
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        self._show()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter and go back to the table."""
        event.input.display = bool(event.value)
        self.query_one(KeyTable).focus()

    def action_unfilter(self) -> None:
        """Drop the filter, then the selection."""
        box = self.query_one("#filter", Input)
        if box.display:
            box.value = ""
            box.display = False
        elif self.marked:
            self.marked.clear()
        self._show()
        self.query_one(KeyTable).focus()

    # Acts.

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the run."""
        row = self.current
        if row is not None:
            self.open(row.path)

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
        self.query_one(KeyTable).action_cursor_down()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self._show()

    def action_copy(self) -> None:
        """Send the id to the terminal's clipboard."""
        if self.current is not None:
            self.app.copy_to_clipboard(self.current.id)
            self.notify(f"Sent to the terminal: {self.current.id}", markup=False)

    def action_export(self) -> None:
        """Write the CSV files of the chosen runs."""
        rows, folder = self.chosen, self.oracle_app.config.export_dir
        if rows:
            self.act(lambda: _export(rows, folder))

    def action_pause(self) -> None:
        """Pause, or go on."""
        row = self.current
        if row is None:
            return
        from oracle_tui import actions

        if row.status == "paused":
            self.act(lambda: actions.resume(row.path, row.status))
        elif row.status in ("running", "queued"):
            self.act(lambda: actions.pause(row.path))
        else:
            self.notify(f"{row.id} is {row.status}: there is nothing to pause.", markup=False)

    def action_resume(self) -> None:
        """Go on with the run."""
        row = self.current
        if row is None:
            return
        from oracle_tui import actions

        self.act(lambda: actions.resume(row.path, row.status))

    def action_stop(self) -> None:
        """Stop the chosen runs, after asking."""
        rows = [row for row in self.chosen if row.status in LIVE or row.status == "stalled"]
        if not rows:
            self.notify("Nothing to stop: the run is not running.", markup=False)
            return
        from oracle_tui import actions
        from oracle_tui.screens.confirm import ConfirmScreen

        what = rows[0].id if len(rows) == 1 else f"{len(rows)} runs"

        def answered(yes: bool | None) -> None:
            if yes:
                for row in rows:
                    self.act(lambda row=row: actions.stop(row.path))  # type: ignore[misc]

        question = f"Stop {what}? Finished candidates are kept, and r resumes."
        self.app.push_screen(ConfirmScreen(question, "Stop"), answered)

    def action_delete(self) -> None:
        """Delete the chosen runs, after asking."""
        rows = self.chosen
        if any(row.example for row in rows):
            self.notify("The example run is shipped with the app and stays.", markup=False)
            return
        if not rows:
            return
        from oracle_tui import actions
        from oracle_tui.screens.confirm import ConfirmScreen

        what = rows[0].id if len(rows) == 1 else f"{len(rows)} runs"
        paths, runs_dir = [row.path for row in rows], self.oracle_app.runs_dir

        def answered(yes: bool | None) -> None:
            if yes:
                self.marked -= set(paths)
                self.act(lambda: actions.delete(paths, runs_dir))

        question = f"Delete {what}, with every result in it? This cannot be undone."
        self.app.push_screen(ConfirmScreen(question, "Delete"), answered)


STYLES = {
    "running": "green",
    "queued": "cyan",
    "paused": "yellow",
    "stalled": "bold red",
    "failed": "red",
    "stopped": "yellow",
}


def matches(row: RunRow, text: str) -> bool:
    """Whether a run has every word of a filter; ``field:word`` looks in one field only."""
    for word in text.lower().split():
        field, colon, value = word.partition(":")
        if colon and hasattr(row, field):
            if value not in str(getattr(row, field)).lower():
                return False
        elif word not in row.words:
            return False
    return True


def _export(rows: list[RunRow], folder: Path | None) -> str:
    from oracle_tui import actions

    written = [path for row in rows for path in actions.export(row.path, row.id, folder)]
    names = ", ".join(path.name for path in written[:2])
    more = f" and {len(written) - 2} more" if len(written) > 2 else ""
    return f"Wrote {names}{more} in {written[0].parent}"
