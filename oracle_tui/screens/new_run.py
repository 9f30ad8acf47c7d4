"""The form that starts a study or a sweep: lists to pick entries from, and the ways to start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker

from oracle_tui.entry_texts import (
    TEXTS,
    Item,
    items_for,
    model_of,
    preset_items,
)
from oracle_tui.judging import values_of
from oracle_tui.screens.form import FormScreen
from oracle_tui.screens.pick import PickScreen
from oracle_tui.widgets.fields import Field
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from engine.orders import Order


class NewRunScreen(FormScreen):
    """The form with its lists to pick from, and what its keys make of it."""

    CSS_PATH = "new_run.tcss"
    AUTO_FOCUS = "#field-preset Asks"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "app.help", "Help", id="new.help", tooltip="Every key of this screen"),
        Binding("ctrl+s", "start", "Start", id="new.start",
                tooltip="Start the study; of a sweep, show its studies first"),
        Binding("f2", "enqueue", "Queue", id="new.queue",
                tooltip="Show what will be made, to put it into the queue"),
        Binding("f3", "presets", "Presets", id="new.presets",
                tooltip="Begin with another preset, with what each costs here"),
        Binding("ctrl+r", "reset", "Reset", id="new.reset", show=False,
                tooltip="Forget what was typed: everything as in the preset"),
        # Before any box sees them: what comes in one burst behind them is for the next box.
        Binding("tab,down", "app.focus_next", "Next", id="new.next", show=False, priority=True,
                tooltip="Next entry"),
        Binding("shift+tab,up", "app.focus_previous", "Previous", id="new.previous", show=False,
                priority=True, tooltip="Previous entry"),
        Binding("escape", "back", "Back", id="new.back", tooltip="Back without starting"),
    ]  # fmt: skip

    @dataclass
    class Picks(Message):
        """The presets and their costs are known."""

        items: list[Item]

    @dataclass
    class Started(Message):
        """The run was made and its engine started."""

        path: Path

    # Picking.

    def on_field_entered(self) -> None:
        """Enter goes on to the next entry."""
        self.focus_next()

    def on_field_asked(self, message: Field.Asked) -> None:
        """Pick from a list."""
        name = message.field.field_name
        if name == "preset":
            self.action_presets()
            return
        text, field = TEXTS[name], message.field
        model = model_of(values_of(self.field("model").value))
        items = items_for(name, model)
        if not items:
            self.notify("Several models have no layers in common to list; type a name or pattern.",
                        markup=False)  # fmt: skip
            return
        mark = text.several.strip()
        chosen = [part.strip() for part in field.value.split(mark)] if mark else [field.value]

        def picked(values: tuple[str, ...] | None) -> None:
            if values:
                field.put(text.several.join(values))
            field.focus_entry()

        screen = PickScreen(text.title, items, chosen, several=bool(text.several))
        self.app.push_screen(screen, picked)

    def action_presets(self) -> None:
        """Find out what the presets cost, then list them."""
        self.in_thread(lambda: self.Picks(preset_items()), group="presets")

    def on_new_run_screen_picks(self, message: Picks) -> None:
        """List the presets."""
        if self.app.screen is not self:
            return  # asked for twice

        def picked(values: tuple[str, ...] | None) -> None:
            if values:
                self.presets = values
                self._begin()
            self.field("preset").focus_entry()

        screen = PickScreen("Presets", message.items, self.presets, several=True)
        self.app.push_screen(screen, picked)

    def action_reset(self) -> None:
        """Everything as in the preset again."""
        if self._shown.order is not None:
            self._begin()

    # Starting.

    def on_button_pressed(self) -> None:
        """Start by button."""
        self.action_start()

    def action_start(self) -> None:
        """Make the run and start its engine, then follow it; of a sweep, show its studies."""
        order, runs_dir = self._ready(self.action_start), self.oracle_app.runs_dir
        if order is None:
            return
        if len(order.groups) > 1:
            self.action_enqueue()
            return
        self._starting = True
        self._tell()

        def start() -> Message:
            from engine.control import start_engine

            runs = list(order.make(runs_dir))
            start_engine(*runs)
            return self.Started(runs[0])

        self.in_thread(start, group="start")

    def action_enqueue(self) -> None:
        """Show the studies, to be put into the queue."""
        order = self._ready(self.action_enqueue)
        if order is not None:
            from oracle_tui.screens.sweep import SweepScreen

            self.app.push_screen(SweepScreen(order), self._queued)

    def _queued(self, queued: bool | None) -> None:
        """Show the queue in place of the form."""
        from oracle_tui.screens.queue import QueueScreen

        if not queued:
            return
        if any(isinstance(screen, QueueScreen) for screen in self.app.screen_stack):
            self.dismiss()
        else:
            self.app.switch_screen(QueueScreen())

    def _ready(self, meant: Callable[[], None]) -> Order | None:
        """Return what is to be made; say what is wrong, wait for what is not judged yet."""
        if self._starting:
            return None
        if self.judgement is None:
            self._meant = meant
            return None
        if self.order is None:
            self.notify(str(self.query_one("#reason", Words).content), severity="warning",
                        markup=False)  # fmt: skip
        return self.order

    def worker_failed(self, worker: Worker[object]) -> None:
        """Let another try be made."""
        if worker.group == "judge":
            self._judging = False
        self._starting = False
        self._tell()

    def on_new_run_screen_started(self, message: Started) -> None:
        """Follow the new run in place of the form."""
        from oracle_tui.screens.run import RunScreen

        self.app.switch_screen(RunScreen(message.path))

    def action_back(self) -> None:
        """Leave the form."""
        self._looking = ""
        self.dismiss()
