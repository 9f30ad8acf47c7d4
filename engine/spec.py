"""The study as a value: what is pruned, scored and retrained, and how. Its hash names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from engine.catalog import DatasetInfo, ModelInfo, find_dataset, find_model
from engine.data_sources.names import is_outside
from engine.described import is_outside_catalog
from engine.errors import UsageError
from engine.masks import MaskSpace, mask_space
from engine.recipe import Recipe
from engine.scores import BASE_SCORES, column_of
from engine.space import CandidateSpace, candidate_space, pruned_count
from engine.study_rules import (
    ANSWERING,
    MAX_ROWS,
    SpecError,
    blaming,
    check_data,
    check_granularity,
    check_layers,
    check_ratio,
    check_room,
    check_running,
    check_scores,
    check_search,
    check_tuning,
    require_modest,
)
from engine.tuning import FULL, Tuning
from engine.weights import Weights, require_offered


@dataclass(frozen=True, slots=True)
class StudySpec:
    """One study, frozen and valid.

    Where it runs (device, executor, pack size) is not part of it: that must not change a number.

    Attributes:
        model: Name of a model of the catalog.
        dataset: Name of a data set of the catalog.
        layers: Names of the pruned layers.
        ratios: Pruning ratio of each pruned layer.
        candidates: How many are sampled, or None for all.
        repeats: Retrainings of each candidate, each with its own seed.
        pretrain: Recipe of the base network.
        retrain: Recipe of each candidate.
        wiring: "correct", or "released" for the wiring of the paper's released code.
        seed: Every random number of the study follows from it.
        precision: "float32", or "bf16" to train with autocast to bfloat16; scores and evaluations
            are float32 either way.
        scores: What is measured before retraining, the base scores first; `name@digest` where it
            is a file's.
        search: Ways of `SEARCHES` to look for the oracle beside the sample.
        weights: What the base network begins with, where it is not trained from scratch.
        granularity: What is pruned: "filters", or single "weights", which then stay zero.
        scope: Of single weights, whether the ratio is that of each "layer", or "global": of all
            pruned layers together.
        facts: The model's facts where it is none of the catalog's, so that the spec says all that
            a reader needs on any machine. Looked up where not given; None for the catalog's.
        data_facts: The data set's likewise, where it is none of the catalog's.
        tuning: What of a vision-language model is trained, and what it is scored on.
    """

    model: str
    dataset: str
    layers: tuple[str, ...]
    ratios: tuple[float, ...]
    candidates: int | None
    repeats: int
    pretrain: Recipe
    retrain: Recipe
    wiring: str = "correct"
    seed: int = 0
    precision: str = "float32"
    scores: tuple[str, ...] = BASE_SCORES
    search: tuple[str, ...] = ()
    facts: ModelInfo | None = None
    data_facts: DatasetInfo | None = None
    weights: Weights | None = None
    granularity: str = "filters"
    scope: str = "layer"
    tuning: Tuning = FULL

    def __post_init__(self) -> None:
        """Checks that the study exists; raises SpecError naming the field."""
        outside = is_outside_catalog(self.model)
        given = self.facts if outside else None
        info = given or blaming("model", find_model, self.model)
        if outside and info.name != self.model:
            raise SpecError("model", f"The facts of {info.name} are not those of {self.model}.")
        object.__setattr__(self, "facts", info if outside else None)
        own_data = is_outside(self.dataset)
        known = self.data_facts if own_data else None
        data = known or blaming("dataset", find_dataset, self.dataset)
        if own_data and data.name != self.dataset:
            raise SpecError("dataset", f"The facts of {data.name} are not those of {self.dataset}.")
        object.__setattr__(self, "data_facts", data if own_data else None)
        check_data(info, data)
        check_tuning(info, data, self.tuning)
        check_layers(info, self.layers, self.ratios)
        check_granularity(info, self.granularity, self.scope, self.wiring, self.layers, self.ratios)
        for layer, ratio in zip(self.layers, self.ratios, strict=True):
            check_ratio(info, layer, ratio, self.granularity)
        check_running(self.repeats, self.wiring, self.precision, self.seed)
        if self.weights is not None and self.weights.of_library:
            blaming("weights", require_offered, info.family, info.title)
        check_scores(info, self.scores, self.granularity, self.retrain.epochs)
        check_search(self.search, self.granularity)
        space = blaming("candidates", self._space)
        if isinstance(space, CandidateSpace):
            check_room(self.search, space)
        if self.rows > MAX_ROWS:
            raise SpecError(
                "repeats",
                f"{len(space):,} candidates with {self.repeats:,} repeats are more than the "
                f"{MAX_ROWS:,} rows one study can hold; sample fewer or repeat less.",
            )

    @property
    def model_info(self) -> ModelInfo:
        """The model's facts."""
        return self.facts or find_model(self.model)

    @property
    def dataset_info(self) -> DatasetInfo:
        """The data set's facts."""
        return self.data_facts or find_dataset(self.dataset)

    @property
    def pretrains(self) -> bool:
        """Whether the base network is trained, and not taken as it is given."""
        released = self.facts is not None and self.facts.family == ANSWERING
        return not released and (self.weights is None or self.weights.tuned)

    @property
    def space(self) -> CandidateSpace | MaskSpace:
        """The candidates of this study."""
        return self._space()

    @property
    def masked(self) -> bool:
        """Whether candidates lose single weights, and keep their shape."""
        return self.granularity == "weights"

    @property
    def kept(self) -> dict[str, int]:
        """How many filters each slimmed layer keeps; none is slimmed where weights are pruned."""
        space = self.space
        if isinstance(space, MaskSpace):
            return {}
        return {
            layer: self.model_info.layer(layer).filters - count
            for layer, count in zip(self.layers, space.pruned, strict=True)
        }

    @property
    def rows(self) -> int:
        """How many (candidate, repeat) rows the finished study has."""
        return (len(self.space) + len(self.search)) * self.repeats

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores' columns in the run file."""
        return tuple(map(column_of, self.scores))

    @property
    def layers_text(self) -> str:
        """The layers as one word: `conv1+conv2`; of many, the first and how many more."""
        few = self.layers if len(self.layers) <= 4 else self.layers[:1]
        more = f"+{len(self.layers) - 1}-more" if len(self.layers) > 4 else ""
        return "+".join(few) + more

    @property
    def ratio_text(self) -> str:
        """The ratio as one word: `0.5`, `0.5+0.3` where layers differ; of many, the range."""
        if len(self.ratios) > 4 and len(set(self.ratios)) > 1:
            return f"{min(self.ratios):g}-to-{max(self.ratios):g}"
        distinct = dict.fromkeys(self.ratios)
        return "+".join(f"{r:g}" for r in (self.ratios if len(distinct) > 1 else distinct))

    @property
    def hash(self) -> str:
        """Twelve hex digits that name the study.

        Fields at their defaults are left out of the hash, so that a field added later moves no
        older study's name.
        """
        data = self.to_json()
        defaults = {
            "wiring": "correct",
            "seed": 0,
            "precision": "float32",
            "scores": list(BASE_SCORES),
            "search": [],
        }
        for field, default in defaults.items():
            if data[field] == default:
                del data[field]
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def with_(self, **changes: Any) -> Self:
        """Returns a copy with some fields changed; raises SpecError where that is no study."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Returns the spec as a JSON object."""
        return {
            "model": self.model,
            "dataset": self.dataset,
            "layers": list(self.layers),
            "ratios": list(self.ratios),
            "candidates": self.candidates,
            "repeats": self.repeats,
            "pretrain": self.pretrain.to_json(),
            "retrain": self.retrain.to_json(),
            "wiring": self.wiring,
            "seed": self.seed,
            "precision": self.precision,
            "scores": list(self.scores),
            "search": list(self.search),
            **({"facts": self.facts.to_json()} if self.facts else {}),
            **({"data_facts": self.data_facts.to_json()} if self.data_facts else {}),
            **({"weights": self.weights.to_json()} if self.weights else {}),
            **({"granularity": self.granularity} if self.masked else {}),
            **({"scope": self.scope} if self.scope != "layer" else {}),
            **({"tuning": self.tuning.to_json()} if self.tuning != FULL else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote, trusting nothing.

        Raises:
            UsageError: A field is missing, unknown, of the wrong kind, or not a study.
        """
        require_modest(data)
        try:
            fields = dict(data)
            candidates = fields.pop("candidates")
            facts = fields.pop("facts", None)
            data_facts = fields.pop("data_facts", None)
            weights = fields.pop("weights", None)
            spec = cls(
                model=str(fields.pop("model")),
                dataset=str(fields.pop("dataset")),
                layers=tuple(str(layer) for layer in fields.pop("layers")),
                ratios=tuple(float(ratio) for ratio in fields.pop("ratios")),
                candidates=None if candidates is None else int(candidates),
                repeats=int(fields.pop("repeats")),
                pretrain=Recipe.from_json(fields.pop("pretrain")),
                retrain=Recipe.from_json(fields.pop("retrain")),
                wiring=str(fields.pop("wiring", "correct")),
                seed=int(fields.pop("seed", 0)),
                precision=str(fields.pop("precision", "float32")),
                scores=tuple(str(score) for score in fields.pop("scores", BASE_SCORES)),
                search=tuple(str(way) for way in fields.pop("search", ())),
                facts=None if facts is None else ModelInfo.from_json(facts),
                data_facts=None if data_facts is None else DatasetInfo.from_json(data_facts),
                weights=None if weights is None else Weights.from_json(weights),
                granularity=str(fields.pop("granularity", "filters")),
                scope=str(fields.pop("scope", "layer")),
                tuning=Tuning.from_json(fields.pop("tuning", {})),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(f"This is not a study's spec: {error!r}.") from error
        if fields:
            raise UsageError(f"A study's spec has no field named {sorted(fields)[0]!r}.")
        return spec

    def _space(self) -> CandidateSpace | MaskSpace:
        info = self.model_info
        if self.masked:
            weights = tuple(info.layer(layer).weights for layer in self.layers)
            gone = tuple(map(pruned_count, weights, self.ratios))
            if self.scope == "global":
                gone = (pruned_count(sum(weights), self.ratios[0]),)
            return mask_space(weights, gone, self.candidates, self.seed)
        filters = tuple(info.layer(layer).filters for layer in self.layers)
        pruned = tuple(map(pruned_count, filters, self.ratios))
        return candidate_space(filters, pruned, self.candidates, self.seed)
