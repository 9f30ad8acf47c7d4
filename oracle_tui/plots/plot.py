"""The widget under every plot: frames built beside the app, strips cached, overlays drawn last.

The app's thread only ever copies finished strips. Frames are reduced and drawn in an exclusive
thread worker, at most two a second while data streams in, and none while nothing can be seen.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget
from textual.worker import Worker, WorkerState, get_current_worker

from oracle_tui.plots.frame import CEILING, LEFT, RULE, Frame, FrameCancelled, canvas_size
from oracle_tui.plots.reduction import CellMap
from oracle_tui.plots.window import Floats, ViewMode, Window, fit

#: Seconds between two frames that new data asks for. A key press never waits for it.
FRAME_INTERVAL = 0.5


@dataclass(frozen=True)
class Mark:
    """One overlaid glyph of the canvas, in cells, with the component class of its style."""

    column: int
    row: int
    glyph: str | None  # None keeps the glyph that is there
    style: str


class Plot(Widget, can_focus=True):
    """A plot with limits of its own, a frame cache and an overlay. Subclasses own the data."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "plot--axis",
        "plot--rule",
        "plot--point",
        "plot--anomaly",
        "plot--provisional",
        "plot--line",
        "plot--band",
        "plot--ceiling",
        "plot--box",
        "plot--oracle",
        "plot--best",
        "plot--l1",
        "plot--cursor",
        "plot--picked",
    }

    DEFAULT_CSS = """
    Plot {
        height: 1fr;
        width: 1fr;
        & > .plot--axis { color: $text-muted; }
        & > .plot--rule { color: $text-muted; }
        & > .plot--point { color: $text-primary; }
        & > .plot--anomaly { color: $text-warning; }
        & > .plot--provisional { color: $text-muted; text-style: dim; }
        & > .plot--line { color: $text-primary; text-style: bold; }
        & > .plot--band { color: $primary; text-style: dim; }
        & > .plot--ceiling { color: $text-warning; }
        & > .plot--box { color: $text-accent; }
        & > .plot--oracle { color: $text-error; text-style: bold; }
        & > .plot--best { color: $text-success; text-style: bold; }
        & > .plot--l1 { color: $text-secondary; text-style: bold; }
        & > .plot--cursor { text-style: reverse bold; }
        & > .plot--picked { text-style: underline bold; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(1.6)", "Zoom in", id="plot.zoom_in", show=False,
                tooltip="Zoom in about the cursor; the view freezes"),
        Binding("minus", "zoom(0.625)", "Zoom out", id="plot.zoom_out", show=False,
                tooltip="Zoom out about the cursor; the view freezes"),
        Binding("H,shift+left", "pan(-0.2, 0)", "Pan left", id="plot.pan_left", show=False,
                tooltip="Move the view to the left; it freezes"),
        Binding("L,shift+right", "pan(0.2, 0)", "Pan right", id="plot.pan_right", show=False,
                tooltip="Move the view to the right; it freezes"),
        Binding("K,shift+up", "pan(0, 0.2)", "Pan up", id="plot.pan_up", show=False,
                tooltip="Move the view up; it freezes"),
        Binding("J,shift+down", "pan(0, -0.2)", "Pan down", id="plot.pan_down", show=False,
                tooltip="Move the view down; it freezes"),
        Binding("f", "freeze", "Freeze", id="plot.freeze", show=False,
                tooltip="Freeze the limits where they are, or follow the points again"),
        Binding("a", "show_all", "All", id="plot.all", show=False,
                tooltip="Show every point, far outliers too"),
        Binding("0", "live", "Live", id="plot.live", show=False,
                tooltip="Follow the points again, without far outliers"),
    ]  # fmt: skip

    @dataclass
    class FrameBuilt(Message):
        """A frame is ready; posted by the worker, taken by the plot itself."""

        frame: Frame
        asked: int

    @dataclass
    class ViewChanged(Message):
        """The mode, the limits or the note of a plot changed."""

        plot: Plot

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty plot in LIVE mode."""
        super().__init__(id=id, classes=classes)
        self.mode = ViewMode.LIVE
        self.window = Window(0.0, 1.0, 0.0, 1.0)
        self.frame: Frame | None = None
        self.frames_built = 0
        self.waits = False  # whether to draw nothing, no axes either, before there is data
        self._strips: list[Strip] = []
        self._asked = 0  # frames asked for so far; the number of the newest one
        self._newest = 0  # number of the newest frame that came
        self._dirty = False
        self._last_frame = 0.0
        self._timer: Timer | None = None

    # What a subclass says about its data.

    @abstractmethod
    def extent(self) -> tuple[Floats, Floats]:
        """Return the points that the limits have to fit."""

    @abstractmethod
    def painter(self) -> Callable[[CellMap, Callable[[], bool]], Frame]:
        """Return a function that draws the data of this moment; it runs in a thread."""

    @abstractmethod
    def glyph_style(self, glyph: str) -> str:
        """Return the component class that colours a glyph of the canvas."""

    def marks_on(self, row: int) -> Iterable[Mark]:
        """Return what is laid over one row of the frame, later marks over earlier ones."""
        return ()

    # Asking for frames.

    def data_changed(self) -> None:
        """Take new data in: follow it where the mode says so, and redraw when it is due."""
        self.waits = False
        self._follow()
        self._request(FRAME_INTERVAL)

    def forget(self) -> None:
        """Show nothing until the next data, which something else altogether will be."""
        self.waits, self.frame, self._strips = True, None, []
        self._asked += 1  # a frame that is being built comes too late
        self._newest = self._asked
        self._last_frame = 0.0
        self.mode = ViewMode.LIVE
        self.refresh()

    def _follow(self) -> None:
        if self.mode is not ViewMode.FROZEN:
            x, y = self.extent()
            self.window = fit(x, y, self.mode)

    def _request(self, interval: float = 0.0) -> None:
        self._dirty = True
        if not self._visible():
            return  # on_show asks again
        wait = self._last_frame + interval - time.monotonic()
        if wait > 0:
            if self._timer is None:
                self._timer = self.set_timer(wait, self._timer_due)
            return
        self._build()

    def _timer_due(self) -> None:
        self._timer = None
        if self._dirty and self._visible():
            self._build()

    def _visible(self) -> bool:
        return (
            self.is_attached
            and not self.waits
            and self.display
            and self.screen.is_current
            and self.size.width > 0
            and bool(self.visible_region)
        )

    @property
    def visible_region(self) -> Region:
        """The part of the plot that is on screen."""
        return self.region.intersection(self.screen.region)

    @property
    def due(self) -> bool:
        """Whether a frame is still to come: asked for, or being built."""
        return self._fits() and (self._dirty or self._asked != self._newest)

    def _fits(self) -> bool:
        columns, rows = canvas_size(self.size.width, self.size.height)
        return columns >= 8 and rows >= 3

    def _build(self) -> None:
        if not self._fits():
            return
        columns, rows = canvas_size(self.size.width, self.size.height)
        self._dirty = False
        self._last_frame = time.monotonic()
        self._asked += 1
        asked, cells, paint = self._asked, CellMap(self.window, columns, rows), self.painter()

        def build() -> None:
            worker = get_current_worker()
            try:
                frame = paint(cells, lambda: worker.is_cancelled)
            except FrameCancelled:
                return
            if not worker.is_cancelled:
                self.post_message(self.FrameBuilt(frame, asked))

        self.run_worker(
            build, thread=True, exclusive=True, group=f"frame-{id(self)}", exit_on_error=False
        )

    def on_plot_frame_built(self, message: FrameBuilt) -> None:
        """Cache the newest frame as strips; older ones are late and dropped."""
        message.stop()
        if message.asked != self._asked:
            return
        self.frames_built += 1
        self._newest = message.asked
        self.frame = message.frame
        self._strips = []
        self.frame_changed()
        self.refresh()
        self.post_message(self.ViewChanged(self))

    def frame_changed(self) -> None:
        """Bring overlay positions up to the new frame."""

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Say that a frame could not be drawn; the last good one stays."""
        event.stop()
        if event.state is WorkerState.ERROR:
            self.notify(f"The plot could not be drawn: {event.worker.error}.", severity="error")

    def on_resize(self) -> None:
        """Draw for the new size; the old frame stays until then."""
        self._request()

    def on_show(self) -> None:
        """Draw what changed while the plot could not be seen."""
        if self._dirty or self.frame is None:
            self._request()

    def shown_again(self) -> None:
        """Draw what is due: the screen of this plot came back to the front."""
        if self._dirty:
            self._request()

    def notify_style_update(self) -> None:
        """Colour the cached frame anew after a change of theme."""
        super().notify_style_update()
        self._strips = []

    # Painting: only what is cached, plus the overlay of one row.

    def render_line(self, y: int) -> Strip:
        """Return one line from the cache with the overlay of that line."""
        background = self.rich_style
        if self.frame is None:
            return Strip.blank(self.size.width, background)
        if not self._strips:
            self._strips = [self._strip(row, text) for row, text in enumerate(self.frame.rows)]
        if y >= len(self._strips):
            return Strip.blank(self.size.width, background)
        strip = self._strips[y]
        for mark in self.marks_on(y):
            if 0 <= mark.column < self.frame.cells.width:
                strip = self._overlay(strip, mark)
        return strip.adjust_cell_length(self.size.width, background)

    def _strip(self, row: int, text: str) -> Strip:
        assert self.frame is not None
        axis = self.get_component_rich_style("plot--axis")
        if row >= self.frame.cells.height:
            return Strip([Segment(text, axis)], len(text))
        segments = [Segment(text[:LEFT], axis)]
        for name, glyphs in groupby(text[LEFT:], self._style_name):
            style = self.get_component_rich_style(name) if name else self.rich_style
            segments.append(Segment("".join(glyphs), style))
        return Strip(segments, len(text))

    def _style_name(self, glyph: str) -> str:
        if glyph == " ":
            return ""
        if glyph in (RULE, CEILING):
            return "plot--rule" if glyph == RULE else "plot--ceiling"
        return self.glyph_style(glyph)

    def _overlay(self, strip: Strip, mark: Mark) -> Strip:
        assert self.frame is not None
        column = LEFT + mark.column
        there = strip.crop(column, column + 1)
        segment = next(iter(there), Segment(" "))
        style = self.get_component_rich_style(mark.style)
        if mark.glyph is None:
            glyph, style = (
                segment.text,
                (segment.style or Style.null())
                + Style(reverse=style.reverse, bold=style.bold, underline=style.underline),
            )
        else:
            glyph = mark.glyph
        return Strip.join(
            [strip.crop(0, column), Strip([Segment(glyph, style)], 1), strip.crop(column + 1)]
        )

    def refresh_row(self, row: int) -> None:
        """Repaint one line of the canvas: its overlay changed, its frame did not."""
        if 0 <= row < self.size.height:
            self.refresh(Region(0, row, self.size.width, 1))

    # Limits.

    def zoom_centre(self) -> tuple[float, float] | None:
        """Return the data point that zooming keeps in place, None for the middle."""
        return None

    def _set_view(self, mode: ViewMode, window: Window | None = None) -> None:
        self.mode = mode
        if window is not None:
            self.window = window
        else:
            self._follow()
        self._request()
        self.post_message(self.ViewChanged(self))

    def action_zoom(self, factor: float) -> None:
        """Zoom and freeze."""
        self._set_view(ViewMode.FROZEN, self.window.zoomed(factor, self.zoom_centre()))

    def action_pan(self, across: float, up: float) -> None:
        """Pan and freeze."""
        self._set_view(ViewMode.FROZEN, self.window.panned(across, up))

    def action_freeze(self) -> None:
        """Freeze the limits, or follow the points again."""
        live = self.mode is ViewMode.FROZEN
        self._set_view(ViewMode.LIVE if live else ViewMode.FROZEN, None if live else self.window)

    def action_show_all(self) -> None:
        """Follow every point."""
        self._set_view(ViewMode.ALL)

    def action_live(self) -> None:
        """Follow the points without far outliers."""
        self._set_view(ViewMode.LIVE)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in by the wheel."""
        event.stop()
        self.action_zoom(1.25)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out by the wheel."""
        event.stop()
        self.action_zoom(0.8)
