"""The form that starts a study: presets first, every entry checked while it is typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widgets import Button

from engine.catalog import DATASETS, MODELS, find_model
from engine.devices import check_device
from engine.entries import FIELDS, entries_of, problems_in, read_entries
from engine.estimate import estimate
from engine.model_info import listed
from engine.presets import PRESETS
from engine.spec import WIRINGS, SpecError, StudySpec
from oracle_tui.screens.base import WorkingScreen
from oracle_tui.widgets.fields import Field
from oracle_tui.widgets.keys import KeyLine
from oracle_tui.widgets.words import Words

#: Title and help of each entry, in the order of the form.
TEXTS = {
    "model": ("Model", "the network that is pruned"),
    "dataset": ("Data set", ""),
    "layers": ("Layers", ""),
    "ratio": ("Ratio", "of the filters; one a layer: 0.2,0.5"),
    "candidates": ("Candidates", "all, or how many are sampled"),
    "repeats": ("Repeats", "retrainings of each candidate"),
    "epochs": ("Retraining", "epochs for each candidate"),
    "pretrain_epochs": ("Pretraining", "epochs for the base network"),
    "seed": ("Seed", "the same seed gives the same numbers"),
    "wiring": ("Wiring", "correct, or as in the paper's code"),
    "device": ("Device", "auto, cpu, cuda or cuda:0"),
}


# The form holds one study; sets of several are for the command line.
_SINGLE = [(name, name) for name, preset in PRESETS.items() if len(preset.specs) == 1]


class NewRunScreen(WorkingScreen[None]):
    """A form over `engine.entries`: what it says about an entry, the command line says too."""

    CSS_PATH = "new_run.tcss"
    AUTO_FOCUS = "#field-preset Select"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "app.help", "Help", id="new.help", tooltip="Every key of this screen"),
        Binding("ctrl+s", "start", "Start", id="new.start", tooltip="Start the study"),
        Binding("down", "app.focus_next", "Next", id="new.next", show=False,
                tooltip="Next entry"),
        Binding("up", "app.focus_previous", "Previous", id="new.previous", show=False,
                tooltip="Previous entry"),
        Binding("escape", "back", "Back", id="new.back", tooltip="Back without starting"),
    ]  # fmt: skip

    @dataclass
    class Started(Message):
        """The run was made and its engine started."""

        path: Path

    def __init__(self) -> None:
        """Begin with the first preset."""
        super().__init__()
        self.preset = next(iter(PRESETS.values()))
        self.spec: StudySpec | None = None
        self._starting = False

    def compose(self) -> ComposeResult:
        """Fields, outlook, buttons."""
        yield Words("New study", id="new-header")
        with VerticalScroll(id="form", can_focus=False):
            yield Field("preset", "Preset", "", _SINGLE)
            for name, (title, text) in TEXTS.items():
                yield Field(name, title, text, _choices(name))
        yield Words("", id="outlook")
        with Horizontal(id="buttons"):
            yield Button("Start", id="start", variant="success", compact=True)
            yield Words("", id="reason")
        yield KeyLine()

    def on_mount(self) -> None:
        """Fill the fields."""
        self._fill()

    def _field(self, name: str) -> Field:
        return self.query_one(f"#field-{name}", Field)

    def _fill(self) -> None:
        for name, value in entries_of(self.preset.spec).items():
            self._field(name).set_value(value)
        if not self._field("device").value:
            self._field("device").set_value("auto")
        self._check()

    @property
    def entries(self) -> dict[str, str]:
        """What is entered, by name."""
        return {name: self._field(name).value for name in FIELDS}

    def on_field_changed(self, message: Field.Changed) -> None:
        """Check everything again: one entry can make another one right or wrong."""
        if message.field.field_name == "preset":
            self.preset = PRESETS[message.field.value]
            self._fill()
            return
        if message.field.field_name == "model":
            self._bring_layers()
        self._check()

    def _bring_layers(self) -> None:
        """Another model may not have the layers that are entered: offer its usual ones."""
        model = find_model(self._field("model").value)
        entered = [part.strip() for part in self._field("layers").value.split(",")]
        if not set(entered) <= {layer.name for layer in model.layers}:
            self._field("layers").set_value(model.usual or model.layers[0].name)

    def _check(self) -> None:
        entries = self.entries
        problems = {
            # An emptied entry would silently mean the preset's; in a form that is a mistake.
            **{name: "Enter something here." for name in FIELDS if not entries[name].strip()},
            **problems_in(entries, self.preset),
        }
        try:
            device = check_device(self._field("device").value)
        except SpecError as error:
            problems[error.field], device = str(error), "auto"
        self.spec = None if problems else read_entries(entries, self.preset)
        self._field("preset").set_sentence("", self.preset.title)
        for name in TEXTS:
            self._field(name).set_sentence(problems.get(name, ""), self._help(name))
        self.query_one("#outlook", Words).show(self._outlook(device))
        self.query_one("#start", Button).disabled = bool(problems) or self._starting
        first = next((name for name in TEXTS if name in problems), None)
        reason = f"{TEXTS[first][0]}: {problems[first]}" if first else "ctrl+s"
        self.query_one("#reason", Words).show(reason)
        self.query_one("#reason").set_class(first is not None, "-wrong")

    def _help(self, name: str) -> str | None:
        if name == "dataset":
            info = DATASETS.get(self._field(name).value)
            return f"{info.train_images:,} train images; {info.source}" if info else None
        if name == "layers":
            model = MODELS.get(self._field("model").value)
            if model is None:
                return None
            return listed([f"{layer.name} ({layer.filters})" for layer in model.layers], 12)
        return None

    def _outlook(self, device: str) -> str:
        spec = self.spec
        if spec is None:
            return ""
        rows = spec.rows
        times = f"{len(spec.space):,} · {spec.repeats} = " if spec.repeats > 1 else ""
        return (
            f"{spec.space.formula()} candidates\n"
            f"{times}{rows:,} retraining{'' if rows == 1 else 's'}, {estimate(spec, device)}"
        )

    # Starting.

    def on_button_pressed(self) -> None:
        """Start by button."""
        self.action_start()

    def action_start(self) -> None:
        """Make the run and start its engine, then follow it."""
        if self._starting:
            return
        spec, runs_dir = self.spec, self.oracle_app.runs_dir
        if spec is None:
            self.notify(str(self.query_one("#reason", Words).content), severity="warning",
                        markup=False)  # fmt: skip
            return
        device = check_device(self._field("device").value)
        self._starting = True
        self._check()

        def start() -> Message:
            from engine.control import create_run, start_engine

            run = create_run(runs_dir, spec, device)
            start_engine(run)
            return self.Started(run)

        self.in_thread(start, group="start")

    def worker_failed(self, worker: object) -> None:
        """Let another try be made."""
        self._starting = False
        self._check()

    def on_new_run_screen_started(self, message: Started) -> None:
        """Follow the new run in place of the form."""
        from oracle_tui.screens.run import RunScreen

        self.app.switch_screen(RunScreen(message.path))

    def action_back(self) -> None:
        """Leave the form."""
        self.dismiss()


def _choices(name: str) -> list[tuple[str, str]] | None:
    if name == "model":
        return [(info.title, key) for key, info in MODELS.items()]
    if name == "dataset":
        return [(info.title, key) for key, info in DATASETS.items()]
    if name == "wiring":
        return [(wiring, wiring) for wiring in WIRINGS]
    return None
