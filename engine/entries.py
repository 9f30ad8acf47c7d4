"""Turns what a person typed, on the command line or in the form, into a spec.

Both go through here, so that both say the same sentence about the same mistake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from engine.catalog import DatasetInfo, ModelInfo, find_dataset, find_model
from engine.data_sources.describe import describe_data
from engine.data_sources.names import is_outside
from engine.described import describe, is_outside_catalog
from engine.errors import UsageError
from engine.model_info import listed
from engine.presets import Preset
from engine.recipe import Recipe
from engine.recipe_text import changed
from engine.scores import BASE_SCORES, read_scores
from engine.space import ALL_BY_DEFAULT, DEFAULT_SAMPLE, CandidateSpace, pruned_count
from engine.spec import StudySpec
from engine.study_rules import ANSWERING, SpecError
from engine.tuning import FULL, read_tuning
from engine.weights import read_weights

_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")

# Entries in the order of the form; the command line has a flag for each.
FIELDS = (
    "model",
    "dataset",
    "layers",
    "ratio",
    "candidates",
    "repeats",
    "epochs",
    "pretrain_epochs",
    "seed",
    "wiring",
)

# What the command line has beyond the form; there it comes from the preset.
OPTIONS = (
    "scores",
    "search",
    "precision",
    "recipe",
    "pretrain_recipe",
    "weights",
    "tune",
    "granularity",
    "scope",
    "tuning",
)


def entries_of(spec: StudySpec) -> dict[str, str]:
    """Returns the entries that give this spec, as a person would type them."""
    return {
        "model": spec.model,
        "dataset": spec.dataset,
        "layers": ",".join(spec.layers),
        "ratio": ",".join(f"{ratio:g}" for ratio in _shortest(spec.ratios)),
        "candidates": "all" if spec.candidates is None else str(spec.candidates),
        "repeats": str(spec.repeats),
        "epochs": str(spec.retrain.epochs),
        "pretrain_epochs": str(spec.pretrain.epochs),
        "seed": str(spec.seed),
        "wiring": spec.wiring,
    }


def read_entries(
    entries: Mapping[str, str | None], preset: Preset | None = None, own_scores: Iterable[str] = ()
) -> StudySpec:
    """Returns the spec that the entries describe; what is empty comes from the preset or protocol.

    Args:
        entries: What was typed, by the names of `FIELDS` and `OPTIONS`.
        preset: Where the rest comes from.
        own_scores: Scores beside ours that may be asked for; `name@digest` for those of files.

    Raises:
        SpecError: An entry is wrong; its `field` says which, its text says why.
    """
    problems, spec = _read(entries, preset, own_scores)
    if spec is None:
        raise problems[0]
    return spec


def problems_in(
    entries: Mapping[str, str | None], preset: Preset | None = None, own_scores: Iterable[str] = ()
) -> dict[str, str]:
    """Returns one sentence for each wrong entry, keyed by its field; empty when all is well."""
    problems, _ = _read(entries, preset, own_scores)
    return {problem.field: str(problem) for problem in problems}


def _read(
    entries: Mapping[str, str | None], preset: Preset | None, own_scores: Iterable[str] = ()
) -> tuple[list[SpecError], StudySpec | None]:
    typed = {field: (entries.get(field) or "").strip() for field in (*FIELDS, *OPTIONS)}
    problems: list[SpecError] = []

    def take(field: str, read: Callable[[str], Any], fallback: Any) -> Any:
        if not typed[field]:
            return fallback
        try:
            return read(typed[field])
        except UsageError as error:
            problems.append(SpecError(field, str(error)))
            return fallback

    base = preset.spec if preset else None
    model: ModelInfo = take(
        "model", named_model, base.model_info if base else find_model("lenet5-mini")
    )
    # A preset's layers, ratios and recipes are those of its model; another model brings its own.
    if base is not None and base.model != model.name:
        base = None
    answers = model.family == ANSWERING
    usual = find_dataset("fashion-qa" if answers else "mnist-5k")
    if preset and preset.spec.dataset_info.asks == answers:
        usual = preset.spec.dataset_info
    dataset = take("dataset", named_dataset, usual)
    default_layers = base.layers if base else tuple(_layers(model, _usual(model)))
    named: Named = take("layers", lambda text: _layers(model, text), dict.fromkeys(default_layers))
    layers = tuple(named)
    default_ratios = base.ratios if base and base.layers == layers else _same_for_all(base, layers)
    ratios: tuple[float, ...] = take(
        "ratio", lambda text: _ratios(model, text, layers), default_ratios
    )
    # A ratio written behind a layer is meant for it, whatever is said for all.
    ratios = tuple(
        ratio if (own := named[layer]) is None else own
        for layer, ratio in zip(layers, ratios, strict=True)
    )
    repeats = take("repeats", lambda text: _integer("repeats", text), base.repeats if base else 1)
    seed = take("seed", lambda text: _integer("The seed", text), base.seed if base else 0)
    recipes = {
        field: take(
            field,
            partial(_lasting, recipe),
            recipe,
        )
        for field, recipe in (
            ("epochs", base.retrain if base else model.retrain),
            ("pretrain_epochs", base.pretrain if base else model.pretrain),
        )
    }
    for field, option in (("epochs", "recipe"), ("pretrain_epochs", "pretrain_recipe")):
        recipes[field] = take(option, partial(changed, recipes[field]), recipes[field])
    granularity = typed["granularity"].lower() or (base.granularity if base else "filters")
    masked = granularity == "weights"
    same_space = base is not None and (base.layers, base.ratios, base.granularity) == (
        layers,
        ratios,
        granularity,
    )
    fallback = base.candidates if base and same_space else "default"
    candidates = take("candidates", _candidates, fallback)
    scores = take(
        "scores",
        lambda text: read_scores(text, model.family, own_scores, of_weights=masked),
        base.scores if base else BASE_SCORES,
    )
    usual_search = ("l1",) if masked else ()
    search = take("search", _searches, base.search if base and same_space else usual_search)
    tuned = take("tune", _yes, False)
    weights = take(
        "weights",
        lambda text: read_weights(text, tuned=tuned),
        base.weights if base else None,
    )
    if tuned and not typed["weights"]:
        problems.append(SpecError("weights", "--tune needs --weights, which it trains on from."))
    tuning = take("tuning", read_tuning, base.tuning if base else FULL)
    if problems:
        return problems, None
    try:
        if candidates == "default":
            candidates = DEFAULT_SAMPLE if masked else _default_sample(model, layers, ratios, seed)
        spec = StudySpec(
            model=model.name,
            dataset=dataset.name,
            layers=layers,
            ratios=ratios,
            candidates=candidates,
            repeats=repeats,
            pretrain=recipes["pretrain_epochs"],
            retrain=recipes["epochs"],
            wiring=typed["wiring"].lower() or (base.wiring if base else "correct"),
            seed=seed,
            scores=scores,
            search=search,
            weights=weights,
            granularity=granularity,
            scope=typed["scope"].lower() or (base.scope if base and same_space else "layer"),
            tuning=tuning,
            precision=typed["precision"].lower() or (base.precision if base else "float32"),
        )
    except SpecError as error:
        return [error], None
    return [], spec


def _default_sample(
    model: ModelInfo, layers: tuple[str, ...], ratios: tuple[float, ...], seed: int
) -> int | None:
    """All candidates where that is a study a person would wait for, else a sample."""
    filters = tuple(model.layer(layer).filters for layer in layers)
    pruned = tuple(
        pruned_count(n, ratio) if 0 < ratio < 1 else 0
        for n, ratio in zip(filters, ratios, strict=True)
    )
    total = CandidateSpace(filters, pruned, 1, seed).total
    return None if total <= ALL_BY_DEFAULT else DEFAULT_SAMPLE


def _yes(text: str) -> bool:
    if text.lower() not in ("yes", "no"):
        raise UsageError(f"tune is yes or no, not {text!r}.")
    return text.lower() == "yes"


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.replace("+", ",").split(",") if part.strip())


def _searches(text: str) -> tuple[str, ...]:
    """Reads ways to search; `none` is no search where the preset has one."""
    return () if text.strip().lower() == "none" else _names(text)


# Layers, each with the ratio written behind it, if there is one.
Named = dict[str, float | None]


def named_model(text: str) -> ModelInfo:
    """Returns a model of the catalog or, looked into the first time, of outside it.

    Raises:
        UsageError: There is none of that name, or nothing in it can be pruned.
    """
    return describe(text) if is_outside_catalog(text) else find_model(text)


def named_dataset(text: str) -> DatasetInfo:
    """Returns a data set of the catalog or, looked at on its disk, one outside it.

    Raises:
        UsageError: There is none of that name, or it is no data set.
    """
    return describe_data(text) if is_outside(text) else find_dataset(text)


def _usual(model: ModelInfo) -> str:
    return model.usual or model.layers[0].name


def _layers(model: ModelInfo, text: str) -> Named:
    """Reads names and patterns, with or without a ratio: `conv1`, `layer*.conv1:0.5,fc1:.3`."""
    named: Named = {}
    for part in text.replace("+", ",").split(","):
        pattern, _, ratio = part.partition(":")
        if not part.strip():
            continue
        own = _ratio(ratio) if ratio.strip() else None
        layers = model.matching(pattern)
        if len(layers) == 1 and layers[0] in named:
            raise UsageError(f"The layer {layers[0]} is named twice.")
        named.update(dict.fromkeys(layers, own))
    order = [layer.name for layer in model.layers]
    many = any(sign in text for sign in "*?[")
    return {layer: named[layer] for layer in order if layer in named} if many else named


def _ratios(model: ModelInfo, text: str, layers: tuple[str, ...]) -> tuple[float, ...]:
    """Reads one ratio, or one for each layer in their order, or `conv1:0.5,conv2:0.3`."""
    if ":" in text:
        named = _layers(model, text)
        told = {layer: named.get(layer) for layer in layers}
        missing = [layer for layer, ratio in told.items() if ratio is None]
        if missing or set(named) - set(layers):
            wrong = missing or sorted(set(named) - set(layers))
            raise UsageError(
                f"Give a ratio for each of {listed(list(layers))} and no other; see {wrong[0]}."
            )
        return tuple(ratio for ratio in told.values() if ratio is not None)
    ratios = tuple(_ratio(part) for part in text.split(","))
    if len(ratios) == 1:
        ratios *= len(layers)
    if len(ratios) != len(layers):
        raise UsageError(
            f"Give one ratio, or one for each of {listed(list(layers))}, not {text!r}."
        )
    return ratios


def _ratio(text: str) -> float:
    ratio = _number("The ratio", text)
    if not 0 < ratio < 1:
        raise UsageError(f"The ratio must be between 0 and 1, for example 0.5, not {ratio:g}.")
    return ratio


def _candidates(text: str) -> int | None:
    if text.lower() == "all":
        return None
    count = _integer("candidates", text, " or all")
    if count < 1:
        raise UsageError(f"candidates must be all or at least 1, not {count}.")
    return count


def _lasting(recipe: Recipe, text: str) -> Recipe:
    return recipe.lasting(_integer("epochs", text))


def _integer(name: str, text: str, alternative: str = "") -> int:
    # Commas may only part thousands: 6,7 is a slip or two values, never 67.
    plain = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    try:
        return int(plain)
    except ValueError:
        raise UsageError(f"{name} must be a whole number{alternative}, not {text!r}.") from None


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} must be a number such as 0.5, not {text.strip()!r}.") from None


def _same_for_all(base: StudySpec | None, layers: tuple[str, ...]) -> tuple[float, ...]:
    return (base.ratios[0] if base else 0.2,) * len(layers)


def _shortest(ratios: tuple[float, ...]) -> tuple[float, ...]:
    return ratios[:1] if len(set(ratios)) == 1 else ratios
