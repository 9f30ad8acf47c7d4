"""The pane beside the list of runs: a small scatter and the numbers of the highlighted run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from oracle_tui.views import RunView
from oracle_tui.widgets.numbers import number_lines

if TYPE_CHECKING:
    from oracle_tui.plots.scatter import ScatterPlot


class Preview(Vertical):
    """Shows one run in small. The plot is mounted with the first run that has something to show."""

    def __init__(self, *, id: str | None = None) -> None:
        """Make an empty pane."""
        super().__init__(id=id)
        self.view: RunView | None = None
        self._sentence = ""
        self._plot: ScatterPlot | None = None

    def compose(self) -> ComposeResult:
        """Title and numbers; the plot comes between them later."""
        yield Static(id="preview-title", markup=False)
        yield Static(id="preview-numbers")

    def on_mount(self) -> None:
        """Draw what was given before the children were there."""
        self._draw()

    def show_sentence(self, text: str) -> None:
        """Show no run, but a sentence."""
        self.view, self._sentence = None, text
        self._draw()

    def show_run(self, view: RunView) -> None:
        """Show this run."""
        self.view = view
        self._draw()

    def shown_again(self) -> None:
        """Draw what is due: the screen came back to the front."""
        if self._plot is not None:
            self._plot.shown_again()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        view = self.view
        title = self._sentence if view is None else view.title
        lines = [] if view is None else number_lines(view, short=True)
        self.query_one("#preview-title", Static).update(title)
        self.query_one("#preview-numbers", Static).update(Text("\n").join(lines))
        if view is None:
            if self._plot is not None:
                self._plot.display = False
            return
        if self._plot is None:
            from oracle_tui.plots.scatter import ScatterPlot

            self._plot = ScatterPlot(id="preview-plot")
            self._plot.can_focus = False
            self.mount(self._plot, after="#preview-title")
        self._plot.display = bool(len(view.scatter.x) or view.provisional)
        self._plot.set_data(view.scatter)
