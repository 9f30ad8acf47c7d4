"""What is known of a run's study: all of it from a spec, or what the importer said of it.

Whoever shows, tabulates or compares runs asks here, so that a run without a spec is no special
case anywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from engine.errors import UsageError
from engine.spec import StudySpec
from engine.study_rules import WIRINGS

_MAX_TEXT = 200
_MAX_COUNT = 1 << 22


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an imported run comes from, and what is known of its study; None where nothing is.

    Attributes:
        source: What it was read from, in words: the kind of file and the files' names.
        candidates: How many candidates there are, or should be.
        repeats: How many repeats a finished candidate has.
        model: Name of the model.
        dataset: Name of the data set.
        layers: Names of the pruned layers; empty where they are not known.
        ratios: Their pruning ratios, or one for all; empty where they are not known.
        epochs: Epochs of a retraining.
        wiring: "correct" or "released".
    """

    source: str
    candidates: int
    repeats: int
    model: str | None = None
    dataset: str | None = None
    layers: tuple[str, ...] = ()
    ratios: tuple[float, ...] = ()
    epochs: int | None = None
    wiring: str | None = None

    def __post_init__(self) -> None:
        """Checks every value; raises UsageError with one sentence."""
        for text in (self.source, self.model, self.dataset, *self.layers):
            if text is not None and not 0 < len(text) <= _MAX_TEXT:
                raise UsageError(f"Names must have 1 to {_MAX_TEXT} characters, not {len(text)}.")
        for name, count, least in (
            ("candidates", self.candidates, 1),
            ("repeats", self.repeats, 1),
            ("epochs", 1 if self.epochs is None else self.epochs, 1),
        ):
            if not least <= count <= _MAX_COUNT:
                raise UsageError(f"{name} must be from {least} to {_MAX_COUNT:,}, not {count}.")
        if not all(math.isfinite(ratio) and 0 < ratio < 1 for ratio in self.ratios):
            raise UsageError(f"A ratio must be between 0 and 1, not {self.ratio_text}.")
        if len(self.ratios) > 1 and len(self.ratios) != len(self.layers):
            raise UsageError("Give one ratio, or one for each layer.")
        if self.wiring is not None and self.wiring not in WIRINGS:
            raise UsageError(f"wiring is {' or '.join(WIRINGS)}, not {self.wiring!r}.")

    @property
    def ratio_text(self) -> str:
        """The ratio as one word, as a spec's."""
        return "+".join(f"{ratio:g}" for ratio in dict.fromkeys(self.ratios))

    def to_json(self) -> dict[str, Any]:
        """Returns the origin as a JSON object."""
        return {
            "source": self.source,
            "candidates": self.candidates,
            "repeats": self.repeats,
            "model": self.model,
            "dataset": self.dataset,
            "layers": list(self.layers),
            "ratios": list(self.ratios),
            "epochs": self.epochs,
            "wiring": self.wiring,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote, trusting nothing.

        Raises:
            UsageError: A field is missing, unknown, of the wrong kind or out of range.
        """
        try:
            fields = dict(data)
            origin = cls(
                source=str(fields.pop("source")),
                candidates=int(fields.pop("candidates")),
                repeats=int(fields.pop("repeats")),
                model=_optional(str, fields.pop("model", None)),
                dataset=_optional(str, fields.pop("dataset", None)),
                layers=tuple(str(layer) for layer in fields.pop("layers", ())),
                ratios=tuple(float(ratio) for ratio in fields.pop("ratios", ())),
                epochs=_optional(int, fields.pop("epochs", None)),
                wiring=_optional(str, fields.pop("wiring", None)),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(f"This is not an imported run's origin: {error!r}.") from error
        if fields:
            raise UsageError(f"An imported run's origin has no field named {sorted(fields)[0]!r}.")
        return origin


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What is studied in a run, as far as it is known.

    Attributes:
        title: The study in a few words.
        model: Name of the model, or None.
        dataset: Name of the data set, or None.
        layers: Names of the pruned layers; empty where they are not known.
        ratios: Their ratios, or one for all; empty where they are not known.
        repeats: How many repeats a finished candidate has.
        rows: How many (candidate, repeat) rows the finished run has.
        wiring: How candidates were built, or None.
        spec: The spec, or None for an imported run.
        columns: The facts as columns of the summary, None where not known.
    """

    title: str
    model: str | None
    dataset: str | None
    layers: tuple[str, ...]
    ratios: tuple[float, ...]
    repeats: int
    rows: int
    wiring: str | None
    spec: StudySpec | None
    columns: Mapping[str, Any]


def facts_of(config: Mapping[str, Any]) -> StudyFacts:
    """Returns what a run's config says of its study.

    Raises:
        UsageError: It holds neither a valid spec nor a valid origin.
    """
    if config.get("spec") is None and config.get("origin") is not None:
        return _from_origin(Origin.from_json(config["origin"]))
    return _from_spec(StudySpec.from_json(config.get("spec") or {}))


def _from_spec(spec: StudySpec) -> StudyFacts:
    layers = spec.layers_text
    data = spec.dataset_info.title if spec.data_facts else spec.dataset
    return StudyFacts(
        title=" · ".join((spec.model_info.title, data, layers, spec.ratio_text))
        + (" of the weights" if spec.masked else ""),
        model=spec.model,
        dataset=spec.dataset,
        layers=spec.layers,
        ratios=spec.ratios,
        repeats=spec.repeats,
        rows=spec.rows,
        wiring=spec.wiring,
        spec=spec,
        columns={
            "model": spec.model,
            "dataset": spec.dataset,
            "layers": layers,
            "ratio": spec.ratio_text,
            "candidates": len(spec.space),
            "candidates_in_all": spec.space.in_all(),
            "repeats": spec.repeats,
            "epochs": spec.retrain.epochs,
            "pretrain_epochs": spec.pretrain.epochs,
            "wiring": spec.wiring,
            **({"granularity": spec.granularity, "scope": spec.scope} if spec.masked else {}),
            "seed": spec.seed,
            "spec_hash": spec.hash,
            "origin": None,
        },
    )


def _from_origin(origin: Origin) -> StudyFacts:
    layers, ratio = "+".join(origin.layers) or None, origin.ratio_text or None
    known = [part for part in (origin.model, origin.dataset, layers, ratio) if part]
    return StudyFacts(
        title=" · ".join(known) if known else origin.source,
        model=origin.model,
        dataset=origin.dataset,
        layers=origin.layers,
        ratios=origin.ratios,
        repeats=origin.repeats,
        rows=origin.candidates * origin.repeats,
        wiring=origin.wiring,
        spec=None,
        columns={
            "model": origin.model,
            "dataset": origin.dataset,
            "layers": layers,
            "ratio": ratio,
            "candidates": origin.candidates,
            "candidates_in_all": None,
            "repeats": origin.repeats,
            "epochs": origin.epochs,
            "pretrain_epochs": None,
            "wiring": origin.wiring,
            "seed": None,
            "spec_hash": None,
            "origin": origin.source,
        },
    )


def _optional(kind: Any, value: Any) -> Any:
    return None if value is None else kind(value)


def in_words(value: Any) -> str:
    """Returns a value of JSON as people write it: `host vm, pid 17, device cpu`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(each)}" for key, each in value.items())
    return "; ".join(map(in_words, value)) if isinstance(value, list) else str(value)
