"""The pane beside the list of runs: a small scatter and the numbers of the highlighted run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer
from textual.worker import get_current_worker

from engine.errors import OracleError
from oracle_tui.views import RunView
from oracle_tui.widgets.numbers import number_lines
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from oracle_tui.plots.scatter import ScatterPlot
    from oracle_tui.reading import RunFollower

#: Seconds that the cursor has to rest on a run, and between two looks at a live one.
REST, LOOK_AGAIN = 0.15, 1.0

#: Runs that are kept open, so that going back to one costs nothing.
KEPT = 8


class Preview(Vertical):
    """Follows the run it is told to, while it can be seen; the plot comes with the first points."""

    @dataclass
    class Read(Message):
        """A run was read, or could not be; the path says which it was."""

        path: Path
        view: RunView | None
        error: str = ""

    def __init__(self, *, id: str | None = None) -> None:
        """Make an empty pane."""
        super().__init__(id=id)
        self.path: Path | None = None
        self.view: RunView | None = None
        self._followers: dict[Path, RunFollower] = {}
        self._timer: Timer | None = None
        self._plot: ScatterPlot | None = None

    def compose(self) -> ComposeResult:
        """Title and numbers; the plot comes between them later."""
        yield Words(id="preview-title")
        yield Words(id="preview-numbers")

    def follow(self, path: Path | None) -> None:
        """Show this run once the cursor rests on it."""
        if path != self.path:
            self.path = path
            self._plan(REST)

    def shown_again(self) -> None:
        """Read and draw what is due: the screen came back to the front."""
        if self._plot is not None:
            self._plot.shown_again()
        self._plan(REST)

    def on_show(self) -> None:
        """Begin to read: the terminal became wide enough."""
        self._plan(REST)

    def _plan(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(seconds, self._read)

    def _read(self) -> None:
        self._timer = None
        path = self.path
        if path is None or not self.screen.is_current or not self.region:
            return  # on_show or shown_again ask again
        if path not in self._followers:
            from oracle_tui.reading import RunFollower

            while len(self._followers) >= KEPT:
                self._followers.pop(next(iter(self._followers)))
            self._followers[path] = RunFollower(path)
        follower = self._followers[path]

        def read() -> None:
            try:
                message = self.Read(path, follower.read())
            except OracleError as error:
                message = self.Read(path, None, str(error))
            if not get_current_worker().is_cancelled:
                self.post_message(message)

        self.run_worker(read, thread=True, exclusive=True, group="preview", exit_on_error=False)

    def on_preview_read(self, message: Read) -> None:
        """Draw the run, where it is still the one that is wanted."""
        message.stop()
        if message.path != self.path:
            return
        view = message.view
        if view is None:
            self._draw_sentence(message.error)
        elif view is not self.view:
            self._draw(view)
        self.view = view
        if view is not None and view.live and self._timer is None:
            self._plan(LOOK_AGAIN)

    def _draw_sentence(self, text: str) -> None:
        self.query_one("#preview-title", Words).show(text)
        self.query_one("#preview-numbers", Words).show("")
        if self._plot is not None:
            self._plot.display = False

    def _draw(self, view: RunView) -> None:
        if self._plot is not None and (self.view is None or view.id != self.view.id):
            self._plot.forget()  # another run's points under this one's title would be a lie
        self.query_one("#preview-title", Words).show(view.title)
        lines = number_lines(view, short=True)
        self.query_one("#preview-numbers", Words).show(Text("\n").join(lines))
        if self._plot is None:
            from oracle_tui.plots.scatter import ScatterPlot

            self._plot = ScatterPlot(id="preview-plot")
            self._plot.can_focus = False
            self.mount(self._plot, after="#preview-title")
        self._plot.display = bool(len(view.scatter.x) or view.provisional)
        self._plot.set_data(view.scatter)
