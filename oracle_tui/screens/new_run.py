"""The form that starts a study or a sweep: presets first, every entry checked while it is typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Button
from textual.worker import Worker, get_current_worker

from engine.errors import UsageError
from engine.orders import AXES
from engine.presets import PRESETS
from oracle_tui.entry_texts import (
    DEFAULTS,
    ELSEWHERE,
    TEXTS,
    Item,
    has_items,
    items_for,
    model_of,
    preset_items,
)
from oracle_tui.judging import Asked, Judgement, judge, values_of
from oracle_tui.screens.base import WorkingScreen
from oracle_tui.screens.pick import PickScreen
from oracle_tui.widgets.fields import Field
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from engine.orders import Order

#: Seconds without a key before a model that nobody has looked into yet is looked into.
LOOK_INTO_AFTER = 0.8
NOT_SWEPT = (*ELSEWHERE, "criterion")


class NewRunScreen(WorkingScreen[None]):
    """A form over `engine.orders`: what it says about an entry, the command line says too.

    An entry that nobody touched comes from the preset, or from the protocol of another model, and
    shows what it comes to. Several values between semicolons make a sweep.
    """

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
    class Judged(Message):
        """The entries were judged."""

        judgement: Judgement

    @dataclass
    class LookedInto(Message):
        """A model was looked into; `sentence` says why nothing was found."""

        model: str
        sentence: str

    @dataclass
    class Picks(Message):
        """The presets and their costs are known."""

        items: list[Item]

    @dataclass
    class Started(Message):
        """The run was made and its engine started."""

        path: Path

    def __init__(self) -> None:
        """Begin with the first preset."""
        super().__init__()
        self.presets: tuple[str, ...] = (next(iter(PRESETS)),)
        self.touched: dict[str, str] = {}
        self.judgement: Judgement | None = None  # None while something was typed since
        self._shown = Judgement(None, {})
        self._refused: dict[str, str] = {}
        self._judging = False
        self._looking = ""  # the model that is being looked into
        self._look: Timer | None = None
        self._starting = False
        self._meant: Callable[[], None] | None = None  # asked for while the last key was judged

    @property
    def order(self) -> Order | None:
        """What would be made now."""
        return self.judgement.order if self.judgement else None

    def compose(self) -> ComposeResult:
        """Fields, what the focused one means, outlook, buttons."""
        yield Words("New study", id="new-header")
        with VerticalScroll(id="form", can_focus=False):
            yield Field("preset", "Preset", "", picks=True, typed=False)
            for name, text in TEXTS.items():
                yield Field(name, text.title, text.hint, picks=has_items(name))
        yield Words("", id="about")
        yield Words("", id="outlook")
        with Horizontal(id="buttons"):
            yield Button("Start", id="start", variant="success", compact=True)
            yield Words("", id="reason")
        yield KeyLine()

    def on_mount(self) -> None:
        """Fill the fields."""
        self._begin()

    def field(self, name: str) -> Field:
        """Return the field of an entry."""
        return self.query_one(f"#field-{name}", Field)

    def _begin(self) -> None:
        """Everything as in the presets."""
        self.touched.clear()
        titles = " + ".join(self.presets)
        self.field("preset").set_value(titles)
        for name in TEXTS:
            self.field(name).set_value(DEFAULTS.get(name, ""))
        self._judge()

    # Judging.

    def on_field_changed(self, message: Field.Changed) -> None:
        """Judge everything again: one entry can make another one right or wrong."""
        message.field.heard()
        name, value = message.field.field_name, message.field.value
        if value.strip():
            self.touched[name] = value
        else:
            self.touched.pop(name, None)
        if name == "model":
            self._refused.clear()
        self._judge()

    def _judge(self) -> None:
        """Judge in a thread; what is typed meanwhile is judged after it."""
        self.judgement = None
        self._about()
        if self._judging:
            return
        self._judging = True
        asked = Asked(self.presets, dict(self.touched), dict(self._refused))
        self._asked = asked
        self.in_thread(lambda: self.Judged(judge(asked)), group="judge")

    def on_new_run_screen_judged(self, message: Judged) -> None:
        """Show what is wrong, or what it comes to."""
        self._judging = False
        now = Asked(self.presets, self.touched, self._refused)
        if now != self._asked:
            self._judge()
            return
        self.judgement = judgement = message.judgement
        if judgement.order is not None:
            self._shown = judgement
            for name, value in judgement.shown.items():
                self._fill(name, value or "")
        self._look_into(judgement.unknown)
        self._tell()
        meant, self._meant = self._meant, None
        if meant is not None:
            meant()

    def _fill(self, name: str, value: str) -> None:
        field = self.field(name) if name in TEXTS else None
        # An emptied box with the keys in it stays empty: somebody is about to type.
        if (
            field is not None
            and name not in self.touched
            and not (field.has_keys and not field.value)
        ):
            field.set_value(value)

    def _tell(self) -> None:
        judgement = self.judgement or self._shown
        preset = PRESETS[self.presets[0]] if len(self.presets) == 1 else None
        self.field("preset").set_sentence(
            judgement.problems.get("preset", ""), preset.title if preset else "several presets"
        )
        for name in TEXTS:
            field = self.field(name)
            hint = self._shown.hints.get(name, "")
            if (count := len(values_of(self.touched.get(name, "")))) > 1 and name in AXES:
                hint = f"{count} values"
            field.set_sentence(judgement.problems.get(name, ""), hint)
            differ = name in self._shown.shown and self._shown.shown[name] is None
            field.set_placeholder("each its own" if differ else "")
        self.query_one("#outlook", Words).show(judgement.outlook)
        order = self.order
        runs = len(order.studies) if order else 1
        button = self.query_one("#start", Button)
        button.label = "Start" if order is None or len(order.groups) == 1 else f"Show {runs:,} runs"
        button.disabled = order is None or self._starting
        first = next((name for name in TEXTS if name in judgement.problems), None)
        reason = f"{TEXTS[first].title}: {judgement.problems[first]}" if first else ""
        self.query_one("#reason", Words).show(reason or "ctrl+s")
        self.query_one("#reason").set_class(first is not None, "-wrong")
        header = "New study" if runs == 1 else f"New sweep: {runs:,} runs"
        if order is not None and len(order.groups) == 1 and runs > 1:
            header = "New study, in both wirings"
        self.query_one("#new-header", Words).show(header)
        self._about()

    def on_descendant_focus(self) -> None:
        """Say what the entry means that the keys go to."""
        self._about()

    def on_descendant_blur(self) -> None:
        """An emptied box that was left shows again what is used."""
        if self.judgement is not None:
            for name, value in self._shown.shown.items():
                self._fill(name, value or "")
            for name, value in DEFAULTS.items():
                self._fill(name, value)

    def _about(self) -> None:
        field = next((each for each in self.query(Field) if each.has_keys), None)
        if field is None:
            return
        name = field.field_name
        text = TEXTS.get(name)
        if text is None:
            titles = "; ".join(PRESETS[preset].title for preset in self.presets)
            about = f"{titles}. Enter lists the presets, each with what it costs here."
        else:
            # A hint that is cut beside its entry is told whole here.
            hint = self._shown.hints.get(name, "") if name == "dataset" else ""
            sweep = "" if name in NOT_SWEPT else "Several values between ; make a sweep."
            about = " ".join(part for part in (hint and f"{hint}.", text.about, sweep) if part)
        self.query_one("#about", Words).show(about)

    # Models outside the catalog.

    def _look_into(self, model: str) -> None:
        """Look into a model once nobody has typed for a moment; give up on any other."""
        if self._look is not None:
            self._look.stop()
            self._look = None
        if model == self._looking:
            return
        self._looking = ""  # whoever looks into another one sees it and gives up
        if model:
            self._look = self.set_timer(LOOK_INTO_AFTER, lambda: self._begin_looking(model))

    def _begin_looking(self, model: str) -> None:
        self._look, self._looking = None, model

        def work() -> Message:
            from engine.described import describe

            worker = get_current_worker()
            wanted = lambda: self._looking == model and not worker.is_cancelled  # noqa: E731
            try:
                describe(model, wanted)
            except UsageError as error:
                return self.LookedInto(model, str(error))
            return self.LookedInto(model, "")

        self.in_thread(work, group="look", exclusive=False)

    def on_new_run_screen_looked_into(self, message: LookedInto) -> None:
        """Judge again, now that the model is known, or known not to be."""
        if message.model != self._looking:
            return
        self._looking = ""
        if message.sentence:
            self._refused[message.model] = message.sentence
        self._judge()

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
