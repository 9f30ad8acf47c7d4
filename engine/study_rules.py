"""What makes a study possible: the words its fields take, and the rules that bind them together.

Each rule takes the few values that it is about, and raises `SpecError` naming the field at fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from engine.data_sources.info import DatasetInfo
from engine.errors import UsageError
from engine.model_info import ModelInfo, either, listed
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
from engine.space import CandidateSpace, pruned_count
from engine.tuning import FULL, Tuning

WIRINGS = ("correct", "released")
GRANULARITIES = ("filters", "weights")
SCOPES = ("layer", "global")
PRECISIONS = ("float32", "bf16")
# Ways to look for a lower loss than the sample's; each adds one candidate to it. "l1" adds what
# L1-norm pruning chooses, the paper's baseline: most samples of filters lack it, all of masks do.
SEARCHES = ("greedy", "swap", "l1")
# The family of models that answer questions about images.
ANSWERING = "mllm"
MAX_REPEATS = 1_000
MAX_ROWS = 4_000_000
MAX_SCORES = 32
_MOST_ENTRIES, _DEEPEST, _LONGEST_TEXT = 4096, 8, 256

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class SpecError(UsageError):
    """A spec that cannot be studied; `field` says which entry is wrong."""

    def __init__(self, field: str, sentence: str) -> None:
        """Takes the name of the wrong field and one sentence about it."""
        super().__init__(sentence)
        self.field = field


def blaming(
    field: str, look: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Returns what `look` returns; its complaint becomes one about `field`."""
    try:
        return look(*args, **kwargs)
    except UsageError as error:
        raise SpecError(field, str(error)) from error


def check_data(info: ModelInfo, data: DatasetInfo) -> None:
    """The model takes what the data set gives: its channels, and questions or none."""
    if info.channels not in (data.channels, 3):
        raise SpecError(
            "dataset",
            f"{info.title} takes images of {info.channels} channel(s); "
            f"{data.title} has {data.channels}.",
        )
    if data.asks and info.family != ANSWERING:
        raise SpecError(
            "dataset",
            f"{info.title} does not answer questions as {data.title} asks; choose another set.",
        )
    if info.family == ANSWERING and not data.asks:
        raise SpecError(
            "dataset",
            f"{info.title} answers questions about images and {data.title} asks none; choose "
            "fashion-qa, or a file of your own.",
        )


def check_tuning(info: ModelInfo, data: DatasetInfo, tuning: Tuning) -> None:
    """Only models that answer are tuned, and scored on no more dialogues than there are."""
    if info.family != ANSWERING and tuning != FULL:
        raise SpecError("tuning", f"{info.title} has no tuning; it is for models that answer.")
    if tuning.scored > data.train_images:
        raise SpecError("tuning", f"There are only {data.train_images:,} dialogues to score on.")


def check_layers(info: ModelInfo, layers: Sequence[str], ratios: Sequence[float]) -> None:
    """The layers are the model's, each named once, each with a ratio."""
    if not layers:
        raise SpecError("layers", f"Name at least one layer of {info.name} to prune.")
    if len(set(layers)) != len(layers):
        raise SpecError("layers", f"A layer is named twice in {listed(list(layers))}.")
    for layer in layers:
        blaming("layers", info.layer, layer)
    if len(ratios) != len(layers):
        raise SpecError("ratio", "Give one ratio, or one for each layer.")


def check_granularity(
    info: ModelInfo,
    granularity: str,
    scope: str,
    wiring: str,
    layers: Sequence[str],
    ratios: Sequence[float],
) -> None:
    """Filters or single weights; the latter of counted layers, wired as they are."""
    _one_of("granularity", granularity, GRANULARITIES)
    _one_of("scope", scope, SCOPES)
    if granularity == "filters":
        if scope != "layer":
            raise SpecError(
                "scope", "Filters are pruned of each layer; --scope global is for weights."
            )
        return
    if info.family == ANSWERING:
        raise SpecError("granularity", f"Single weights of {info.title} cannot be pruned yet.")
    if wiring != "correct":
        raise SpecError(
            "wiring",
            "Released wiring is about what reads pruned filters; a network without some of its "
            "weights keeps its channels, so its wiring is correct.",
        )
    if scope == "global" and len(set(ratios)) > 1:
        raise SpecError("ratio", "Over all layers together there is one ratio, not several.")
    for layer in layers:
        if info.layer(layer).weights == 0:
            raise SpecError(
                "layers",
                f"Nobody has counted the weights of {layer} of {info.name}; make the study "
                "again with this version.",
            )


