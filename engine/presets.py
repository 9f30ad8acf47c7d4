"""Named studies, and sets of studies, that come ready to start."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from engine import protocol
from engine.catalog import find_model
from engine.errors import UsageError
from engine.model_catalog import DIALOGUE_PRETRAIN, DIALOGUE_RETRAIN
from engine.protocol import Draft, lenet, quick_twin, ten_percent
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN
from engine.spec import StudySpec


@dataclass(frozen=True, slots=True)
class Preset:
    """One or several specs with a name and a line that says what they are for."""

    name: str
    title: str
    specs: tuple[StudySpec, ...]

    @property
    def spec(self) -> StudySpec:
        """The study; raises UsageError where the preset is a set of several."""
        if len(self.specs) > 1:
            raise UsageError(
                f"{self.name} is a set of {len(self.specs)} studies; choose one of them."
            )
        return self.specs[0]

    @property
    def rows(self) -> int:
        """How many retrainings it makes in all."""
        return sum(spec.rows for spec in self.specs)

    def each(self) -> Iterator[Preset]:
        """Yields the studies one by one, as presets of one spec."""
        for spec in self.specs:
            yield Preset(self.name, self.title, (spec,))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A preset that cannot be started yet, and what it waits for."""

    name: str
    title: str
    waits_for: str


QUICK = Preset(
    "quick",
    "All 45 candidates of LeNet5-Mini's conv1 at .2 on 5,000 digits, short schedules",
    (
        StudySpec(
            model="lenet5-mini",
            dataset="mnist-5k",
            layers=("conv1",),
            ratios=(0.2,),
            candidates=None,
            repeats=1,
            pretrain=LENET_PRETRAIN.lasting(15),
            retrain=LENET_RETRAIN.lasting(6),
        ),
    ),
)

TINY_LLAVA = Preset(
    "mllm/tiny-llava",
    "32 candidates of Tiny-LLaVA at .5 of all heads and neurons, on questions about Fashion-MNIST",
    (
        StudySpec(
            model="tiny-llava",
            dataset="fashion-qa",
            layers=tuple(layer.name for layer in find_model("tiny-llava").layers),
            ratios=(0.5,) * len(find_model("tiny-llava").layers),
            candidates=32,
            repeats=2,
            pretrain=DIALOGUE_PRETRAIN,
            retrain=DIALOGUE_RETRAIN,
        ),
    ),
)

_Entry = tuple[str, str, tuple[Draft, ...]]


def _ratios(layer: str) -> tuple[Draft, ...]:
    return tuple(draft for draft in protocol.ONE_LAYER if draft.layers == layer)


_DEPTHS = (lenet(), *protocol.DEEPER)
_WIDTHS = (lenet(), *protocol.WIDER)
_DATASETS = (lenet(), protocol.KMNIST, protocol.FMNIST)
_LAYERS = (*(lenet(layer) for layer in protocol.LAYERS), *protocol.MULTI_LAYER)
_TEN_PERCENT = tuple(lenet(layer) for layer in protocol.LAYERS)

# The paper's figures, each one or several panels.
_SETS: tuple[_Entry, ...] = (
    *(
        (layer, f"LeNet5-Mini's {layer} on MNIST at every ratio from .2 to .8", _ratios(layer))
        for layer in protocol.LAYERS
    ),
    ("multi-layer", "Two or three layers of LeNet5-Mini at .5 on MNIST", protocol.MULTI_LAYER),
    ("fmnist", "LeNet5-Mini's conv1 at .5 on Fashion-MNIST", (protocol.FMNIST,)),
    ("kmnist", "LeNet5-Mini's conv1 at .5 on KMNIST", (protocol.KMNIST,)),
    ("depths", "LeNet5-Mini with one, two and three more linear layers", protocol.DEEPER),
    ("widths", "LeNet5-Mini with 20, 30 and 40 filters in conv1", protocol.WIDER),
)

# One thing changes, the rest stays: does tau follow the difficulty of the task?
_COMPLEXITY: tuple[_Entry, ...] = (
    ("datasets", "LeNet5-Mini's conv1 at .5 on three data sets", _DATASETS),
    ("widths", "LeNet5-Mini's conv1 at .5 with 10, 20, 30 and 40 filters", _WIDTHS),
    ("depths", "LeNet5-Mini's conv1 at .5 with two to five linear layers", _DEPTHS),
    ("ratios", "LeNet5-Mini's conv1 at every ratio from .2 to .8", _ratios("conv1")),
    ("layers", "Each layer of LeNet5-Mini at .5, and two or three together", _LAYERS),
)


def _all() -> Iterator[_Entry]:
    """Yields the name, title and drafts of every preset but `quick`."""
    for draft in (*protocol.SMALL, *protocol.LARGE):
        yield f"paper/{draft.name}", _title(draft), (draft,)
    for name, title, drafts in _SETS:
        yield f"paper/{name}", title, drafts
    for draft in (*_TEN_PERCENT, protocol.RESNET56, protocol.VGG19):
        short = ten_percent(draft)
        yield f"paper/{draft.name}-10-percent", _title(short), (short,)
    for name, title, drafts in _COMPLEXITY:
        yield f"complexity/{name}", title, drafts
    twins = {draft: quick_twin(draft) for draft in protocol.SMALL}
    for draft, twin in twins.items():
        yield f"quick/{draft.name}", _title(twin), (twin,)
    for prefix, entries in (("quick", _SETS), ("quick/complexity", _COMPLEXITY)):
        for name, title, drafts in entries:
            yield f"{prefix}/{name}", f"{title}, in short", tuple(twins[draft] for draft in drafts)


def _title(draft: Draft) -> str:
    return (
        f"{draft.label or draft.layers} of {draft.model} at {draft.ratio:g} on {draft.dataset}, "
        f"{draft.retrain.epochs} epochs, {draft.repeats} repeat{'s' * (draft.repeats != 1)}"
    )


def _sorted_out() -> tuple[dict[str, Preset], dict[str, Waiting]]:
    ready, waiting = {QUICK.name: QUICK, TINY_LLAVA.name: TINY_LLAVA}, {}
    known: dict[Draft, StudySpec] = {}
    for name, title, drafts in _all():
        missing = []
        for draft in drafts:
            try:
                known[draft] = known.get(draft) or draft.spec()
            except UsageError as error:
                missing.append(str(error).rstrip("."))
        if missing:
            waiting[name] = Waiting(name, title, "; ".join(dict.fromkeys(missing)))
        else:
            ready[name] = Preset(name, title, tuple(known[draft] for draft in drafts))
    return ready, waiting


PRESETS: Mapping[str, Preset]
WAITING: Mapping[str, Waiting]
PRESETS, WAITING = _sorted_out()


def find_preset(name: str) -> Preset:
    """Returns the preset of that name; raises UsageError that suggests the nearest."""
    if name in PRESETS:
        return PRESETS[name]
    if name in WAITING:
        raise UsageError(f"{name} cannot be started yet; it waits for {WAITING[name].waits_for}.")
    near = difflib.get_close_matches(name, [*PRESETS, *WAITING], n=1)
    hint = f"did you mean {near[0]}?" if near else "see `oracle-tui presets`."
    raise UsageError(f"There is no preset named {name!r}; {hint}")
