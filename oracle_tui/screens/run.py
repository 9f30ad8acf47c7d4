"""One run, live or finished: scatter, correlation, candidates, log and spec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Log, Static, TabbedContent, TabPane
from textual.worker import Worker

from oracle_tui.formats import bar, duration, known, plain, progress, rate, short_id, signed
from oracle_tui.plots.line import LinePlot
from oracle_tui.plots.plot import Plot
from oracle_tui.plots.scatter import ScatterPlot
from oracle_tui.reading import RunFollower
from oracle_tui.screens.base import WIDE, WorkingScreen, sentence
from oracle_tui.views import GLYPHS, LIVE, RunView
from oracle_tui.widgets.candidates import CandidateTable
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.numbers import NumbersPanel
from oracle_tui.widgets.tables import KeyTable

#: Seconds between two looks at a run: while an engine works on it, and otherwise.
LOOK_LIVE, LOOK_REST = 0.5, 2.0

#: The request that a status is the answer to.
PAST = {"paused": "pause", "stopped": "stop", "running": "resume"}

TABS = ("scatter", "correlation", "candidates", "log", "spec")


class RunScreen(WorkingScreen[None]):
    """Follows one run. Everything shown is one RunView; keys send requests, never change it."""

    CSS_PATH = "run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="run.help",
                tooltip="Every key of this screen"),
        Binding("1", "tab('scatter')", "Tabs", id="run.tab_scatter", key_display="1-5",
                tooltip="Show the scatter; 2 correlation, 3 candidates, 4 log, 5 spec"),
        Binding("2", "tab('correlation')", "Correlation", id="run.tab_correlation", show=False,
                tooltip="Show tau over the number of candidates"),
        Binding("3", "tab('candidates')", "Candidates", id="run.tab_candidates", show=False,
                tooltip="Show the table of candidates"),
        Binding("4", "tab('log')", "Log", id="run.tab_log", show=False, tooltip="Show the log"),
        Binding("5", "tab('spec')", "Spec", id="run.tab_spec", show=False,
                tooltip="Show what is studied"),
        Binding("right_square_bracket", "turn(1)", "Next tab", id="run.next_tab", show=False,
                tooltip="Next tab"),
        Binding("left_square_bracket", "turn(-1)", "Previous tab", id="run.previous_tab",
                show=False, tooltip="Previous tab"),
        Binding("p", "pause", "Pause", id="run.pause",
                tooltip="Pause the run, or go on with a paused one"),
        Binding("s", "stop", "Stop", id="run.stop",
                tooltip="Stop the run; what is finished stays"),
        Binding("r", "resume", "Resume", id="run.resume", show=False,
                tooltip="Go on with a paused, stopped or failed run"),
        Binding("e", "export", "Export", id="run.export",
                tooltip="Write candidates and summary as CSV"),
        Binding("y", "copy", "Copy id", id="run.copy", show=False,
                tooltip="Copy the run's id through the terminal"),
        Binding("escape", "back", "Back", id="run.back", tooltip="Back to the list of runs"),
    ]  # fmt: skip

    @dataclass
    class Read(Message):
        """The run was read."""

        view: RunView

    @dataclass
    class Described(Message):
        """The filters that a candidate loses."""

        candidate: int
        pruned: tuple[tuple[int, ...], ...]

    def __init__(self, path: Path) -> None:
        """Follow the run at this path."""
        super().__init__()
        self.path = path
        self.view: RunView | None = None
        self._follower = RunFollower(path)
        self._look: Timer | None = None
        self._pruned: dict[int, tuple[tuple[int, ...], ...]] = {}
        self._log: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Header, tabs, keys."""
        yield Static("Reading the run…", id="run-title", markup=False)
        yield Static("", id="run-stage", markup=False)
        with TabbedContent(initial="scatter", id="run-tabs"):
            with TabPane("Scatter", id="scatter"), Horizontal():
                with Vertical():
                    yield Static("", id="scatter-name", classes="plot-name", markup=False)
                    yield ScatterPlot(id="scatter-plot")
                yield NumbersPanel(id="numbers")
            with TabPane("Correlation", id="correlation"), Vertical():
                yield Static("", id="line-name", classes="plot-name", markup=False)
                yield LinePlot(id="line-plot")
            with TabPane("Candidates", id="candidates"):
                yield CandidateTable(id="candidate-table")
            with TabPane("Log", id="log"):
                yield Log(id="log-lines", max_lines=2_000)
            with TabPane("Spec", id="spec"), VerticalScroll(id="spec-box"):
                yield Static("", id="spec-lines", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        """Keys work where the reader looks, so the row of tabs takes no focus."""
        self.query_one("#run-tabs Tabs").can_focus = False
        self.query_one(ScatterPlot).focus()
        self.call_after_refresh(self._read)

    # Reading.

    def _read(self) -> None:
        self._look = None
        self.in_thread(lambda: self.Read(self._follower.read()), group="read")

    def on_run_screen_read(self, message: Read) -> None:
        """Draw the run, and look again a little later."""
        view = message.view
        self.view = view
        if view.status in LIVE:
            self.oracle_app.live_runs[view.id] = view.status
        else:
            self.oracle_app.live_runs.pop(view.id, None)
        self._draw()
        self._look_again(LOOK_LIVE if view.live or view.status == "stalled" else LOOK_REST)

    def worker_failed(self, worker: Worker[object]) -> None:
        """Show why the run cannot be read; look again, but rarely."""
        if worker.group == "read":
            self.query_one("#run-stage", Static).update(sentence(worker.error))
            if self.view is None:
                self.query_one("#run-title", Static).update(self.path.name)
            self._look_again(5.0)

    def _look_again(self, seconds: float) -> None:
        if self.is_current and self._look is None:
            self._look = self.set_timer(seconds, self._read)

    def on_screen_resume(self) -> None:
        """Look again after a dialog."""
        if self.view is not None and self._look is None:
            self._read()
        for plot in (self.query_one(ScatterPlot), self.query_one(LinePlot)):
            plot.shown_again()

    def acted(self) -> None:
        """Look at once after an act."""
        if self._look is not None:
            self._look.stop()
        self._read()

    # Drawing.

    def _draw(self) -> None:
        view = self.view
        if view is None:
            return
        self._draw_header()
        scatter = self.query_one(ScatterPlot)
        if not _same(scatter.data, view.scatter):
            scatter.set_data(view.scatter)
        line = self.query_one(LinePlot)
        if line.data is not view.line:
            line.set_data(view.line)
        self._draw_names()
        self.query_one(NumbersPanel).show_run(view)
        self._draw_detail()
        if self._tab == "candidates":
            self.query_one(CandidateTable).show_rows(view.rows)
        self._draw_log()
        self.query_one("#spec-lines", Static).update(_spec_table(view.spec))

    def _draw_header(self) -> None:
        view = self.view
        assert view is not None
        status = f"{GLYPHS.get(view.status, '?')} {view.status}"
        name = f"{view.title}   [{short_id(view.id)}]"
        room = self.size.width - 2 - len(status) - 2
        title = name[: room - 1] + "…" if len(name) > room else name
        self.query_one("#run-title", Static).update(f"{title.ljust(room)}  {status}")
        self.query_one("#run-stage", Static).update(self._stage_line())

    def _stage_line(self) -> str:
        view = self.view
        assert view is not None
        counted = f"{view.n_done:,}/{view.n_total:,} retrained"
        if view.status not in ("running", "paused"):
            text = f"{counted} {progress(view.n_done, view.n_total)}"
            why = {
                "queued": "waiting for its engine",
                "stalled": "the engine has gone silent; r starts a new one",
                "stopped": "r resumes it",
                "paused": "p goes on",
            }.get(view.status, "")
            if view.status == "failed":
                return f"{view.message or 'It failed.'} 4 shows the log, r tries again."
            return "   ".join(part for part in (text, view.message or why) if part)
        stage = view.stage
        wide = self.size.width >= WIDE
        done, total, unit = stage.done, stage.total, stage.unit
        if stage.name == "retraining":
            done, total, unit = view.n_done, view.n_total, "retrained"
        parts = [
            f"{stage.name or view.status} {bar(done, total, 24 if wide else 12)} {done:,}/{total:,}"
            + (f" {unit}" if unit and (wide or stage.name != "retraining") else ""),
            rate(stage.rate) if wide or stage.name == "retraining" else "",
            f"ETA {duration(stage.eta)}" if known(stage.eta) else "",
            stage.note if wide or stage.name != "retraining" else "",
        ]
        if view.status == "paused":
            parts = [f"paused, {counted}", "p goes on"]
        if view.request and view.request != PAST.get(view.status):
            parts.insert(0, f"({view.request} asked for)")
        return "   ".join(part for part in parts if part)

    def _waiting(self) -> str:
        view = self.view
        if view is None or view.scatter.x.size or view.provisional:
            return ""
        if view.status == "running":
            return f"no points yet: {view.stage.name or 'starting'}"
        return "no points yet"

    def _line_name(self) -> str:
        view = self.view
        assert view is not None
        line = view.line
        if not line.x.size:
            return "tau of pruned train loss and accuracy: needs at least 3 finished candidates"
        interval = f"95 % {signed(float(line.low[-1]), 2)} to {signed(float(line.high[-1]), 2)}"
        return f"tau {signed(float(line.y[-1]))} at n={int(line.x[-1]):,}, {interval} (░)"

    def _draw_log(self) -> None:
        view = self.view
        assert view is not None
        if self._tab != "log" or view.log == self._log:
            return
        log, old, new = self.query_one(Log), self._log, view.log
        # The tail moves on: write what is new, or everything where it cannot be told.
        at = next((i for i in range(len(new), 0, -1) if new[i - 1 : i] == old[-1:]), 0)
        if old and at and old[-at:] == new[:at]:
            log.write_lines(new[at:])
        else:
            log.clear()
            log.write_lines(new or ("This run has no log here.",))
        self._log = new

    # The candidate under the cursor.

    def on_scatter_plot_cursor_moved(self, message: ScatterPlot.CursorMoved) -> None:
        """Describe the candidate; its filters come from the file."""
        candidate = message.candidate
        if candidate is not None and candidate not in self._pruned:
            follower = self._follower
            self.in_thread(
                lambda: self.Described(candidate, follower.pruned(candidate)), group="describe"
            )
        self._draw_detail()

    def on_run_screen_described(self, message: Described) -> None:
        """Show the filters of the candidate."""
        self._pruned[message.candidate] = message.pruned
        self._draw_detail()

    def on_candidate_table_highlighted(self, message: CandidateTable.Highlighted) -> None:
        """Let the scatter's cursor follow the table's."""
        self.query_one(ScatterPlot).move_cursor(message.candidate)

    def _draw_detail(self) -> None:
        scatter, view = self.query_one(ScatterPlot), self.view
        lines: list[Text] = []
        if view is not None and scatter.cursor is not None:
            lines = self._detail(view, scatter.cursor)
            here = len(scatter.here())
            if here > 1:
                lines.append(Text(f"{here} in this cell ( . next )", style="dim"))
        self.query_one(NumbersPanel).show_detail(lines)

    def _detail(self, view: RunView, candidate: int) -> list[Text]:
        rows = view.rows
        mine = rows.candidate == candidate
        if not mine.any():
            return []
        lines = [Text(f"▸ candidate {candidate}", style="bold")]
        for layer, indices in zip(view.layers, self._pruned.get(candidate, ()), strict=False):
            lines.append(Text(f"{layer} without {','.join(map(str, indices))}"))
        lines.append(Text(f"pruned loss {plain(float(rows.score[mine][0]))}"))
        for repeat, accuracy, epoch, state in zip(
            rows.repeat[mine][:4], rows.best_acc[mine], rows.best_epoch[mine], rows.state[mine],
            strict=False,
        ):  # fmt: skip
            name = f"rep {repeat} " if view.repeats > 1 else ""
            mark = {0: "waiting", 1: f"{plain(float(accuracy))} ○ ep {epoch}", 3: "diverged"}
            lines.append(Text(name + mark.get(int(state), f"{plain(float(accuracy))} ep {epoch}")))
        return lines

    def on_plot_view_changed(self, message: Plot.ViewChanged) -> None:
        """Say how the limits follow the points, and what is reduced."""
        self._draw_names()
        if isinstance(message.plot, ScatterPlot):
            self._draw_detail()

    def _draw_names(self) -> None:
        view = self.view
        if view is None:
            return
        for plot, name, text in (
            (self.query_one(ScatterPlot), "#scatter-name", self._waiting() or "accuracy ↑"),
            (self.query_one(LinePlot), "#line-name", self._line_name()),
        ):
            note = plot.frame.note if plot.frame is not None else ""
            state = f"{plot.mode.value}  {note}" if text[:2] != "no" else ""
            room = plot.size.width - len(text) - 2
            self.query_one(name, Static).update(f"{text}{state.rjust(room)}")

    # Tabs.

    @property
    def _tab(self) -> str:
        return self.query_one(TabbedContent).active

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Give the keys to what is shown, and draw what was not while hidden."""
        focus = {
            "scatter": "#scatter-plot",
            "correlation": "#line-plot",
            "candidates": "#candidate-rows",
            "log": "#log-lines",
            "spec": "#spec-box",
        }[self._tab]
        self.query_one(focus).focus()
        if self.view is not None:
            self._draw()
        if self._tab == "candidates":
            self.query_one(CandidateTable).move_cursor(self.query_one(ScatterPlot).cursor)

    def on_data_table_row_selected(self) -> None:
        """Enter on a row of the table shows its point."""
        row = self.query_one("#candidate-rows", KeyTable)
        if row.has_focus:
            self.action_tab("scatter")

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        self.query_one(TabbedContent).active = name

    def action_turn(self, step: int) -> None:
        """Show the next or previous tab."""
        self.action_tab(TABS[(TABS.index(self._tab) + step) % len(TABS)])

    # Acts.

    def action_back(self) -> None:
        """Leave the run."""
        self.dismiss()

    def action_pause(self) -> None:
        """Pause, or go on."""
        from oracle_tui import actions

        view = self.view
        if view is None:
            return
        if view.status == "paused":
            self.act(lambda: actions.resume(view.path, view.status))
        elif view.status in ("running", "queued"):
            self.act(lambda: actions.pause(view.path))
        else:
            self.notify(f"The run is {view.status}: there is nothing to pause.", markup=False)

    def action_resume(self) -> None:
        """Go on with the run."""
        from oracle_tui import actions

        view = self.view
        if view is not None:
            self.act(lambda: actions.resume(view.path, view.status))

    def action_stop(self) -> None:
        """Stop the run, after asking."""
        from oracle_tui import actions
        from oracle_tui.screens.confirm import ConfirmScreen

        view = self.view
        if view is None or view.status not in LIVE | {"stalled"}:
            self.notify("Nothing to stop: the run is not running.", markup=False)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.act(lambda: actions.stop(view.path))

        question = f"Stop {view.id}? Finished candidates are kept, and r resumes."
        self.app.push_screen(ConfirmScreen(question, "Stop"), answered)

    def action_export(self) -> None:
        """Write the CSV files."""
        from oracle_tui import actions

        view, folder = self.view, self.oracle_app.config.export_dir
        if view is None:
            return

        def work() -> str:
            first, *rest = actions.export(view.path, view.id, folder)
            names = ", ".join(path.name for path in (first, *rest))
            return f"Wrote {names} in {first.parent}"

        self.act(work)

    def action_copy(self) -> None:
        """Send the id to the terminal's clipboard."""
        if self.view is not None:
            self.app.copy_to_clipboard(self.view.id)
            self.notify(f"Sent to the terminal: {self.view.id}", markup=False)


def _same(old: object, new: object) -> bool:
    """Whether two scatters show the same, so that no frame is built for nothing."""
    import numpy as np

    return all(
        np.array_equal(value, vars(new)[name], equal_nan=value.dtype.kind == "f")
        if isinstance(value, np.ndarray)
        else value == vars(new)[name]
        for name, value in vars(old).items()
    )


def _spec_table(lines: tuple[tuple[str, str], ...]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=18)
    table.add_column()
    for name, value in lines:
        table.add_row(Text(name), Text(value))
    return table
