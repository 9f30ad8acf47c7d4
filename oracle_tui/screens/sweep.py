"""What a sweep would make, before it is made: one line a study; then the runs go into the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker, get_current_worker

from oracle_tui.entry_texts import TEXTS
from oracle_tui.judging import changed_texts, rows_of_order
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
        """List the studies."""
        from engine.estimate import duration_text, estimate

        order, table = self.made_of, self.query_one(KeyTable)
        specs = order.studies
        shared, own = changed_texts(specs)
        differing = [name for name in TEXTS if any(name in each for each in own)]
        costs = [estimate(spec, order.device) for spec in specs]
        parts = [
            cost.seconds * rows_of_order(spec, order) / spec.rows
            for cost, spec in zip(costs, specs, strict=True)
        ]
        titles = [TEXTS[name].title.lower() for name in differing]
        for title in ("", *titles, "candidates", "retrainings", "cost"):
            # "candidates" may be an entry that differs, and is a number either way.
            if title not in [str(column.label) for column in table.columns.values()]:
                table.add_column(title, key=title)
        for place, (spec, texts, seconds) in enumerate(zip(specs, own, parts, strict=True), 1):
            if place > MOST_LISTED:
                break
            cells = {"": str(place)} | {
                TEXTS[name].title.lower(): _cut(texts.get(name, "")) for name in differing
            }
            cells |= {
                "candidates": f"{len(spec.space):,}",
                "retrainings": f"{rows_of_order(spec, order):,}",
                "cost": duration_text(seconds),
            }
            table.add_row(*(Text(cells[str(key.value)]) for key in table.columns))
        several = len(specs) > 1
        self.query_one("#sweep-header", Words).show(
            f"New sweep: {len(specs):,} runs for the queue" if several else "One run for the queue"
        )
        same = "  ".join(
            f"{TEXTS[name].title.lower()} {_cut(text)}" for name, text in shared.items()
        )
        where = f"device {order.device}  executor {order.executor}"
        words = f"All: {same}  {where}" if several else f"{same}  {where}"
        self.query_one("#sweep-shared", Words).show(words)
        rows = sum(rows_of_order(spec, order) for spec in specs)
        guess = "" if all(cost.measured for cost in costs) else ", a guess until a run is measured"
        listed = f" (the first {MOST_LISTED} are listed)" if len(specs) > MOST_LISTED else ""
        self._words = (
            f"{len(specs):,} run{'s' * several}{listed}, "
            f"{sum(len(spec.space) for spec in specs):,} candidates, {rows:,} retrainings\n"
            f"about {duration_text(sum(parts))}{' one after the other' * several}{guess}"
        )
        self.query_one("#sweep-outlook", Words).show(self._words)
        table.focus()

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


def _cut(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
