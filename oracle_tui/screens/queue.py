"""The queue: which runs wait in which order, who works on what; keys change it, start and stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.worker import Worker

from oracle_tui.formats import duration, escape
from oracle_tui.screens.acts import ActingScreen, Target
from oracle_tui.screens.base import WIDE
from oracle_tui.screens.confirm import ConfirmScreen
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.queue_table import QueueTable, where
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from engine.queueing import QueuedRun, QueueReader, QueueState

#: Seconds between two looks at the queue.
LOOK_AGAIN = 1.0
MOST_AT_ONCE = 64


class QueueScreen(ActingScreen):
    """The same queue, and the same acts, as `oracle-tui queue`."""

    CSS_PATH = "queue.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.help", "Help", id="queue.help",
                tooltip="Every key of this screen"),
        Binding("s", "start_or_stop", "Start/stop", id="queue.start",
                tooltip="Work through the queue in the background, or stop who does"),
        Binding("K,shift+up", "move(-1)", "Up", id="queue.up", key_display="K",
                tooltip="Move the run one place up"),
        Binding("J,shift+down", "move(1)", "Down", id="queue.down", key_display="J",
                tooltip="Move the run one place down"),
        Binding("less_than_sign", "move_to(True)", "First", id="queue.first", show=False,
                tooltip="Move the run to the front"),
        Binding("greater_than_sign", "move_to(False)", "Last", id="queue.last", show=False,
                tooltip="Move the run to the end"),
        Binding("p", "pause", "Pause", id="queue.pause",
                tooltip="Pause the run that is worked on, or go on with a paused one"),
        Binding("d,delete", "remove", "Remove", id="queue.remove", key_display="d",
                tooltip="Take the run out of the queue; the run itself stays"),
        Binding("plus", "at_once(1)", "More at once", id="queue.more", show=False,
                tooltip="Let one more run share the CPU cores, from the next start on"),
        Binding("minus", "at_once(-1)", "Fewer at once", id="queue.fewer", show=False,
                tooltip="Let one run fewer share the CPU cores"),
        Binding("n", "new", "New", id="queue.new", tooltip="A new study, or a sweep of several"),
        Binding("y", "copy", "Copy id", id="queue.copy", show=False,
                tooltip="Copy the run's id through the terminal"),
        Binding("escape", "back", "Back", id="queue.back", tooltip="Back"),
    ]  # fmt: skip

    @dataclass
    class Looked(Message):
        """The queue was read."""

        state: QueueState
        said: str
        seconds: float

    def __init__(self) -> None:
        """Make a screen that has read nothing yet."""
        super().__init__()
        self.state: QueueState | None = None
        self.at_once = 1
        self._said = ""
        self._reader: QueueReader | None = None
        self._look: Timer | None = None
        self._reading = False
        self._again = False
        self._wide: bool | None = None
        self._follow = ""  # the run that the cursor goes with when it has moved
        self._edits: deque[Callable[[], None]] = deque()
        self._editing = False

    def compose(self) -> ComposeResult:
        """Header, table or what to do, the highlighted run, keys."""
        yield Words("", id="queue-header")
        yield QueueTable(id="queue-table")
        yield Words("Reading the queue…", id="queue-empty")
        yield Words("", id="queue-about")
        yield KeyLine()

    def on_mount(self) -> None:
        """Paint first; read afterwards."""
        self._table.display = False
        self._header()
        self.call_after_refresh(self._read)

    @property
    def _table(self) -> QueueTable:
        return self.query_one(QueueTable)

    @property
    def current(self) -> QueuedRun | None:
        """The highlighted run, as it was last seen."""
        if self.state is None:  # keys come before what they are for
            return None
        runs, row = self.state.runs, self._table.cursor_row
        return runs[row] if self._table.display and 0 <= row < len(runs) else None

    @property
    def target(self) -> Target | None:
        """The highlighted run, for keys."""
        run = self.current
        return None if run is None else Target(self._path(run), run.id, run.status)

    # Reading.

    def _read(self) -> None:
        if self._reading:
            self._again = True
            return
        if self._look is not None:
            self._look.stop()
            self._look = None
        self._reading, self._again = True, False
        runs_dir = self.oracle_app.runs_dir

        def work() -> Message:
            from engine.queueing import QueueReader, last_word

            start = time.thread_time()
            if self._reader is None:
                self._reader = QueueReader(runs_dir)
            state = self._reader.read()
            said = escape(last_word(runs_dir)) if state.engine else ""
            return self.Looked(state, said, time.thread_time() - start)

        self.in_thread(work, group="queue")

    def on_queue_screen_looked(self, message: Looked) -> None:
        """Show it, and look again a little later."""
        self._reading = False
        if self._editing:  # what was read may be older than what is shown
            return
        self.state, self._said = message.state, message.said
        self._show()
        if self._again:
            self._read()
        else:
            self._look_again(max(LOOK_AGAIN, 33 * message.seconds))

    def worker_failed(self, worker: Worker[object]) -> None:
        """Keep looking."""
        if worker.group == "queue":
            self._reading = False
            self._look_again(5 * LOOK_AGAIN)
        elif worker.group == "edit":
            self._editing = False
            self._edits.clear()
            self._read()

    def _look_again(self, seconds: float) -> None:
        if self.is_current and self._look is None:
            self._look = self.set_timer(seconds, self._read)

    def on_screen_resume(self) -> None:
        """Another screen went: look at once."""
        if self.state is not None:
            self._read()

    def acted(self) -> None:
        """Look at once after an act."""
        self._read()

    # Showing.

    def on_resize(self) -> None:
        """Fit the columns."""
        wide = self.size.width >= WIDE
        if wide != self._wide:
            self._wide = wide
            self._table.set_wide(wide)
            self._show()

    def _show(self) -> None:
        if self.state is None or self._wide is None:
            return
        table, runs = self._table, self.state.runs
        table.show_runs(runs, self._follow)
        self._follow = ""
        table.display = bool(runs)
        empty = self.query_one("#queue-empty", Words)
        empty.display = not runs
        empty.show(
            "The queue is empty.\n\n"
            "n opens the form: several values between ; make a sweep, F2 queues it.\n"
            "a on the list of runs puts a run here. esc goes back."
        )
        if runs and self.focused is None:
            table.focus()
        self._header()
        self._about()

    def _header(self) -> None:
        state = self.state
        words = "Queue"
        if state is not None:
            count = len(state.runs)
            words += f"  {count:,} run{'' if count == 1 else 's'}"
            if state.seconds:
                words += f", about {duration(state.seconds)} one after the other"
        self.query_one("#queue-header", Words).show(words)

    def _about(self) -> None:
        state, run = self.state, self.current
        if state is None:
            return
        if state.engine:
            first = f"▶ Process {state.engine} works through it"
            first += f": {self._said}" if self._said else "."
        elif state.runs:
            share = "" if self.at_once == 1 else f", {self.at_once} at once on the CPU"
            first = f"■ Nobody works through it; s starts{share}."
        else:
            first = ""
        second = "" if run is None else f"{run.id}: {_about_run(run)}"
        self.query_one("#queue-about", Words).show(f"{first}\n{second}")

    def on_data_table_row_highlighted(self) -> None:
        """Say more about the run."""
        self._about()

    # Acts.

    def on_data_table_row_selected(self) -> None:
        """Open the run."""
        run = self.current
        if run is not None and run.status != "missing":
            from oracle_tui.screens.run import RunScreen

            self.app.push_screen(RunScreen(self._path(run)))

    def _path(self, run: QueuedRun) -> Path:
        return self.oracle_app.runs_dir / run.id

    def _edit(self, change: Callable[[], None]) -> None:
        """Change the queue in a thread, after the changes that were asked for before."""
        self._edits.append(change)
        self._next_edit()

    def _next_edit(self) -> None:
        if self._editing or not self._edits:
            return
        self._editing, change = True, self._edits.popleft()

        def work() -> Message:
            change()
            return self.Edited()

        self.in_thread(work, group="edit", exclusive=False)

    class Edited(Message):
        """The queue was changed."""

    def on_queue_screen_edited(self) -> None:
        """Go on with the next change, or look."""
        self._editing = False
        self._next_edit()
        if not self._editing:
            self._read()

    def action_move(self, step: int) -> None:
        """Move the run by places."""
        run, state = self.current, self.state
        if run is not None and state is not None:
            place = [each.id for each in state.runs].index(run.id) + 1 + step
            if 1 <= place <= len(state.runs):
                self._move(run, place)

    def action_move_to(self, first: bool) -> None:
        """Move the run to the front or to the end."""
        run, state = self.current, self.state
        if run is not None and state is not None:
            self._move(run, 1 if first else len(state.runs))

    def _move(self, run: QueuedRun, place: int) -> None:
        from engine.waiting import RunQueue

        queue = RunQueue(self.oracle_app.runs_dir)
        self._follow = run.id
        if self.state is not None:  # seen at once, so that the next key counts from there
            others = [each for each in self.state.runs if each.id != run.id]
            runs = (*others[: place - 1], run, *others[place - 1 :])
            self.state = replace(self.state, runs=runs)
            self._show()
        self._edit(lambda: queue.move(run.id, place))

    def action_remove(self) -> None:
        """Take the run out, after asking."""
        run, runs_dir = self.current, self.oracle_app.runs_dir
        if run is None:
            return

        def remove() -> None:
            from engine.waiting import RunQueue

            RunQueue(runs_dir).remove(run.id)

        goes_on = " Its engine goes on with it." if run.pid else " The run itself stays."
        question = f"Take {run.id} out of the queue?{goes_on}"
        self.app.push_screen(
            ConfirmScreen(question, "Remove"), lambda yes: self._edit(remove) if yes else None
        )

    def action_pause(self) -> None:
        """Pause, or go on; who waits for its turn is left alone."""
        run = self.current
        if run is not None and run.status == "queued" and not run.pid:
            self.notify(f"{run.id} waits for its turn: there is nothing to pause.", markup=False)
        else:
            super().action_pause()

    def action_at_once(self, step: int) -> None:
        """Change how many runs share the cores."""
        self.at_once = min(MOST_AT_ONCE, max(1, self.at_once + step))
        self._about()
        if self.state is not None and self.state.engine:
            self.notify(f"{self.at_once} at once, from the next start on.", markup=False)

    def action_start_or_stop(self) -> None:
        """Work through the queue, or stop who does, after asking."""
        state, runs_dir, at_once = self.state, self.oracle_app.runs_dir, self.at_once
        if state is None:
            return

        def start() -> str:
            from engine.queueing import start_queue

            return start_queue(runs_dir, at_once)

        def stop() -> str:
            from engine.queueing import stop_queue

            return stop_queue(runs_dir)

        if state.engine is not None:
            question = "Stop the runs in work, and who works through the queue? The order stays."
            self.app.push_screen(
                ConfirmScreen(question, "Stop"), lambda yes: self.act(stop) if yes else None
            )
        elif state.runs:
            self.act(start)
        else:
            self.notify("The queue is empty; n makes a study for it.", markup=False)

    def action_new(self) -> None:
        """Open the form."""
        from oracle_tui.screens.new_run import NewRunScreen

        self.app.push_screen(NewRunScreen())

    def action_back(self) -> None:
        """Leave."""
        self.dismiss()


def _about_run(run: QueuedRun) -> str:
    done = f"{run.n_done:,} of {run.n_total:,} retrainings" if run.n_total else ""
    return escape("; ".join(part for part in (done, where(run)) if part))
