"""A form whose entries are checked while they are typed: what each means, and what all come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Button
from textual.worker import get_current_worker

from engine.errors import UsageError
from engine.orders import AXES
from engine.presets import PRESETS
from oracle_tui.entry_texts import DEFAULTS, ELSEWHERE, TEXTS, has_items
from oracle_tui.judging import Asked, Judgement, judge, values_of
from oracle_tui.screens.base import WorkingScreen
from oracle_tui.widgets.fields import Field
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from engine.orders import Order

#: Seconds without a key before a model that nobody has looked into yet is looked into.
LOOK_INTO_AFTER = 0.8
NOT_SWEPT = (*ELSEWHERE, "criterion")


class FormScreen(WorkingScreen[None]):
    """A form over `engine.orders`: what it says about an entry, the command line says too.

    An entry that nobody touched comes from the preset, or from the protocol of another model, and
    shows what it comes to. Several values between semicolons make a sweep.
    """

    @dataclass
    class Judged(Message):
        """The entries were judged."""

        judgement: Judgement

    @dataclass
    class LookedInto(Message):
        """A model was looked into; `sentence` says why nothing was found."""

        model: str
        sentence: str

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

    def on_form_screen_judged(self, message: Judged) -> None:
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

    def on_form_screen_looked_into(self, message: LookedInto) -> None:
        """Judge again, now that the model is known, or known not to be."""
        if message.model != self._looking:
            return
        self._looking = ""
        if message.sentence:
            self._refused[message.model] = message.sentence
        self._judge()
