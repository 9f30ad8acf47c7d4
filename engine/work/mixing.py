"""Mixup and cutmix: what is drawn for each batch, and batches mixed by it.

What is drawn follows from the study's seed, the repeat and the epoch, so that every device, pack
and candidate sees the same images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.recipe import Recipe
from engine.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Mixes:
    """How each batch of an order is mixed with itself moved on by one image.

    Attributes:
        batch_size: Images in a batch.
        cut: (n,) bool, cutmix for this batch and not mixup.
        share: (n,) float64, what an image keeps of itself.
        down: (n,) float64 in [0, 1), where the middle of cutmix's box is in the height.
        right: (n,) float64 in [0, 1), where it is in the width.
    """

    batch_size: int
    cut: NDArray[np.bool_]
    share: NDArray[np.float64]
    down: NDArray[np.float64]
    right: NDArray[np.float64]

    def part(self, start: int, stop: int) -> Self:
        """Returns the mixes of a piece of the order that begins between two batches."""
        piece = slice(start // self.batch_size, -(-stop // self.batch_size))
        return type(self)(
            self.batch_size, self.cut[piece], self.share[piece], self.down[piece], self.right[piece]
        )


def batch_mixes(seed: int, repeat: int, epoch: int, recipe: Recipe, images: int) -> Mixes | None:
    """Returns the mixes for one epoch of one repeat; None where the recipe mixes nothing."""
    return seeded_mixes(derive_seed(seed, "mixing", repeat, epoch), recipe, images)


def pretrain_mixes(seed: int, epoch: int, recipe: Recipe, images: int) -> Mixes | None:
    """Returns the mixes for one epoch of pretraining; None where the recipe mixes nothing."""
    return seeded_mixes(derive_seed(seed, "pretrain", "mixing", epoch), recipe, images)


def seeded_mixes(seed: int, recipe: Recipe, images: int) -> Mixes | None:
    """Returns the mixes for so many images from one seed; None where the recipe mixes nothing."""
    if not recipe.mixes:
        return None
    count = -(-images // recipe.batch_size)
    # Of numpy's generators, this one's numbers are promised never to change.
    draw = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    both = recipe.mixup > 0 and recipe.cutmix > 0
    cut = draw.random_sample(count) < 0.5 if both else np.full(count, recipe.cutmix > 0)
    shares = [
        draw.beta(alpha, alpha, count) if alpha > 0 else np.ones(count)
        for alpha in (recipe.mixup, recipe.cutmix)
    ]
    down, right = draw.random_sample((2, count))
    return Mixes(recipe.batch_size, cut, np.where(cut, shares[1], shares[0]), down, right)


def mixed_batches(
    batches: Iterable[tuple[Tensor, Tensor]], recipe: Recipe, mixes: Mixes | None, classes: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields batches with their targets: labels as they are or, mixed, shares of classes.

    Args:
        batches: Images (batch, channels, height, width) and labels (batch,).
        recipe: Says whether they are mixed.
        mixes: One entry for each batch; needed just where the recipe mixes.
        classes: How many classes there are.
    """
    if (mixes is None) == recipe.mixes:
        raise ValueError("mixes are for recipes that mix, and for no other")
    if mixes is None:
        yield from batches
        return
    columns = (mixes.cut, mixes.share, mixes.down, mixes.right)
    entries = zip(*(column.tolist() for column in columns), strict=True)
    for (images, labels), (cut, share, down, right) in zip(batches, entries, strict=True):
        if cut:
            images, share = cut_and_mixed(images, share, down, right)
        else:
            images = images.roll(1, 0).mul_(1 - share).add_(images.mul(share))
        whole = functional.one_hot(labels, classes).to(images.dtype)
        yield images, whole.roll(1, 0).mul_(1 - share).add_(whole.mul(share))


def cut_and_mixed(images: Tensor, share: float, down: float, right: float) -> tuple[Tensor, float]:
    """Returns images with a box out of the one before each, and the share that is their own.

    The formula of torchvision.transforms.v2.CutMix (Yun et al., ICCV 2019).
    """
    height, width = images.shape[-2:]
    half = 0.5 * math.sqrt(1 - share)
    spans = []
    for middle, side in ((int(down * height), height), (int(right * width), width)):
        reach = int(half * side)
        spans.append((max(0, middle - reach), min(side, middle + reach)))
    (top, bottom), (left, end) = spans
    found = images.clone()
    found[..., top:bottom, left:end] = images.roll(1, 0)[..., top:bottom, left:end]
    return found, 1 - (bottom - top) * (end - left) / (height * width)


def target_loss(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """Returns the mean cross-entropy of logits (batch, classes) with labels or shares."""
    return functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)


def stacked_target_losses(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """Returns the loss of every image of K networks, (K, batch), each as `target_loss` has it.

    Args:
        logits: (K, classes, batch).
        targets: Labels (batch,), or shares of classes (batch, classes).
        recipe: Says how much labels are smoothed.
    """
    logs = torch.log_softmax(logits, 1)
    if targets.ndim == 1:
        own = logs.gather(1, targets.expand(len(logits), 1, -1)).squeeze(1)
    else:
        own = (logs * targets.T).sum(1)
    smoothing = recipe.label_smoothing
    return -own if smoothing == 0 else -(own * (1 - smoothing) + logs.mean(1) * smoothing)
