"""Several runs beside each other: clouds, taus, layer by ratio, complexity, and both wirings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TabbedContent, TabPane
from textual.worker import Worker

from oracle_tui.comparing import (
    COMPLEXITIES,
    Comparison,
    compare_runs,
    complexity,
    differing,
    overlaid,
)
from oracle_tui.plots.plot import Plot
from oracle_tui.plots.series import SeriesPlot
from oracle_tui.screens.base import WorkingScreen, sentence
from oracle_tui.widgets.compare_text import (
    heat_lines,
    legend_lines,
    tau_lines,
    wiring_lines,
)
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.leaderboard import overall_lines
from oracle_tui.widgets.tabs import plot_name
from oracle_tui.widgets.words import Words

#: Seconds between two looks: runs of a comparison may still be going on.
LOOK_AGAIN = 3.0

TABS = {
    "clouds": "the runs' scatters over each other",
    "taus": "a table of taus with intervals",
    "scores": "scores ranked as predictors over the runs",
    "heat": "tau by layer and ratio",
    "complexity": "tau against the complexity of the task",
    "wiring": "wiring correct against released",
}


class CompareScreen(WorkingScreen[None]):
    """Compares runs; nothing here changes one."""

    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="compare.help",
                tooltip="Every key of this screen"),
        *(
            Binding(str(number), f"tab({name!r})", "Tabs", id=f"compare.tab_{name}",
                    show=number == 1, key_display="1-6" if number == 1 else None,
                    tooltip=f"Show {what}")
            for number, (name, what) in enumerate(TABS.items(), start=1)
        ),
        Binding("v", "turn", "Axis", id="compare.axis",
                tooltip="Another measure of complexity on the x axis"),
        Binding("escape", "back", "Back", id="compare.back", tooltip="Back to the list of runs"),
    ]  # fmt: skip

    @dataclass
    class Compared(Message):
        """The runs were read."""

        found: Comparison
        seconds: float

    def __init__(self, paths: Sequence[Path]) -> None:
        """Compare the runs at these paths."""
        super().__init__()
        self.paths = list(paths)
        self.found: Comparison | None = None
        self._axis = 0
        self._look: Timer | None = None

    def compose(self) -> ComposeResult:
        """Header, tabs, keys."""
        yield Words(f"Reading {len(self.paths)} runs…", id="compare-title")
        with TabbedContent(initial="clouds", id="compare-tabs"):
            with TabPane("Scatter", id="clouds"):
                yield Words("", id="clouds-name", classes="plot-name")
                yield SeriesPlot(id="clouds-plot")
                yield Words("", id="clouds-legend", classes="legend")
            with TabPane("Taus", id="taus"), VerticalScroll(id="taus-box"):
                yield Words("", id="taus-words", classes="lines")
            with TabPane("Leaderboard", id="scores"), VerticalScroll(id="scores-box"):
                yield Words("", id="scores-words", classes="lines")
            with TabPane("Layer x ratio", id="heat"), VerticalScroll(id="heat-box"):
                yield Words("", id="heat-words", classes="lines")
            with TabPane("Complexity", id="complexity"):
                yield Words("", id="complexity-name", classes="plot-name")
                yield SeriesPlot(id="complexity-plot")
                yield Words("", id="complexity-legend", classes="legend")
            with TabPane("Wiring", id="wiring"), VerticalScroll(id="wiring-box"):
                yield Words("", id="wiring-words", classes="lines")
        yield KeyLine()

    def on_mount(self) -> None:
        """Keys work where the reader looks."""
        self.query_one("#compare-tabs Tabs").can_focus = False
        for plot in self.query(SeriesPlot):
            plot.forget()  # no axes of nothing while the runs are read
        self.query_one("#clouds-plot").focus()
        self.call_after_refresh(self._read)

    def _read(self) -> None:
        self._look = None
        paths, places = self.paths, dict(self.oracle_app.run_places)

        def read() -> Message:
            start = time.thread_time()
            found = compare_runs(paths, places)
            return self.Compared(found, time.thread_time() - start)

        self.in_thread(read, group="read")

    def on_compare_screen_compared(self, message: Compared) -> None:
        """Show the runs, and look again a little later."""
        if self.found is None:
            self._axis = differing(message.found)
        self.found = message.found
        # The first place is for good: later comparisons go by it.
        self.oracle_app.run_places |= {**message.found.places, **self.oracle_app.run_places}
        self._draw()
        # Comparing big runs costs more: then look less often, never for more than 3 %.
        self._look_again(max(LOOK_AGAIN, 33 * message.seconds))

    def worker_failed(self, worker: Worker[object]) -> None:
        """Say why; look again."""
        self.query_one("#compare-title", Words).show(sentence(worker.error))
        self._look_again()

    def _look_again(self, seconds: float = LOOK_AGAIN) -> None:
        if self.is_current and self._look is None:
            self._look = self.set_timer(seconds, self._read)

    def on_screen_resume(self) -> None:
        """Look again after a dialog."""
        if self.found is not None and self._look is None:
            self._read()

    def on_resize(self) -> None:
        """Fit the tables."""
        self._draw()

    def _draw(self) -> None:
        found = self.found
        if found is None:
            return
        problems = f"   {' '.join(found.problems)}" if found.problems else ""
        count = len(found.runs)
        same = f"all: {found.same}" if found.same else "with nothing in common"
        title = f"{count} run{'' if count == 1 else 's'}   {same}"
        self.query_one("#compare-title", Words).show(title + problems)
        width = self.size.width - 4
        what = COMPLEXITIES[self._axis]
        for plot, data in (
            ("#clouds-plot", overlaid(found)),
            ("#complexity-plot", complexity(found, what)),
        ):
            widget = self.query_one(plot, SeriesPlot)
            if widget.waits or not widget.data.same(data):
                widget.set_data(data)
        pen = self.query_one("#clouds-plot", SeriesPlot).pen
        legend = legend_lines(found, self.size.width - 2, pen)
        self.query_one("#clouds-legend", Words).show(legend)
        self.query_one("#complexity-legend", Words).show(legend)
        self.query_one("#taus-words", Words).show(tau_lines(found, width, pen))
        overall = overall_lines(found.overall, count, width)
        self.query_one("#scores-words", Words).show(overall)
        self.query_one("#heat-words", Words).show(heat_lines(found, width))
        self.query_one("#wiring-words", Words).show(wiring_lines(found))
        self._names()

    def _names(self) -> None:
        clouds = self.query_one("#clouds-plot", SeriesPlot)
        plot_name(clouds, self.query_one("#clouds-name", Words), "best test acc ↑")
        plot = self.query_one("#complexity-plot", SeriesPlot)
        text = f"tau acc with 95 % intervals against {COMPLEXITIES[self._axis]} (v another)"
        plot_name(plot, self.query_one("#complexity-name", Words), text)

    def on_plot_view_changed(self, message: Plot.ViewChanged) -> None:
        """Say how the limits follow the points."""
        self._names()

    def on_tabbed_content_tab_activated(self) -> None:
        """Give the keys to what is shown."""
        tab = self.query_one(TabbedContent).active
        self.query_one(f"#{tab}-plot" if tab in ("clouds", "complexity") else f"#{tab}-box").focus()

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        self.query_one(TabbedContent).active = name

    def action_turn(self) -> None:
        """Put another measure on the x axis."""
        self._axis = (self._axis + 1) % len(COMPLEXITIES)
        self.query_one("#complexity-plot", SeriesPlot).action_live()
        self._draw()

    def action_back(self) -> None:
        """Leave."""
        self.dismiss()
