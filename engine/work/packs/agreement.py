"""Whether a kind of pack computes on this device what each candidate computes by itself.

Kernels and recordings that are right on one device may be wrong on the next one, and a study would
not notice: so a run that chooses a kind compares two steps of each with those of networks alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.recipe import Recipe
from engine.work.augment import batch_draws
from engine.work.datasets import ImageData
from engine.work.mixing import seeded_mixes
from engine.work.packs.base import MOMENTUM, Pack

# Of the way two steps went, graphed and solo packs ended 4e-7 to .005 apart in float32 (ResNets,
# a VGG and a ViT on a CPU), and .03 in bfloat16; what is wrong moves them by much more. AdamW
# divides gradients of rounding's size by themselves.
_EXACT, _COARSE = 0.05, 0.5
# How far a change of the loss may be off, for one that is small: by this share of the loss.
_FLOOR = {_EXACT: 1e-4, _COARSE: 1e-2}
# The second step and the second evaluation replay what the first ones recorded.
_STEPS = 2
_EVALUATED_IMAGES = 512
# The first and the last candidate of a pack: what is mixed up between candidates shows in both.
_SEEN = (0, -1)


@dataclass(frozen=True, slots=True)
class Trial:
    """What two steps made of some candidates of a pack.

    Attributes:
        before: Their states before, float64 by name.
        after: Their states after.
        losses: Their test losses before and after.
    """

    before: dict[str, Tensor]
    after: dict[str, Tensor]
    losses: tuple[NDArray[np.float64], NDArray[np.float64]]


def for_trials(data: ImageData) -> ImageData:
    """Returns data of which little is evaluated."""
    images, labels = data.split("test")
    return replace(
        data, test_images=images[:_EVALUATED_IMAGES], test_labels=labels[:_EVALUATED_IMAGES]
    )


def told_apart(states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns states of equal candidates, (K, ...), each a hundredth larger than the one before."""
    found = {}
    for name, tensor in states.items():
        scale = 1 + torch.arange(len(tensor)).div(100).view(-1, *[1] * (tensor.ndim - 1))
        found[name] = tensor * scale if tensor.is_floating_point() else tensor
    return found


def trial_of(pack: Pack, data: ImageData, recipe: Recipe) -> Trial:
    """Has a pack evaluate, take two steps, and evaluate again."""
    before, loss = _seen(pack), pack.evaluate("test").loss[list(_SEEN)]
    count = min(len(data.train_labels), _STEPS * recipe.batch_size)
    draws = batch_draws(0, 0, 0, count) if data.augmented else None
    order = np.arange(count, dtype=np.int64)
    pack.train(order, recipe.learning_rate, draws, seeded_mixes(0, recipe, count))
    return Trial(before, _seen(pack), (loss, pack.evaluate("test").loss[list(_SEEN)]))


def disagreement(one: Trial, alone: Trial, recipe: Recipe, precision: str = "float32") -> str:
    """Returns how a kind's steps differ from those of networks alone; empty where it does not.

    Steps are compared by their length: how far apart they end, by how far they went. What is not
    finite alone tells nothing.
    """
    limit = _EXACT if precision == "float32" and recipe.optimiser == "sgd" else _COARSE
    for what, trained in (("weights", True), ("statistics", False)):
        names = [n for n in alone.after if (MOMENTUM + n in alone.after) == trained]
        names = [n for n in names if not n.startswith((MOMENTUM, "@"))]
        apart = _length([one.after[n] - alone.after[n] for n in names])
        went = _length([alone.after[n] - alone.before[n] for n in names])
        if math.isfinite(went) and not apart <= limit * went:
            return f"after two steps {what} are {apart:.2g} apart, and went {went:.2g}"
    told = np.isfinite(alone.losses[0] + alone.losses[1])
    (start, end), (own_start, own_end) = alone.losses, one.losses
    change, own_change = (end - start)[told], (own_end - own_start)[told]
    size = 1 + np.abs(start[told])
    near = np.abs(own_start - start)[told] <= limit * size
    alike = np.abs(own_change - change) <= _COARSE * np.abs(change) + _FLOOR[limit] * size
    if not (near & alike).all():
        found, expected = own_start[told][0], start[told][0]
        return (
            f"losses go from {found:.4g} by {own_change[0]:.4g}, where they go from "
            f"{expected:.4g} by {change[0]:.4g}"
        )
    return ""


def _seen(pack: Pack) -> dict[str, Tensor]:
    return {name: tensor[list(_SEEN)].double() for name, tensor in pack.state().items()}


def _length(parts: list[Tensor]) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in parts))
