"""Accuracy after a short retraining: the study's own recipe, shortened in proportion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from engine.work.augment import seeded_draws
from engine.work.bench import Pruned
from engine.work.chunks import train_epoch
from engine.work.criteria.subject import Scores, Subject, Tell
from engine.work.memory import out_of_memory
from engine.work.mixing import seeded_mixes

_AT_A_TIME = {"cpu": 16, "cuda": 128}
_TRAIN_ACCURACY, _TEST_ACCURACY = 1, 3


def short_retraining_scores(
    epochs: int,
) -> Callable[[Subject, Sequence[Pruned], Tell], Scores]:
    """Returns the criterion for so many epochs.

    Its batches come in orders of their own, not in those of the repeats, so that it does not share
    their noise.
    """

    def measure(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
        together = _AT_A_TIME.get(subject.bench.device.type, 16)
        found = np.zeros((len(candidates), 4))
        start = 0
        while start < len(candidates):
            some = candidates[start : start + together]
            try:
                between = partial(tell, start)
                found[start : start + len(some)] = _retrain(subject, some, epochs, between)
            except Exception as error:
                if together == 1 or not out_of_memory(error):
                    raise
                together //= 2
                continue
            start += len(some)
            tell(start)
        return {
            f"short_retrain_acc_{epochs}": found[:, _TEST_ACCURACY],
            f"short_retrain_train_acc_{epochs}": found[:, _TRAIN_ACCURACY],
        }

    return measure


def _retrain(
    subject: Subject, candidates: Sequence[Pruned], epochs: int, between: Callable[[], None]
) -> NDArray[np.float64]:
    """Returns (K, 4): train loss, train accuracy, test loss, test accuracy after the epochs."""
    bench = subject.bench
    recipe = bench.spec.retrain.lasting(epochs)
    pack = bench.make_pack(candidates, recipe)
    found = np.full((len(candidates), 4), np.nan)
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(subject.seed("short", epochs, epoch))
        order: NDArray[np.int64] = torch.randperm(bench.train_images, generator=generator).numpy()
        draws = None
        if bench.data.augmented:
            draws = seeded_draws(subject.seed("short", "augment", epochs, epoch), len(order))
        seed = subject.seed("short", "mixing", epochs, epoch)
        mixes = seeded_mixes(seed, recipe, len(order))
        found = train_epoch(
            pack, recipe, epoch, order, lambda samples: between(), draws=draws, mixes=mixes
        )
    return found
