"""Whether a kind of pack computes on this device what each candidate computes by itself.

Kernels and recordings that are right on one device may be wrong on the next one, and a study would
not notice: so a run that chooses a kind compares one step of each with that of networks alone.
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

# Rounding moves a step of plain float32 by a thousandth at most; what is wrong moves it by much
# more. AdamW divides gradients of rounding's size by themselves, and bfloat16 keeps three digits.
_EXACT, _COARSE = 0.05, 0.5
_EVALUATED_IMAGES = 512
# The first and the last candidate of a pack: what is mixed up between candidates shows in both.
_SEEN = (0, -1)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one step made of some candidates of a pack.

    Attributes:
        before: Their states before it, float64 by name.
        after: Their states after it.
        loss: Their test losses then.
    """

    before: dict[str, Tensor]
    after: dict[str, Tensor]
    loss: NDArray[np.float64]


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
    """Has a pack take one step, and evaluate."""
    before = _seen(pack)
    count = min(len(data.train_labels), recipe.batch_size)
    draws = batch_draws(0, 0, 0, count) if data.augmented else None
    order = np.arange(count, dtype=np.int64)
    pack.train(order, recipe.learning_rate, draws, seeded_mixes(0, recipe, count))
    return Trial(before, _seen(pack), pack.evaluate("test").loss[list(_SEEN)])


def disagreement(one: Trial, alone: Trial, recipe: Recipe, precision: str = "float32") -> str:
    """Returns how a kind's step differs from that of networks alone; empty where it does not.

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
            return f"one step's {what} are {apart:.2g} apart, where the step is {went:.2g} long"
    told = np.isfinite(alone.loss)
    far = np.abs(one.loss - alone.loss)[told]
    if not (far <= limit * (1 + np.abs(alone.loss[told]))).all():
        return f"losses are {far.max():.2g} apart, of {np.abs(alone.loss[told]).max():.2g}"
    return ""


def _seen(pack: Pack) -> dict[str, Tensor]:
    return {name: tensor[list(_SEEN)].double() for name, tensor in pack.state().items()}


def _length(parts: list[Tensor]) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in parts))
