"""What the form's entries come to: for thread workers, as a value. No widget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.described import is_outside_catalog, look_up
from engine.entries import FIELDS
from engine.errors import UsageError
from engine.estimate import Estimate, duration_text, estimate
from engine.masks import MaskSpace
from engine.model_info import listed
from engine.orders import AXES, Order, judge_order
from engine.shards import share
from engine.spec import StudySpec
from engine.spelled import spelled
from engine.study_rules import GRANULARITIES
from oracle_tui.entry_texts import DEFAULTS, TEXTS
from oracle_tui.formats import DASH

#: Columns that a count may take in the outlook, of the 80 that there may be.
MOST_COUNTED = 66

#: Entries that show what they come to where nobody touched them; an option's box stays empty.
_SHOWN = (*FIELDS, "scores", "search", "precision")


@dataclass(frozen=True)
class Asked:
    """What a person asked for: presets, and the entries that they touched themselves.

    Everything else comes from the presets, or from the protocol of another model.
    """

    presets: tuple[str, ...]
    touched: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # models that were looked into in vain


@dataclass(frozen=True)
class Judgement:
    """What it comes to.

    Attributes:
        order: The runs, or None where an entry is wrong.
        problems: One sentence for each wrong entry.
        shown: The text of every entry that was left alone; None where the studies differ in it.
        hints: What is worth knowing beside an entry.
        outlook: How much it is, in two lines.
        unknown: A model that somebody has to look into first; "" where all are known.
        seconds: How long it takes here.
    """

    order: Order | None
    problems: Mapping[str, str]
    shown: Mapping[str, str | None] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    outlook: str = ""
    unknown: str = ""
    seconds: float = 0.0


def values_of(text: str) -> list[str]:
    """Splits what is typed into an entry into the values of a sweep: `0.2; 0.5` has two."""
    return [part.strip() for part in text.split(";") if part.strip()]


def judge(asked: Asked) -> Judgement:
    """Returns what the entries come to. It may read files, but builds no model."""
    touched = {name: text for name, text in asked.touched.items() if text.strip()}
    for model in values_of(touched.get("model", "")):
        try:
            unknown = is_outside_catalog(model) and look_up(model) is None
        except UsageError as error:
            return Judgement(None, {"model": str(error)})
        if unknown and model in asked.refused:
            return Judgement(None, {"model": asked.refused[model]})
        if unknown:
            wait = f"Looking into {model}; the first time this takes a while…"
            return Judgement(None, {"model": wait}, unknown=model)
    axes = {
        "preset": list(asked.presets),
        # In the form's order, so that the studies come as their entries stand there.
        **{name: values_of(touched[name]) for name in AXES if name in touched},
    }
    order, problems = judge_order(
        axes,
        device=touched.get("device", DEFAULTS["device"]),
        executor=touched.get("executor", DEFAULTS["executor"]),
        shard=touched.get("shard"),
        criteria=[path for path in _files(touched.get("criterion", "")) if path],
    )
    if order is None:
        return Judgement(None, {name or "model": text for name, text in problems.items()})
    firsts = [group[0] for group in order.groups]
    costs = [_scaled(estimate(spec, order.device), spec, order) for spec in order.studies]
    return Judgement(
        order,
        {},
        shown=_alike([texts_of(spec) for spec in firsts]),
        hints=_hints(firsts),
        outlook=_outlook(order, costs),
        seconds=sum(cost.seconds for cost in costs),
    )


@dataclass(frozen=True)
class Listing:
    """An order as a table of its runs.

    Attributes:
        titles: Of the columns: the entries that differ, then how much each run is.
        lines: One for each run, as far as they are listed.
        shared: What is the same for all, in words.
        outlook: How much all of it is, in two lines.
    """

    titles: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    shared: str
    outlook: str


def listing_of(order: Order, most: int) -> Listing:
    """Returns the runs of an order, at most so many of them listed."""
    specs = order.studies
    texts = [spelled(spec) for spec in specs]
    common = _alike(texts)
    names = [name for name in TEXTS if name in common]
    # How many candidates there are is a column either way.
    differing = [name for name in names if common[name] is None and name != "candidates"]
    costs = [_scaled(estimate(spec, order.device), spec, order) for spec in specs]
    rows = [rows_of_order(spec, order) for spec in specs]
    lines = []
    for place in range(min(most, len(specs))):
        lines.append(
            (
                str(place + 1),
                *(_cut(texts[place][name] or DASH) for name in differing),
                f"{len(specs[place].space):,}",
                f"{rows[place]:,}",
                duration_text(costs[place].seconds),
            )
        )
    told = [
        (TEXTS[name].title.lower(), _cut(common[name] or ""))
        for name in names
        if common[name] and (name, common[name]) != ("granularity", GRANULARITIES[0])
    ]
    told += [("device", order.device), ("executor", order.executor)]
    if order.shard is not None:
        told.append(("shard", f"{order.shard[0]}/{order.shard[1]}"))
    several = len(specs) > 1
    total = Estimate(sum(cost.seconds for cost in costs), all(cost.measured for cost in costs))
    listed_only = f" (the first {most:,} are listed)" if len(specs) > most else ""
    candidates = sum(len(spec.space) for spec in specs)
    return Listing(
        ("", *(TEXTS[name].title.lower() for name in differing), "candidates", "retrainings",
         "cost"),
        tuple(lines),
        "All: " * several + "  ".join(f"{title} {text}" for title, text in told),
        f"{len(specs):,} run{'s' * several}{listed_only}, {candidates:,} candidates, "
        f"{sum(rows):,} retrainings\n{total}{', one after the other' * several}",
    )  # fmt: skip


def _cut(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def texts_of(spec: StudySpec) -> dict[str, str]:
    """Returns those of a study's entries that the form shows where nobody touched them."""
    return {name: text for name, text in spelled(spec).items() if name in _SHOWN}


