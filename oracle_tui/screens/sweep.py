"""What a sweep would make, before it is made: one line a study; then the runs go into the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker, get_current_worker

from oracle_tui.judging import Listing, listing_of
from oracle_tui.screens.base import WorkingScreen
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.tables import KeyTable
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from engine.orders import Order

#: Studies that are listed; a table of thousands would take seconds, and nobody reads it.
MOST_LISTED = 500
#: Runs made between two words about how far it is.
SAY_EVERY = 20


class SweepScreen(WorkingScreen[bool]):
    """Lists the studies by what differs between them; ends with whether they are in the queue."""

    CSS_PATH = "sweep.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,question_mark", "app.help", "Help", id="sweep.help",
                tooltip="Every key of this screen"),
        Binding("ctrl+s,enter", "enqueue(False)", "Queue", id="sweep.queue", priority=True,
                tooltip="Make the runs and put them at the end of the queue"),
        Binding("s", "enqueue(True)", "Queue and start", id="sweep.start",
                tooltip="The same, and work through the queue in the background"),
        Binding("escape", "back", "Back", id="sweep.back",
                tooltip="Back to the form; runs that are made already stay in the queue"),
    ]  # fmt: skip

    @dataclass
    class Listed(Message):
        """What each study costs is known."""

        listing: Listing

    @dataclass
    class Made(Message):
        """So many of the runs are made and in the queue."""

        count: int

    @dataclass
    class Queued(Message):
        """All of them are."""

        count: int
        text: str

    def __init__(self, order: Order) -> None:
        """Take what is to be made."""
        super().__init__()
        self.made_of = order
        self._busy = False
        self._words = ""

    def compose(self) -> ComposeResult:
        """What is the same, what differs, what it costs."""
        yield Words("", id="sweep-header")
        yield Words("", id="sweep-shared")
        yield KeyTable(id="sweep-table")
        yield Words("", id="sweep-outlook")
        yield KeyLine()

    def on_mount(self) -> None:
        """Find out what each study costs, then list them."""
        order = self.made_of
        several = len(order.studies) > 1
        self.query_one("#sweep-header", Words).show(
            f"New sweep: {len(order.studies):,} runs for the queue"
            if several
            else "One run for the queue"
        )
        self.query_one(KeyTable).focus()
        self.in_thread(lambda: self.Listed(listing_of(order, MOST_LISTED)), group="list")

    def on_sweep_screen_listed(self, message: Listed) -> None:
        """List the studies."""
        listing, table = message.listing, self.query_one(KeyTable)
        for title in listing.titles:
            table.add_column(title)
        table.add_rows([[Text(cell) for cell in line] for line in listing.lines])
        self.query_one("#sweep-shared", Words).show(listing.shared)
        self._words = listing.outlook
        if not self._busy:
            self.query_one("#sweep-outlook", Words).show(self._words)

    def action_enqueue(self, start: bool) -> None:
        """Make the runs and queue them; then show the queue."""
        if self._busy:
            return
        self._busy = True
        order, runs_dir = self.made_of, self.oracle_app.runs_dir

        def work() -> Message | None:
            worker, count = get_current_worker(), 0
            for _ in order.enqueue(runs_dir):
                count += 1
                if worker.is_cancelled:
                    return None
                if count % SAY_EVERY == 0:
                    self.post_message(self.Made(count))
            text = f"{count:,} run{'s' * (count > 1)} put at the end of the queue."
            if start:
                from engine.queueing import start_queue

                text = f"{text} {start_queue(runs_dir)}"
            return self.Queued(count, text)

        self.in_thread(work, group="enqueue")

    def on_sweep_screen_made(self, message: Made) -> None:
        """Say how far it is."""
        total = len(self.made_of.studies)
        self.query_one("#sweep-outlook", Words).show(f"{message.count:,} of {total:,} runs made…")

    def on_sweep_screen_queued(self, message: Queued) -> None:
        """Leave; the form shows the queue in its place."""
        self.app.notify(message.text, markup=False)
        self.dismiss(True)

    def worker_failed(self, worker: Worker[object]) -> None:
        """Let another try be made."""
        self._busy = False
        self.query_one("#sweep-outlook", Words).show(self._words)

    def action_back(self) -> None:
        """Back to the form."""
        self.dismiss(False)
