"""The study as a value: what is pruned, scored and retrained, and how. Its hash names it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from engine.catalog import DatasetInfo, ModelInfo, find_dataset, find_model
from engine.data_sources.names import is_outside
from engine.described import is_outside_catalog
from engine.errors import UsageError
from engine.masks import MaskSpace, mask_space
from engine.model_info import listed
from engine.recipe import Recipe
from engine.scores import (
    BASE_SCORES,
    applies,
    column_of,
    find_score,
    is_well_formed,
    lacks,
    retraining_epochs,
    why_not_of_weights,
)
from engine.space import CandidateSpace, candidate_space, pruned_count
from engine.tuning import FULL, Tuning
from engine.weights import Weights, require_offered

WIRINGS = ("correct", "released")
GRANULARITIES = ("filters", "weights")
SCOPES = ("layer", "global")
PRECISIONS = ("float32", "bf16")
MAX_REPEATS = 1_000
MAX_ROWS = 4_000_000
MAX_JSON_BYTES = 1 << 20
MAX_SCORES = 32
# Ways to look for a lower loss than the sample's; each adds one candidate to it. "l1" adds the
# weights of smallest magnitude, which no sample of masks has.
SEARCHES = ("greedy", "swap", "l1")
# The family of models that answer questions about images.
ANSWERING = "mllm"
_MOST_ENTRIES, _DEEPEST, _LONGEST_TEXT = 4096, 8, 256


class SpecError(UsageError):
    """A spec that cannot be studied; `field` says which entry is wrong."""

    def __init__(self, field: str, sentence: str) -> None:
        """Takes the name of the wrong field and one sentence about it."""
        super().__init__(sentence)
        self.field = field


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
        info = (outside and self.facts) or _checked("model", find_model, self.model)
        if outside and info.name != self.model:
            raise SpecError("model", f"The facts of {info.name} are not those of {self.model}.")
        object.__setattr__(self, "facts", info if outside else None)
        own_data = is_outside(self.dataset)
        data = (own_data and self.data_facts) or _checked("dataset", find_dataset, self.dataset)
        if own_data and data.name != self.dataset:
            raise SpecError("dataset", f"The facts of {data.name} are not those of {self.dataset}.")
        object.__setattr__(self, "data_facts", data if own_data else None)
        if info.channels not in (data.channels, 3):
            raise SpecError(
                "dataset",
                f"{info.title} takes images of {info.channels} channel(s); "
                f"{data.title} has {data.channels}.",
            )
        if data.asks != (info.family == ANSWERING):
            raise SpecError("dataset", _other_data(info, data))
        if info.family != ANSWERING and self.tuning != FULL:
            raise SpecError("tuning", f"{info.title} has no tuning; it is for models that answer.")
        if info.family == ANSWERING and self.masked:
            raise SpecError("granularity", f"Single weights of {info.title} cannot be pruned yet.")
        if self.tuning.scored > data.train_images:
            raise SpecError(
                "tuning", f"There are only {data.train_images:,} dialogues to score on."
            )
        if not self.layers:
            raise SpecError("layers", f"Name at least one layer of {info.name} to prune.")
        if len(set(self.layers)) != len(self.layers):
            raise SpecError("layers", f"A layer is named twice in {listed(list(self.layers))}.")
        for layer in self.layers:
            _checked("layers", info.layer, layer)
        if len(self.ratios) != len(self.layers):
            raise SpecError("ratio", "Give one ratio, or one for each layer.")
        self._check_granularity(info)
        for layer, ratio in zip(self.layers, self.ratios, strict=True):
            _check_ratio(info, layer, ratio, self.granularity)
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise SpecError(
                "repeats", f"repeats must be from 1 to {MAX_REPEATS:,}, not {self.repeats}."
            )
        if self.wiring not in WIRINGS:
            raise SpecError("wiring", f"wiring is {' or '.join(WIRINGS)}, not {self.wiring!r}.")
        if self.precision not in PRECISIONS:
            raise SpecError(
                "precision", f"precision is {' or '.join(PRECISIONS)}, not {self.precision!r}."
            )
        if not 0 <= self.seed < 2**63:
            raise SpecError("seed", f"The seed must be from 0 to 2^63 - 1, not {self.seed}.")
        if self.weights is not None and self.weights.of_library:
            _checked("weights", lambda _: require_offered(info.family, info.title), None)
        self._check_scores(info)
        space = _checked("candidates", self._space, None)
        self._check_search()
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
        return self._space(None)

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
        _require_modest(data)
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

    def _check_granularity(self, info: ModelInfo) -> None:
        if self.granularity not in GRANULARITIES:
            raise SpecError(
                "granularity",
                f"granularity is {' or '.join(GRANULARITIES)}, not {self.granularity!r}.",
            )
        if self.scope not in SCOPES:
            raise SpecError("scope", f"scope is {' or '.join(SCOPES)}, not {self.scope!r}.")
        if not self.masked:
            if self.scope != "layer":
                raise SpecError(
                    "scope", "Filters are pruned of each layer; --scope global is for weights."
                )
            return
        if self.wiring != "correct":
            raise SpecError(
                "wiring",
                "Released wiring is about what reads pruned filters; a network without some of its "
                "weights keeps its channels, so its wiring is correct.",
            )
        if self.scope == "global" and len(set(self.ratios)) > 1:
            raise SpecError("ratio", "Over all layers together there is one ratio, not several.")
        for layer in self.layers:
            if info.layer(layer).weights == 0:
                raise SpecError(
                    "layers",
                    f"Nobody has counted the weights of {layer} of {info.name}; make the study "
                    "again with this version.",
                )

    def _check_scores(self, info: ModelInfo) -> None:
        if self.scores[: len(BASE_SCORES)] != BASE_SCORES:
            raise SpecError("scores", f"Every study measures {' and '.join(BASE_SCORES)} first.")
        if len(self.scores) > MAX_SCORES:
            raise SpecError("scores", f"A study measures at most {MAX_SCORES} scores.")
        for score in self.scores:
            # Whether another's own score is installed is for the engine that measures it.
            if not is_well_formed(score):
                raise SpecError("scores", f"{score[:80]!r} cannot be the name of a score.")
            known = find_score(score)
            if known is not None and not applies(known, info.family):
                raise SpecError(
                    "scores", f"{score} needs {lacks(known)}, which {info.title} lacks."
                )
            if self.masked and (why := why_not_of_weights(score)):
                raise SpecError("scores", f"{score} is not for single weights: {why}.")
            epochs = retraining_epochs(score)
            if epochs is not None and epochs > self.retrain.epochs:
                raise SpecError(
                    "scores", f"{score} is longer than the retraining of {self.retrain.epochs}."
                )
        if len(set(self.score_names)) < len(self.scores):
            raise SpecError("scores", f"A score is named twice in {', '.join(self.scores)}.")

    def _check_search(self) -> None:
        for way in self.search:
            if way not in SEARCHES:
                raise SpecError("search", f"search is {' or '.join(SEARCHES)}, not {way!r}.")
            if (way == "l1") != self.masked:
                raise SpecError(
                    "search",
                    "The searches greedy and swap are for filters, and l1 for single weights, "
                    f"so {way} is not for {self.granularity}.",
                )
        if len(set(self.search)) < len(self.search):
            raise SpecError("search", f"A search is named twice in {', '.join(self.search)}.")
        space = self.space
        if isinstance(space, MaskSpace):
            return
        if self.search and self.candidates is None:
            raise SpecError(
                "search", "All candidates are studied, the oracle among them; nothing to search."
            )
        left = space.total - len(space)
        if len(self.search) > left:
            raise SpecError(
                "search", f"Only {left} candidates are outside the sample; sample fewer to search."
            )

    def _space(self, _: None) -> CandidateSpace | MaskSpace:
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


def _other_data(info: ModelInfo, data: DatasetInfo) -> str:
    if data.asks:
        return f"{info.title} does not answer questions as {data.title} asks; choose another set."
    return (
        f"{info.title} answers questions about images and {data.title} asks none; choose "
        "fashion-qa, or a file of your own."
    )


def _require_modest(value: object, depth: int = 0) -> None:
    """Refuses what no study has, before any of it is computed with or repeated in a sentence."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        if len(value) > _MOST_ENTRIES or depth > _DEEPEST:
            raise UsageError("This is not a study's spec: it holds more than a study can.")
        for each in value:
            _require_modest(each, depth + 1)
    elif (isinstance(value, str) and len(value) > _LONGEST_TEXT) or (
        isinstance(value, int) and abs(value) >= 1 << 64
    ):
        raise UsageError("This is not a study's spec: a text or number in it is too long.")


def _check_ratio(info: ModelInfo, layer: str, ratio: float, granularity: str) -> None:
    if not (math.isfinite(ratio) and 0 < ratio < 1):
        raise SpecError(
            "ratio", f"The ratio must be between 0 and 1, for example 0.5, not {ratio}."
        )
    count = getattr(info.layer(layer), granularity)
    if pruned_count(count, ratio) >= count:
        raise SpecError(
            "ratio",
            f"Ratio {ratio:g} would remove all {count} {granularity} of {layer}; use a lower one.",
        )


def _checked(field: str, check: Any, value: Any) -> Any:
    try:
        return check(value)
    except UsageError as error:
        raise SpecError(field, str(error)) from error