def check_ratio(info: ModelInfo, layer: str, ratio: float, granularity: str) -> None:
    """Something of the layer is left."""
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


def check_running(repeats: int, wiring: str, precision: str, seed: int) -> None:
    """What is left of the fields that stand alone."""
    if not 1 <= repeats <= MAX_REPEATS:
        raise SpecError("repeats", f"repeats must be from 1 to {MAX_REPEATS:,}, not {repeats}.")
    _one_of("wiring", wiring, WIRINGS)
    _one_of("precision", precision, PRECISIONS)
    if not 0 <= seed < 2**63:
        raise SpecError("seed", f"The seed must be from 0 to 2^63 - 1, not {seed}.")


def check_scores(info: ModelInfo, scores: Sequence[str], granularity: str, epochs: int) -> None:
    """The base scores first, and others that this model, granularity and retraining can have."""
    if tuple(scores[: len(BASE_SCORES)]) != BASE_SCORES:
        raise SpecError("scores", f"Every study measures {' and '.join(BASE_SCORES)} first.")
    if len(scores) > MAX_SCORES:
        raise SpecError("scores", f"A study measures at most {MAX_SCORES} scores.")
    for score in scores:
        # Whether another's own score is installed is for the engine that measures it.
        if not is_well_formed(score):
            raise SpecError("scores", f"{score[:80]!r} cannot be the name of a score.")
        known = find_score(score)
        if known is not None and not applies(known, info.family):
            raise SpecError("scores", f"{score} needs {lacks(known)}, which {info.title} lacks.")
        if granularity == "weights" and (why := why_not_of_weights(score)):
            raise SpecError("scores", f"{score} is not for single weights: {why}.")
        least = retraining_epochs(score)
        if least is not None and least > epochs:
            raise SpecError("scores", f"{score} is longer than the retraining of {epochs}.")
    if len(set(map(column_of, scores))) < len(scores):
        raise SpecError("scores", f"A score is named twice in {', '.join(scores)}.")


def check_search(search: Sequence[str], granularity: str) -> None:
    """Ways that exist, each once, and for what is pruned here."""
    for way in search:
        _one_of("search", way, SEARCHES)
        if way != "l1" and granularity == "weights":
            raise SpecError(
                "search",
                f"The searches greedy and swap are for filters, so {way} is not for weights; "
                "choose l1.",
            )
    if len(set(search)) < len(search):
        raise SpecError("search", f"A search is named twice in {', '.join(search)}.")


def check_room(search: Sequence[str], space: CandidateSpace) -> None:
    """There are candidates outside the sample for the searches to find."""
    left = space.total - len(space)
    if search and left == 0:
        raise SpecError(
            "search", "All candidates are studied, the oracle among them; nothing to search."
        )
    if len(search) > left:
        raise SpecError(
            "search", f"Only {left} candidates are outside the sample; sample fewer to search."
        )


def require_modest(value: object, depth: int = 0) -> None:
    """Refuses what no study has, before any of it is computed with or repeated in a sentence."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        if len(value) > _MOST_ENTRIES or depth > _DEEPEST:
            raise UsageError("This is not a study's spec: it holds more than a study can.")
        for each in value:
            require_modest(each, depth + 1)
    elif (isinstance(value, str) and len(value) > _LONGEST_TEXT) or (
        isinstance(value, int) and abs(value) >= 1 << 64
    ):
        raise UsageError("This is not a study's spec: a text or number in it is too long.")


def _one_of(field: str, value: str, words: Sequence[str]) -> None:
    if value not in words:
        raise SpecError(field, f"{field} is {either(words)}, not {value!r}.")
