"""The tabs of a run that are computed when they are looked at: correlation, curves, published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from oracle_tui.deeper import MOST_CURVES
from oracle_tui.plots.line import LineData, LinePlot
from oracle_tui.plots.plot import Plot
from oracle_tui.plots.series import SERIES_GLYPHS, SeriesPlot
from oracle_tui.widgets.intervals import interval_line, ruler
from oracle_tui.widgets.run_text import line_name
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from oracle_tui.deeper import Agreement, Beside, CurvesView
    from oracle_tui.views import RunView


#: Columns that the name of a plot keeps beside what its state says, of so many as it has.
LEAST_NAME = 16


def plot_name(plot: Plot, words: Words, text: str, *, empty: bool = False) -> None:
    """Say over a plot what it shows, and on the right how its limits follow the points."""
    note = plot.frame.note if plot.frame is not None else ""
    state = "" if empty else f"{plot.mode.value}  {note}".rstrip()
    if not plot.size.width:  # hidden: there is no room yet, and said again when there is
        state = ""
    if len(state) > plot.size.width - 2 - min(len(text) + 2, LEAST_NAME):
        state = state.partition(" ")[0]  # how the limits follow, without what is reduced
    room = plot.size.width - 2 - len(state)
    if state and len(text) >= room > 2:
        text = f"{text[: room - 2]}… "
    words.show(f"{text.ljust(room)}{state}" if state else text)


class CorrelationTab(Vertical):
    """Tau over the number of candidates, and tau over epochs; one at a time where it is narrow."""

    def __init__(self, *, id: str | None = None) -> None:
        """Make empty plots; tau over n comes first."""
        super().__init__(id=id)
        self.over_epochs = False
        self._line = LineData()
        self._agreement: Agreement | None = None

    def compose(self) -> ComposeResult:
        """Two plots with a line of words each, and words about the noise ceiling."""
        with Vertical(id="over-n"):
            yield Words("", id="line-name", classes="plot-name")
            yield LinePlot(id="line-plot")
            yield Words("", id="ceiling-words", classes="plot-name")
        with Vertical(id="over-epochs"):
            yield Words("tau over epochs: reading…", id="epochs-name", classes="plot-name")
            yield LinePlot(id="epochs-plot")

    def turn(self) -> None:
        """Show the other plot, where only one is shown."""
        self.over_epochs = not self.over_epochs
        self.set_class(self.over_epochs, "-epochs")
        self.query_one("#epochs-plot" if self.over_epochs else "#line-plot").focus()

    def show_line(self, view: RunView) -> None:
        """Show tau over n."""
        self._line = view.line
        self._draw_line()
        self.draw_names()

    def show_agreement(self, agreement: Agreement) -> None:
        """Show tau over epochs, and the ceiling in the plot over n."""
        self._agreement = agreement
        self.query_one("#epochs-plot", LinePlot).set_data(agreement.line)
        self._draw_line()
        self.draw_names()

    def _draw_line(self) -> None:
        from dataclasses import replace

        line, plot = self._line, self.query_one("#line-plot", LinePlot)
        if self._agreement is not None and self._agreement.ceiling is not None:
            line = replace(line, ceiling=self._agreement.ceiling)
        if line.ceiling != plot.data.ceiling or line.x is not plot.data.x:
            plot.set_data(line)

    def draw_names(self) -> None:
        """Say what the plots show."""
        plot = self.query_one("#line-plot", LinePlot)
        name = self.query_one("#line-name", Words)
        plot_name(plot, name, line_name(self._line), empty=not self._line.x.size)
        if self._agreement is not None:
            self.query_one("#ceiling-words", Words).show(self._agreement.ceiling_words)
            over_epochs = self.query_one("#epochs-plot", LinePlot)
            words = self.query_one("#epochs-name", Words)
            plot_name(over_epochs, words, self._agreement.line_words)


class CurvesTab(Vertical):
    """Learning curves of the picked candidates beside the oracle's."""

    def compose(self) -> ComposeResult:
        """Words over a plot, and which glyph is whose."""
        yield Words("", id="curves-name", classes="plot-name")
        yield SeriesPlot(id="curves-plot")
        yield Words("", id="curves-legend", classes="plot-name")

    def show_curves(self, view: CurvesView, what: str) -> None:
        """Show these curves."""
        self._what = f"{what} after each epoch (v another)"
        self.query_one(SeriesPlot).set_data(view.data)
        self.query_one("#curves-legend", Words).show(view.words)
        self.draw_names()

    def draw_names(self) -> None:
        """Say what the plot shows."""
        name = self.query_one("#curves-name", Words)
        plot_name(self.query_one(SeriesPlot), name, getattr(self, "_what", ""))


def glyphs_of(wanted: Iterable[int], oracle: int | None) -> dict[int, str]:
    """Return the glyph of each candidate whose curve is drawn; the oracle's is its own, on top."""
    others = [candidate for candidate in wanted if candidate != oracle]
    glyphs = dict(zip(others, SERIES_GLYPHS[:MOST_CURVES], strict=False))
    if oracle is not None:
        glyphs[oracle] = "◆"
    return glyphs


class PublishedTab(VerticalScroll):
    """Our numbers beside the paper's panel of the same study."""

    def compose(self) -> ComposeResult:
        """One block of words."""
        yield Words("Reading…", id="published-words")

    def show_beside(self, beside: Beside | None, dataset: str) -> None:
        """Show the comparison, or why there is none."""
        words = self.query_one("#published-words", Words)
        if beside is None:
            words.show(
                "The paper has no panel of this study: none with the same model, data set, "
                f"layers and ratio.{_subset_hint(dataset)}"
            )
            return
        width = max(21, min(61, self.size.width - 14))
        lines = [Text(beside.sentence, "bold"), Text("")]
        for glyph, (name, tau, low, high) in zip("●◆", beside.intervals, strict=True):
            line = interval_line(tau, low, high, width, glyph=glyph)
            lines.append(Text(f"{name:<10}").append_text(line))
        lines += [Text(" " * 10).append_text(ruler(width)), Text("")]
        lines.append(Text(f"{'':<12}{'ours':<20}paper", "dim"))
        for name, ours, theirs in beside.rows:
            lines.append(Text.assemble((f"{name:<12}", "dim"), f"{ours:<20}{theirs}"))
        if beside.otherwise:
            lines += [Text(""), Text("What else differs:", "dim")]
            lines += [Text(f"  {each}") for each in beside.otherwise]
        words.show(Text("\n").join(lines))


def _subset_hint(dataset: str) -> str:
    if dataset != "mnist-5k":
        return ""
    return " mnist-5k is a part of MNIST and so another study; --dataset mnist is the paper's."
