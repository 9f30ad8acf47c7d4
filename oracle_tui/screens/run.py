"""One run, live or finished, in tabs; everything it shows is read in thread workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Log, TabbedContent, TabPane
from textual.worker import Worker

from oracle_tui.machine import Machine
from oracle_tui.plots.plot import Plot
from oracle_tui.plots.scatter import ScatterPlot
from oracle_tui.screens.acts import Target
from oracle_tui.screens.base import WIDE, sentence
from oracle_tui.screens.looking import LookingScreen
from oracle_tui.views import LIVE, RunView
from oracle_tui.widgets.candidates import CandidateTable
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.leaderboard import LeaderboardTab
from oracle_tui.widgets.numbers import NumbersPanel
from oracle_tui.widgets.run_text import (
    candidate_lines,
    log_lines,
    spec_lines,
    stage_line,
    title_line,
    waiting,
)
from oracle_tui.widgets.tables import KeyTable
from oracle_tui.widgets.tabs import CorrelationTab, CurvesTab, PublishedTab, plot_name
from oracle_tui.widgets.words import Words

#: Seconds between two looks at a run: while an engine works on it, and otherwise.
LOOK_LIVE, LOOK_REST = 0.5, 2.0

#: The tabs, and what their keys say they show.
TABS = {
    "scatter": "the scatter of candidates",
    "correlation": "tau over the number of candidates and over epochs",
    "leaderboard": "the scores ranked as predictors",
    "candidates": "the table of candidates",
    "curves": "learning curves of picked candidates and the oracle",
    "published": "the run beside the paper's panel",
    "log": "the log",
    "spec": "what is studied",
}

#: What has the keys on each tab.
FOCUS = {
    "scatter": "#scatter-plot",
    "correlation": "#line-plot",
    "leaderboard": "#leaderboard-tab",
    "candidates": "#candidate-rows",
    "curves": "#curves-plot",
    "published": "#published-tab",
    "log": "#log-lines",
    "spec": "#spec-box",
}


class RunScreen(LookingScreen):
    """Follows one run. Everything shown is one RunView; keys send requests, never change it."""

    CSS_PATH = "run.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="run.help",
                tooltip="Every key of this screen"),
        *(
            Binding(str(number), f"tab({name!r})", name.title() if number > 1 else "Tabs",
                    id=f"run.tab_{name}", show=number == 1, key_display="1-8" if number == 1 else
                    None, tooltip=f"Show {what}")
            for number, (name, what) in enumerate(TABS.items(), start=1)
        ),
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
        machine: str = ""

    @dataclass
    class Described(Message):
        """What a candidate lost was read."""

        candidate: int
        lost: tuple[str, ...]

    def __init__(self, path: Path) -> None:
        """Follow the run at this path."""
        super().__init__(path)
        self._look: Timer | None = None
        self._lost: dict[int, tuple[str, ...]] = {}
        self._log: list[str] | None = None  # what the tab shows
        self._machine, self._gauges = "", Machine()

    def compose(self) -> ComposeResult:
        """Header, tabs, keys."""
        yield Words("Reading the run…", id="run-title")
        yield Words("", id="run-stage")
        with TabbedContent(initial="scatter", id="run-tabs"):
            with TabPane("Scatter", id="scatter"), Horizontal():
                with Vertical():
                    yield Words("", id="scatter-name", classes="plot-name")
                    yield ScatterPlot(id="scatter-plot")
                yield NumbersPanel(id="numbers")
            with TabPane("Correlation", id="correlation"):
                yield CorrelationTab(id="correlation-tab")
            with TabPane("Leaderboard", id="leaderboard"):
                yield LeaderboardTab(id="leaderboard-tab")
            with TabPane("Candidates", id="candidates"):
                yield CandidateTable(id="candidate-table")
            with TabPane("Curves", id="curves"):
                yield CurvesTab(id="curves-tab")
            with TabPane("Published", id="published"):
                yield PublishedTab(id="published-tab")
            with TabPane("Log", id="log"):
                yield Log(id="log-lines", max_lines=2_000)
            with TabPane("Spec", id="spec"), VerticalScroll(id="spec-box"):
                yield Words("", id="spec-lines")
        yield KeyLine()

    def on_mount(self) -> None:
        """Keys work where the reader looks, so the row of tabs takes no focus."""
        self.query_one("#run-tabs Tabs").can_focus = False
        scatter = self.query_one(ScatterPlot)
        scatter.forget()  # no axes of nothing while the run is read
        scatter.focus()
        self.call_after_refresh(self._read)

    def on_resize(self) -> None:
        """Tell in as many columns as there are now."""
        self._draw()

    # Reading.

    def _read(self) -> None:
        self._look = None
        follower, gauges = self._follower, self._gauges

        def read() -> Message:
            view = follower.read()
            return self.Read(view, gauges.words(view.path) if view.status == "running" else "")

        self.in_thread(read, group="read")

    def on_run_screen_read(self, message: Read) -> None:
        """Draw the run, and look again a little later."""
        view = message.view
        new = view is not self.view or message.machine != self._machine
        self.view, self._machine = view, message.machine
        if view.status in LIVE:
            self.oracle_app.live_runs[view.id] = view.status
        else:
            self.oracle_app.live_runs.pop(view.id, None)
        if new:
            self._draw()
        self._look_again(LOOK_LIVE if view.live or view.status == "stalled" else LOOK_REST)

    def worker_failed(self, worker: Worker[object]) -> None:
        """Show why the run cannot be read; look again, but rarely."""
        if worker.group == "read":
            self.query_one("#run-stage", Words).show(sentence(worker.error))
            if self.view is None:
                self.query_one("#run-title", Words).show(self.path.name)
            self._look_again(5.0)

    def _look_again(self, seconds: float) -> None:
        if self.is_current and self._look is None:
            self._look = self.set_timer(seconds, self._read)

    def on_screen_resume(self) -> None:
        """Look again after a dialog."""
        if self.view is not None and self._look is None:
            self._read()
        for plot in self.query("LinePlot, SeriesPlot, ScatterPlot").results(Plot):  # type: ignore[type-abstract]
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
        self.query_one("#run-title", Words).show(title_line(view, self.size.width - 2))
        stage = stage_line(view, self.size.width >= WIDE, self.size.width - 2, self._machine)
        self.query_one("#run-stage", Words).show(stage)
        scatter = self.query_one(ScatterPlot)
        if scatter.waits or not _same(scatter.data, view.scatter):
            scatter.set_data(view.scatter)
        self.query_one(CorrelationTab).show_line(view)
        self.draw_names()
        self.query_one(NumbersPanel).show_run(view)
        self._draw_detail()
        if self.tab == "candidates":
            self.query_one(CandidateTable).show_rows(view.rows)
        self._draw_log()
        self.query_one("#spec-lines", Words).show(spec_lines(view.spec))
        self.compute_tab()

    def _draw_log(self) -> None:
        view = self.view
        assert view is not None
        if self.tab != "log":
            return
        log, old = self.query_one(Log), self._log or []
        new = log_lines(view.log, self.size.width - 3)
        if new == self._log:
            return
        # The tail moves on: write what is new, or everything where it cannot be told.
        at = next((i for i in range(len(new), 0, -1) if new[i - 1 : i] == old[-1:]), 0)
        if old and at and old[-at:] == new[:at]:
            log.write_lines(new[at:])
        else:
            log.clear()
            log.write_lines(new or ["This run has no log here."])
        self._log = new

    # The candidate under the cursor.

    def on_scatter_plot_cursor_moved(self, message: ScatterPlot.CursorMoved) -> None:
        """Describe the candidate; what it lost comes from the file."""
        candidate = message.candidate
        if candidate is not None and candidate not in self._lost:
            follower = self._follower
            self.in_thread(
                lambda: self.Described(candidate, follower.lost(candidate)), group="describe"
            )
        self._draw_detail()
        self.compute_tab()

    def on_run_screen_described(self, message: Described) -> None:
        """Show what the candidate lost."""
        self._lost[message.candidate] = message.lost
        self._draw_detail()

    def on_candidate_table_highlighted(self, message: CandidateTable.Highlighted) -> None:
        """Let the scatter's cursor follow the table's."""
        self.query_one(ScatterPlot).move_cursor(message.candidate)

    def _draw_detail(self) -> None:
        scatter, view = self.query_one(ScatterPlot), self.view
        lines: list[Text] = []
        if view is not None and scatter.cursor is not None:
            lost = self._lost.get(scatter.cursor, ())
            lines = candidate_lines(view, scatter.cursor, lost, len(scatter.here()))
        self.query_one(NumbersPanel).show_detail(lines)

    def on_plot_view_changed(self, message: Plot.ViewChanged) -> None:
        """Say how the limits follow the points, and what is reduced."""
        self.draw_names()
        if isinstance(message.plot, ScatterPlot):
            self._draw_detail()

    def draw_names(self) -> None:
        """Say over each plot what it shows."""
        view = self.view
        if view is None:
            return
        scatter, empty = self.query_one(ScatterPlot), waiting(view)
        y_name = view.axes.outcome.replace("_", " ") + (" log" if scatter.scales[1] else "") + " ↑"
        picked = f" ●{len(scatter.picked):,}" if scatter.picked else ""
        name = self.query_one("#scatter-name", Words)
        plot_name(scatter, name, empty or y_name + picked, empty=bool(empty))
        self.query_one(CorrelationTab).draw_names()
        self.query_one(CurvesTab).draw_names()

    # Tabs.

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Give the keys to what is shown, and draw what was not while hidden."""
        over_epochs = self.tab == "correlation" and self.query_one(CorrelationTab).over_epochs
        self.query_one("#epochs-plot" if over_epochs else FOCUS[self.tab]).focus()
        if self.view is not None:
            self._draw()
        if self.tab == "candidates":
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
        names = list(TABS)
        self.action_tab(names[(names.index(self.tab) + step) % len(names)])

    # Acts.

    def action_back(self) -> None:
        """Leave the run; picked candidates are let go first."""
        if self.query_one(ScatterPlot).picked:
            self.action_unpick()
        else:
            self.dismiss()

    @property
    def target(self) -> Target | None:
        """The run, once it was read."""
        view = self.view
        return None if view is None else Target(view.path, view.id, view.status)


def _same(old: object, new: object) -> bool:
    """Whether two scatters show the same, so that no frame is built for nothing."""
    import numpy as np

    return all(
        np.array_equal(value, vars(new)[name], equal_nan=value.dtype.kind == "f")
        if isinstance(value, np.ndarray)
        else value == vars(new)[name]
        for name, value in vars(old).items()
    )