def rows_of_order(spec: StudySpec, order: Order) -> int:
    """Returns how many retrainings a run of the order makes."""
    if order.shard is None:
        return spec.rows
    return len(share(range(len(spec.space)), order.shard)) * spec.repeats


def _files(text: str) -> Iterable[str]:
    return (part.strip() for part in text.replace(";", ",").split(","))


def _scaled(cost: Estimate, spec: StudySpec, order: Order) -> Estimate:
    return Estimate(cost.seconds * rows_of_order(spec, order) / spec.rows, cost.measured)


def _alike(texts: Sequence[Mapping[str, str]]) -> dict[str, str | None]:
    return {
        name: text if all(other[name] == text for other in texts) else None
        for name, text in texts[0].items()
    }


def _hints(specs: Sequence[StudySpec]) -> dict[str, str]:
    """Returns facts beside the entries; only those that hold for all studies."""
    every = [_hints_of(spec) for spec in specs[:200]]
    return {
        name: text
        for name, text in every[0].items()
        if all(other.get(name) == text for other in every)
    }


def _hints_of(spec: StudySpec) -> dict[str, str]:
    info, data = spec.model_info, spec.dataset_info
    return {
        "model": f"{info.title}, {info.channels} x {info.size} x {info.size}",
        "dataset": f"{data.train_images:,} train images; {data.source}",
        "layers": listed([f"{layer.name} ({layer.filters})" for layer in info.layers], 12),
        "ratio": _gone(spec),
        "epochs": str(spec.retrain),
        "pretrain_epochs": str(spec.pretrain),
    }


def _gone(spec: StudySpec) -> str:
    """Returns how many filters of each layer go, or how many weights of each or of all."""
    space = spec.space
    if isinstance(space, MaskSpace):
        kind, have = "weights", space.weights
    else:
        kind, have = spec.model_info.layer(spec.layers[0]).kind, space.filters
    if len(space.pruned) < len(have):
        have = (sum(have),)
    pruned = [f"{count:,} of {of:,}" for count, of in zip(space.pruned, have, strict=True)]
    return f"{listed(pruned, 6)} {kind} go"


def _outlook(order: Order, costs: Sequence[Estimate]) -> str:
    specs = order.studies
    rows = sum(rows_of_order(spec, order) for spec in specs)
    cost = Estimate(sum(one.seconds for one in costs), all(one.measured for one in costs))
    retrainings = f"{rows:,} retraining{'' if rows == 1 else 's'}, {cost}"
    if len(order.groups) > 1:
        candidates = sum(len(spec.space) for spec in specs)
        return f"{len(specs):,} studies, {candidates:,} candidates in all\n{retrainings}"
    spec = specs[0]
    times = f"{len(spec.space):,} · {spec.repeats} = " if spec.repeats > 1 else ""
    if order.shard is not None:
        times = f"shard {order.shard[0]} of {order.shard[1]}: "
    if len(specs) > 1:
        times = f"{len(specs)} wirings: "
    return f"{_counted(spec.space.formula())} candidates\n{times}{retrainings}"


def _counted(formula: str) -> str:
    """Returns a count in one line: without its factors where they are many."""
    if len(formula) <= MOST_COUNTED:
        return formula
    factors, _, total = formula.rpartition(" = ")
    sample, of, _ = factors.partition(" of ")
    return f"{sample}{of}{total}" if of else total
