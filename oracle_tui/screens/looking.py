"""How a run is looked at: its axes, its picked candidates, and what its tabs compute for that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TabbedContent

from engine.outcomes import OUTCOMES
from oracle_tui.deeper import CURVES
from oracle_tui.plots.scatter import ScatterPlot
from oracle_tui.reading import RunFollower
from oracle_tui.screens.acts import ActingScreen
from oracle_tui.screens.choose import ChooseScreen
from oracle_tui.view_parts import score_name
from oracle_tui.views import Axes, RunView
from oracle_tui.widgets.candidates import CandidateTable
from oracle_tui.widgets.leaderboard import LeaderboardTab
from oracle_tui.widgets.tabs import CorrelationTab, CurvesTab, PublishedTab, glyphs_of

if TYPE_CHECKING:
    from oracle_tui.deeper import Agreement, Beside, Board, CurvesView


class LookingScreen(ActingScreen):
    """The part of a run's screen that keys change without changing the run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "choose_score", "Axes", id="run.score", key_display="x v",
                tooltip="Choose the score of the x axis"),
        Binding("v", "choose_outcome", "Outcome", id="run.outcome", show=False,
                tooltip="Choose the outcome of the y axis; on other tabs, what is drawn"),
        Binding("X", "log(0)", "Log x", id="run.log_x", show=False,
                tooltip="Logarithmic x axis, or linear again"),
        Binding("V", "log(1)", "Log y", id="run.log_y", show=False,
                tooltip="Logarithmic y axis, or linear again"),
        Binding("u", "unpick", "Unpick", id="run.unpick", show=False,
                tooltip="Pick no candidate any more"),
    ]  # fmt: skip

    @dataclass
    class Computed(Message):
        """What a tab shows beyond the view; `key` says what it was computed from."""

        tab: str
        key: object
        value: object
        seconds: float

    def __init__(self, path: Path) -> None:
        """Follow the run at this path."""
        super().__init__()
        self.path = path
        self.view: RunView | None = None
        self._follower = RunFollower(path)
        self._curve = CURVES.index("test accuracy")
        self._computed: dict[str, object] = {}  # tab -> key of what it shows or waits for
        self._rests: dict[str, float] = {}  # tab -> when computing it again is due

    def draw_names(self) -> None:
        """Say anew what the plots show."""

    @property
    def tab(self) -> str:
        """The tab that is shown."""
        return self.query_one(TabbedContent).active

    # What a tab shows beyond the view: computed in a thread while the tab is looked at.

    def compute_tab(self) -> None:
        """Compute in a thread what the tab that is shown needs, where that is another thing now."""
        view, tab, follower = self.view, self.tab, self._follower
        if view is None or tab not in ("correlation", "leaderboard", "curves", "published"):
            return
        key: tuple[object, ...] = (view.version,)
        work: Callable[[], object] = follower.beside_the_paper
        if tab == "correlation":
            key, work = (view.version, view.axes), follower.agreement
        elif tab == "leaderboard":
            key, work = (
                (view.version, outcome := view.axes.outcome),
                partial(follower.board, outcome),
            )
        elif tab == "curves":
            scatter = self.query_one(ScatterPlot)
            oracle = view.numbers.oracle.candidate if view.numbers.oracle else None
            wanted = sorted(scatter.picked)
            if scatter.cursor is not None and scatter.cursor not in scatter.picked:
                wanted.insert(0, scatter.cursor)
            glyphs, column = glyphs_of(wanted, oracle), self._curve
            key = (view.version, tuple(wanted), oracle, column)
            work = partial(follower.curves, wanted, oracle, column, glyphs)
        old = self._computed.get(tab)
        same_choice = isinstance(old, tuple) and old[1:] == key[1:]
        if old == key or (same_choice and time.monotonic() < self._rests.get(tab, 0.0)):
            return
        self._computed[tab] = key

        def compute() -> Message:
            start = time.monotonic()
            value = work()
            return self.Computed(tab, key, value, time.monotonic() - start)

        self.in_thread(compute, group=f"compute-{tab}")

    def on_looking_screen_computed(self, message: Computed) -> None:
        """Show it; the same is not computed again for ten times as long as it took."""
        tab, value, view = message.tab, message.value, self.view
        self._rests[tab] = time.monotonic() + 9 * message.seconds
        if message.key != self._computed.get(tab) or view is None:
            return
        if tab == "published":
            dataset = dict(view.spec).get("dataset", "")
            self.query_one(PublishedTab).show_beside(cast("Beside | None", value), dataset)
        elif tab == "curves":
            view_of_curves = cast("CurvesView", value)
            self.query_one(CurvesTab).show_curves(view_of_curves, CURVES[self._curve])
        elif value is None:
            return
        elif tab == "leaderboard":
            self.query_one(LeaderboardTab).show_board(cast("Board", value))
        else:
            self.query_one(CorrelationTab).show_agreement(cast("Agreement", value))

    # Picked candidates.

    def on_scatter_plot_picked(self, message: ScatterPlot.Picked) -> None:
        """Mark them in the table; what a box holds is then all that it shows."""
        table = self.query_one(CandidateTable)
        table.set_picked(message.candidates, only=message.box or table.only)
        count = len(message.candidates)
        if message.box:
            rest = "4 lists them, 5 draws their curves" if count else "the box was empty"
            self.notify(f"{count:,} picked: {rest}", markup=False)
        self.draw_names()

    def on_candidate_table_picked(self, message: CandidateTable.Picked) -> None:
        """Pick it in the scatter too."""
        scatter, table = self.query_one(ScatterPlot), self.query_one(CandidateTable)
        scatter.set_picked(scatter.picked ^ {message.candidate})
        table.set_picked(scatter.picked, only=table.only)

    def action_unpick(self) -> None:
        """Pick nothing."""
        self.query_one(ScatterPlot).set_picked(frozenset())
        self.query_one(CandidateTable).set_picked(frozenset(), only=False)
        self.draw_names()

    # Axes.

    def action_choose_score(self) -> None:
        """Choose what the x axis is."""
        view = self.view
        if view is not None:
            choices = [(score_name(name), name) for name in view.scores]
            self._choose("Score (x axis)", choices, view.axes.score, "score")

    def action_choose_outcome(self) -> None:
        """Choose what the y axis is; on other tabs, what is drawn."""
        view = self.view
        if view is None:
            return
        if self.tab == "curves":
            self._curve = (self._curve + 1) % len(CURVES)
            self.compute_tab()
        elif self.tab == "correlation":
            self.query_one(CorrelationTab).turn()
        else:
            choices = [(Axes(outcome=name).outcome_name, name) for name in OUTCOMES]
            self._choose("Outcome (y axis)", choices, view.axes.outcome, "outcome")

    def _choose(self, title: str, choices: list[tuple[str, str]], current: str, which: str) -> None:
        def chosen(value: str | None) -> None:
            if value is not None:
                self._follower.axes = replace(self._follower.axes, **{which: value})
                self.acted()

        self.app.push_screen(ChooseScreen(title, choices, current), chosen)

    def action_log(self, axis: int) -> None:
        """Turn a log axis on or off."""
        plot = self.query_one(ScatterPlot)
        x, y = plot.scales
        plot.set_scales(x ^ (axis == 0), y ^ (axis == 1))
