"""What the form says about each entry, and what can be picked for it. No widget, no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.catalog import DATASETS, MODELS
from engine.entries import FIELDS, OPTIONS
from engine.errors import UsageError
from engine.model_info import ModelInfo
from engine.orders import BOTH
from engine.own_scores import installed_scores
from engine.placement import KINDS
from engine.presets import PRESETS, WAITING, Preset
from engine.scores import BASE_SCORES, SCORES, ScoreInfo, applies
from engine.study_rules import GRANULARITIES, PRECISIONS, SCOPES, SEARCHES, WIRINGS
from oracle_tui.formats import rounded

#: How several picked values are joined: as values that belong together, or as those of a sweep.
TOGETHER, SWEPT = ",", "; "


@dataclass(frozen=True)
class EntryText:
    """One entry of the form.

    Attributes:
        title: What is written before it.
        hint: What is written beside it while nothing better is known.
        about: What it means, shown while the keys go to it.
        several: What joins picked values; "" where only one can be picked.
    """

    title: str
    hint: str = ""
    about: str = ""
    several: str = ""


#: Entries that say where a study is worked on, or on which part; no axis of a sweep.
ELSEWHERE = ("device", "executor", "shard")

_TEXTS: Mapping[str, EntryText] = {
    "model": EntryText(
        "Model",
        "the network that is pruned",
        "Enter lists the catalog. Also timm:NAME, torchvision:NAME, your own FILE.py:NAME, and "
        "any at another input size, NAME@64.",
        SWEPT,
    ),
    "dataset": EntryText("Data set", "what it is trained on", "Enter lists what there is.", SWEPT),
    "layers": EntryText(
        "Layers",
        "what is pruned",
        "Names or patterns between commas, a ratio may follow: conv1,conv2 or layer*.conv1:0.5. "
        "Enter lists them.",
        TOGETHER,
    ),
    "ratio": EntryText(
        "Ratio",
        "of the filters that are removed",
        "The share of filters removed from each layer; one for all, or one a layer: 0.5,0.3 or "
        "conv1:0.5,conv2:0.3.",
    ),
    "candidates": EntryText(
        "Candidates",
        "all, or how many are sampled",
        "Which filters go is one candidate. Study all of them, or a random sample of so many.",
    ),
    "repeats": EntryText(
        "Repeats",
        "retrainings of each candidate",
        "Each with a seed of its own; several tell how much of the outcome is noise.",
    ),
    "epochs": EntryText(
        "Retraining",
        "epochs for each candidate",
        "The learning rate's drops move along in proportion.",
    ),
    "pretrain_epochs": EntryText(
        "Pretraining",
        "epochs for the base network",
        "Studies that share a base network train it once.",
    ),
    "seed": EntryText("Seed", "fixes every random number", "The same seed gives the same numbers."),
    "wiring": EntryText(
        "Wiring",
        "correct, released or both",
        "How the layer behind a pruned one is slimmed: correct, as the paper's released code does "
        "it, or both as two runs that differ in nothing else.",
    ),
    "scores": EntryText(
        "Scores",
        "pruned loss and accuracy are always in",
        "What is measured of a candidate before retraining, between commas, or all. Enter lists "
        "them; space picks several.",
        TOGETHER,
    ),
    "criterion": EntryText(
        "Own score",
        "a Python file of yours",
        "Files that define score(subject, candidates), between commas; each is measured beside "
        "the scores above. The file's name is the score's.",
    ),
    "search": EntryText(
        "Search",
        "none, greedy, swap, l1",
        "Ways to look for a lower loss than the sample's; each adds the candidate that it finds.",
        TOGETHER,
    ),
    "precision": EntryText(
        "Precision",
        "float32 or bf16",
        "What the retraining computes in; scores and evaluations are float32 either way.",
        SWEPT,
    ),
    "recipe": EntryText(
        "Recipe",
        "of the retraining: lr=0.01,...",
        "Retrain otherwise than by the protocol, KEY=VALUE between commas: lr, drops, optimizer, "
        "momentum, weight_decay, batch_size, ...",
    ),
    "pretrain_recipe": EntryText(
        "Base recipe", "of the pretraining: lr=0.1,...", "The same for the base network."
    ),
    "weights": EntryText(
        "Weights",
        "empty, a file, or pretrained",
        "Prune this network instead of one trained here: a state_dict or safetensors file, or "
        "pretrained for the library's own weights.",
    ),
    "tune": EntryText(
        "Tune",
        "yes trains given weights on",
        "Train the given weights on by the base network's recipe before they are pruned; a "
        "classifier for other classes begins anew.",
    ),
    "granularity": EntryText(
        "Granularity",
        "filters or weights",
        "What is pruned: whole filters, which makes layers smaller, or single weights, which stay "
        "zero.",
        SWEPT,
    ),
    "scope": EntryText(
        "Scope",
        "layer or global, of weights",
        "Of single weights: the ratio is that of each layer, or of all of them together.",
        SWEPT,
    ),
    "tuning": EntryText(
        "Tuning",
        "full, or lora=8,checkpointing",
        "What of a vision-language model is trained, and what it is scored on: lora=RANK, alpha, "
        "checkpointing, scored=N; see docs/how-to/vision-language.md.",
    ),
    "device": EntryText(
        "Device", "auto, cpu, cuda or cuda:0", "auto takes a free GPU, or else the CPU."
    ),
    "executor": EntryText(
        "Executor",
        "inline, processes[:N], ray[:ADDRESS]",
        "Who retrains the candidates; no number depends on it.",
    ),
    "shard": EntryText(
        "Shard",
        "empty, or I/N for a part",
        "Study only every N-th candidate; `oracle-tui merge` puts the shards together.",
    ),
}


def _order() -> list[str]:
    # A file's score belongs beside the scores.
    names = [*FIELDS, *OPTIONS, *ELSEWHERE]
    names.insert(names.index("scores") + 1, "criterion")
    return names


#: Every entry of the form in its order; one that the engine has beyond ours is shown all the same.
TEXTS: Mapping[str, EntryText] = {
    name: _TEXTS.get(name, EntryText(name.replace("_", " ").capitalize()[:11])) for name in _order()
}

#: What stands where nothing is entered.
DEFAULTS = {"device": "auto", "executor": "inline"}


@dataclass(frozen=True)
class Item:
    """Something to pick.

    Attributes:
        value: What is entered when it is picked; "" for a heading.
        shown: Its line.
        about: More about it, shown while it is highlighted.
        enabled: Whether it can be picked.
    """

    value: str
    shown: str
    about: str = ""
    enabled: bool = True


def has_items(name: str) -> bool:
    """Tells whether there is a list to pick an entry from."""
    return name in _ITEMS


def items_for(name: str, model: ModelInfo | None) -> list[Item]:
    """Returns what can be picked for an entry of a model; not of several models, or none."""
    return _ITEMS[name](model)


def _models(_: ModelInfo | None) -> list[Item]:
    items = []
    for info in MODELS.values():
        multiply_adds, parameters = info.count({})
        size = f"{info.channels} x {info.size} x {info.size}"
        items.append(
            Item(
                info.name,
                f"{info.name:<17} {rounded(parameters):>6} parameters  {size}",
                f"{info.title}, {rounded(multiply_adds)} multiply-adds an image; "
                f"retrained {info.retrain}",
            )
        )
    return items


def _datasets(_: ModelInfo | None) -> list[Item]:
    return [
        Item(
            info.name,
            f"{info.name:<15} {info.train_images:>9,} train images, {info.classes} classes",
            f"{info.title}; {info.source}",
        )
        for info in DATASETS.values()
    ]


def _layers(model: ModelInfo | None) -> list[Item]:
    if model is None:
        return []
    usual = [Item(model.usual, model.usual, "What the protocol prunes.")] if model.usual else []
    return usual + [
        Item(
            layer.name,
            f"{layer.name:<30} {layer.filters:>5} {layer.kind}",
            f"Loses its filters along with {', '.join(layer.members)}." if layer.members else "",
        )
        for layer in model.layers
    ]


def _exists(info: ScoreInfo, model: ModelInfo | None) -> bool:
    return model is None or applies(info, model.family)


def _scores(model: ModelInfo | None) -> list[Item]:
    items = [
        Item(
            info.name,
            f"{info.name:<26} {info.title}",
            f"From {info.needs}; {'low' if info.low_is_good else 'high'} is good."
            if _exists(info, model)
            else "It needs BatchNorm, which this model lacks.",
            _exists(info, model),
        )
        for info in SCORES.values()
        if info.name not in BASE_SCORES
    ]
    others = [
        Item(name, f"{name:<26} of an installed package", "") for name in sorted(installed_scores())
    ]
    return [*items, *others]


def _plain(*values: str) -> list[Item]:
    return [Item(value, value) for value in values]


_ITEMS: Mapping[str, Callable[[ModelInfo | None], list[Item]]] = {
    "model": _models,
    "dataset": _datasets,
    "layers": _layers,
    "scores": _scores,
    "wiring": lambda _: _plain(*WIRINGS, BOTH),
    "search": lambda _: _plain("none", *SEARCHES),
    "precision": lambda _: _plain(*PRECISIONS),
    "tune": lambda _: _plain("yes", "no"),
    "granularity": lambda _: _plain(*GRANULARITIES),
    "scope": lambda _: _plain(*SCOPES),
    "device": lambda _: _plain("auto", "cpu", "cuda"),
    "executor": lambda _: _plain(*KINDS),
}

_GROUPS = (
    ("quick", "Quick: minutes on a CPU, not the paper's numbers"),
    ("complexity", "Complexity: one thing changes, the rest stays"),
    ("mllm", "Vision-language: questions about images"),
    ("paper", "Paper: the published studies, with their schedules"),
)


def preset_items() -> list[Item]:
    """Returns the presets in groups, each with its cost here; then those that wait, and for what.

    For thread workers: the rates measured on this machine are read.
    """
    items = []
    for prefix, heading in _GROUPS:
        names = [name for name in PRESETS if name.split("/")[0] == prefix]
        # The studies that come alone are the many; the sets are found more easily above them.
        names.sort(key=lambda name: name != prefix and len(PRESETS[name].specs) == 1)
        items.append(Item("", heading, enabled=False))
        items += [_preset(PRESETS[name], name.removeprefix(f"{prefix}/")) for name in names]
    items.append(Item("", "Waiting: these cannot be started yet", enabled=False))
    items += [
        Item(
            name,
            f"  {name:<40} {'':>9} {'waits':>11}",
            f"{entry.title}; waits for {entry.waits_for}",
            enabled=False,
        )
        for name, entry in WAITING.items()
    ]
    return items


def _preset(preset: Preset, name: str) -> Item:
    from engine.estimate import duration_text, estimate_all

    cost = estimate_all(preset.specs)
    studies = f"{len(preset.specs)} studies" if len(preset.specs) > 1 else ""
    basis = "" if cost.measured else " (a guess until a run is measured here)"
    rows = f"{preset.rows:,} retrainings in about {duration_text(cost.seconds)}{basis}"
    shown = f"  {name:<40} {studies:>9} {duration_text(cost.seconds):>11}"
    return Item(preset.name, shown, f"{preset.title}; {rows}")


def model_of(names: Sequence[str]) -> ModelInfo | None:
    """Returns the model if exactly one is entered and it is known already; else None."""
    from engine.described import is_outside_catalog, look_up

    if len(names) != 1:
        return None
    try:
        if is_outside_catalog(names[0]):
            return look_up(names[0])
        return MODELS.get(names[0].strip().lower().replace("_", "-"))
    except UsageError:
        return None
