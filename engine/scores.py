"""What can be measured of a candidate before retraining: names, titles and directions, no torch.

How each is computed is on the working floor, in `engine.work.criteria`; the formulas are in
docs/reference/scores.md.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engine.errors import UsageError

# The scores every study measures; the first is the oracle's.
BASE_SCORES = ("pruned_train_loss", "pruned_train_acc")

# Families of models without BatchNorm: what reads its scale has nothing to read there.
_WITHOUT_BATCHNORM = frozenset({"lenet", "mllm"})
# Families that answer questions: scores computed from images and their labels do not exist there.
_ANSWERING = frozenset({"mllm"})

# A name as the run file can hold it; a researcher's own file adds the digest of its content.
_WELL_FORMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})(@[0-9a-f]{12})?\Z")
_SHORT_RETRAINING = re.compile(r"(short_retrain(?:_train)?_acc)_([1-9][0-9]{0,3})\Z")


@dataclass(frozen=True, slots=True)
class ScoreInfo:
    """A score.

    Attributes:
        name: What a person types, and its column in the run file.
        title: How it is shown.
        low_is_good: Whether a low value should mean a good network after retraining.
        needs: What it is computed from, in words.
        needs_batchnorm: Whether it exists only for networks with BatchNorm.
        needs_labels: Whether it exists only for networks that classify images.
    """

    name: str
    title: str
    low_is_good: bool
    needs: str
    needs_batchnorm: bool = False
    needs_labels: bool = False


_IMAGES = "the whole train set"
_WEIGHTS = "the base network's weights"
_GRADIENT = "the base network's gradient on the whole train set"

SCORES: Mapping[str, ScoreInfo] = {
    info.name: info
    for info in (
        ScoreInfo("pruned_train_loss", "Pruned train loss", True, _IMAGES),
        ScoreInfo("pruned_train_acc", "Pruned train accuracy", False, _IMAGES),
        ScoreInfo(
            "recalibrated_train_loss",
            "Pruned train loss, BatchNorm recalibrated",
            True,
            f"{_IMAGES}; equal to the plain one without BatchNorm",
        ),
        ScoreInfo(
            "recalibrated_train_acc",
            "Pruned train accuracy, BatchNorm recalibrated",
            False,
            f"{_IMAGES}; equal to the plain one without BatchNorm",
        ),
        ScoreInfo("l1", "L1 norm", True, _WEIGHTS),
        ScoreInfo("l2", "L2 norm", True, _WEIGHTS),
        ScoreInfo("fpgm", "FPGM, distance to the other filters", True, _WEIGHTS),
        ScoreInfo("bn_scale", "BatchNorm scale", True, "the BatchNorm after each layer", True),
        ScoreInfo("lamp", "LAMP", True, _WEIGHTS),
        ScoreInfo("taylor", "Taylor, first order", True, _GRADIENT, needs_labels=True),
        ScoreInfo(
            "hessian",
            "Hessian diagonal (OBD)",
            True,
            "curvature on 1,024 train images",
            needs_labels=True,
        ),
        ScoreInfo(
            "fisher",
            "Empirical Fisher diagonal",
            True,
            "gradients of 1,024 train images",
            needs_labels=True,
        ),
        ScoreInfo("snip", "SNIP, connection sensitivity", True, _GRADIENT, needs_labels=True),
        ScoreInfo(
            "grasp",
            "GraSP, gradient flow",
            False,
            "curvature on 1,024 train images",
            needs_labels=True,
        ),
        ScoreInfo("random", "Random", True, "the seed"),
        ScoreInfo(
            "short_retrain_acc_1", "Test accuracy after 1 epoch", False, "a retraining of 1 epoch"
        ),
        ScoreInfo(
            "short_retrain_train_acc_1",
            "Train accuracy after 1 epoch",
            False,
            "a retraining of 1 epoch",
        ),
    )
}


def find_score(name: str) -> ScoreInfo | None:
    """Returns a score that ships with the engine, or None; any number of epochs is known."""
    if name in SCORES:
        return SCORES[name]
    epochs = retraining_epochs(name)
    if epochs is None:
        return None
    like = SCORES[f"{name.rpartition('_')[0]}_1"]
    return ScoreInfo(
        name,
        like.title.replace("1 epoch", f"{epochs} epochs"),
        like.low_is_good,
        like.needs.replace("1 epoch", f"{epochs} epochs"),
    )


def retraining_epochs(name: str) -> int | None:
    """Returns the epochs of a short retraining's score, `short_retrain_acc_3` has 3; else None."""
    match = _SHORT_RETRAINING.match(name)
    return int(match[2]) if match else None


def column_of(score: str) -> str:
    """Returns the name of a score's column: the digest of a researcher's own file left out."""
    return score.partition("@")[0]


def is_well_formed(score: str) -> bool:
    """Tells whether the text can name a score, ours or a researcher's own."""
    return bool(_WELL_FORMED.match(score))


# Scores that single weights have not, or have under another name.
_NOT_OF_WEIGHTS = {
    "l2": "the norm of one weight is its l1",
    "fpgm": "it compares filters with each other",
    "bn_scale": "a BatchNorm scales whole filters",
    "taylor": "of one weight it is its snip",
}


def why_not_of_weights(score: str) -> str:
    """Returns why a score is not measured of candidates of single weights; "" where it is."""
    return _NOT_OF_WEIGHTS.get(score, "")


def applies(info: ScoreInfo, family: str) -> bool:
    """Tells whether a score exists for models of a family."""
    return not (
        (info.needs_batchnorm and family in _WITHOUT_BATCHNORM)
        or (info.needs_labels and family in _ANSWERING)
    )


def lacks(info: ScoreInfo) -> str:
    """Returns what a score needs that a model lacks for which it does not exist."""
    return "labels of images" if info.needs_labels else "BatchNorm"


def read_scores(
    text: str, family: str, own: Iterable[str] = (), *, of_weights: bool = False
) -> tuple[str, ...]:
    """Returns the scores a person asked for, in one order whatever the order they were typed in.

    The base scores are always among them. `all` means every score that ships and exists for the
    model, and every own one.

    Args:
        text: Names between commas, or `all`.
        family: The model's family.
        own: Scores of installed packages, and of files as `name@digest`.
        of_weights: Whether candidates lose single weights; `all` leaves out what is not for them.

    Raises:
        UsageError: There is no such score, or not for this model.
    """
    others = {column_of(score): score for score in own}
    wanted: dict[str, None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name = part.replace("-", "_")
        if name.lower() == "all":
            wanted |= dict.fromkeys(
                n
                for n, info in SCORES.items()
                if applies(info, family) and not (of_weights and why_not_of_weights(n))
            )
            wanted |= dict.fromkeys(others)
            continue
        known = part if "@" in part and is_well_formed(part) else name
        info = find_score(known)
        if info is not None and not applies(info, family):
            raise UsageError(f"{known} needs {lacks(info)}, which this model does not have.")
        if info is None and known not in others and "@" not in known:
            near = difflib.get_close_matches(known, [*SCORES, *others], n=1)
            hint = f"did you mean {near[0]}?" if near else "see `oracle-tui scores`."
            raise UsageError(f"There is no score named {part!r}; {hint}")
        wanted[known] = None
    return in_order(others.get(name, name) for name in (*BASE_SCORES, *wanted))


def in_order(scores: Iterable[str]) -> tuple[str, ...]:
    """Returns scores without repetition: the base ones, ours as listed, then all others by name."""
    places = {name: place for place, name in enumerate(SCORES)}
    return tuple(
        sorted(dict.fromkeys(scores), key=lambda score: (places.get(score, len(places)), score))
    )
