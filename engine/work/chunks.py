"""What a worker does with a chunk: packs retrained by the recipe, wherever the worker is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalog import ModelInfo
from engine.estimate import multiply_adds
from engine.recipe import Recipe
from engine.work.augment import Draws, batch_draws
from engine.work.batches import batch_order
from engine.work.bench import Bench
from engine.work.checkpoint import PackCheckpoint, checkpoint_seconds
from engine.work.executors.base import Chunk, ChunkDone, EpochDone, Note, PackDone, Tell, Trained
from engine.work.mixing import Mixes, batch_mixes
from engine.work.packs import Pack

# An epoch is cut into calls of this many candidate-samples, so that a pause or stop is obeyed soon;
# into fewer where one sample takes more than that of LeNet5-Mini, whose multiply-adds are these.
CALL_SAMPLES = 100_000
_CALL_WORK = CALL_SAMPLES * 450_000


def samples_in_a_call(info: ModelInfo) -> int:
    """Returns how many candidate-samples of a model are trained in one call of a pack."""
    return max(1, min(CALL_SAMPLES, int(_CALL_WORK / max(1.0, multiply_adds(info, {})))))


def train_epoch(
    pack: Pack,
    recipe: Recipe,
    epoch: int,
    order: NDArray[np.int64],
    between: Callable[[int], None],
    call_samples: int = CALL_SAMPLES,
    draws: Draws | None = None,
    mixes: Mixes | None = None,
) -> NDArray[np.float64]:
    """Trains one epoch and evaluates on both sets.

    Args:
        pack: K candidates.
        recipe: What they are trained by.
        epoch: Which epoch, counted from 0.
        order: The train images, (n,), in the order of this epoch.
        between: Called between steps with how many candidate-samples were just trained; may raise.
        call_samples: Candidate-samples in a call of the pack; see `samples_in_a_call`.
        draws: How the images are cropped and mirrored, where the data set wants it.
        mixes: How the batches are mixed, where the recipe wants it.

    Returns:
        (K, 4): train loss, train accuracy, test loss, test accuracy.
    """
    batches = max(1, call_samples // (recipe.batch_size * pack.size))
    for start in range(0, len(order), batches * recipe.batch_size):
        part = order[start : start + batches * recipe.batch_size]
        moved = None if draws is None else draws.part(start, start + len(part))
        mixed = None if mixes is None else mixes.part(start, start + len(part))
        pack.train(part, recipe.rate_at(epoch), moved, mixed)
        between(len(part) * pack.size)
    train = pack.evaluate("train")
    between(0)
    test = pack.evaluate("test")
    return np.column_stack([train.loss, train.accuracy, test.loss, test.accuracy])


class ChunkWork:
    """Retrains chunks on a bench.

    Where it can reach the run's folder it saves a long pack there every half minute, and a pack
    that was begun before goes on from what was saved.
    """

    def __init__(self, bench: Bench, folder: Path | None) -> None:
        """Takes the bench, and the run's folder or None where that is on another machine."""
        self._bench, self._folder = bench, folder
        self._checkpoint_seconds = checkpoint_seconds()

    def __call__(self, chunk: Chunk, tell: Tell) -> None:
        """Retrains the packs of a chunk; see `Work`."""
        began = time.monotonic()
        for repeat, candidates in chunk.packs:
            self._retrain(chunk.number, repeat, candidates, tell)
        tell(ChunkDone(chunk.number, time.monotonic() - began))

    def _retrain(self, chunk: int, repeat: int, candidates: tuple[int, ...], tell: Tell) -> None:
        bench, recipe = self._bench, self._bench.spec.retrain
        began = saved = time.monotonic()

        def between(samples: int) -> None:
            tell(Trained(chunk, samples))

        pack = bench.make_pack([bench.candidate(c) for c in candidates])
        curves = np.full((len(candidates), recipe.epochs, 4), np.nan)
        first = self._resume(repeat, candidates, pack, curves, tell)
        for epoch in range(first, recipe.epochs):
            order = batch_order(bench.spec.seed, repeat, epoch, bench.train_images)
            draws = (
                batch_draws(bench.spec.seed, repeat, epoch, bench.train_images)
                if bench.data.augmented
                else None
            )
            calls = samples_in_a_call(bench.spec.model_info)
            mixes = batch_mixes(bench.spec.seed, repeat, epoch, recipe, bench.train_images)
            curves[:, epoch] = train_epoch(pack, recipe, epoch, order, between, calls, draws, mixes)
            _, _, loss, accuracy = curves[:, epoch].T.tolist()
            tell(EpochDone(chunk, repeat, candidates, epoch + 1, tuple(loss), tuple(accuracy)))
            if time.monotonic() - saved > self._checkpoint_seconds and epoch + 1 < recipe.epochs:
                here = PackCheckpoint(candidates, repeat, epoch + 1, curves, pack.state())
                self._save(here, tell)
                saved = time.monotonic()
        tell(PackDone(chunk, repeat, candidates, curves, time.monotonic() - began))

    def _resume(
        self,
        repeat: int,
        candidates: tuple[int, ...],
        pack: Pack,
        curves: NDArray[np.float64],
        tell: Tell,
    ) -> int:
        """Loads a pack's checkpoint, if there is one; returns how many epochs it has finished."""
        if self._folder is None:
            return 0
        saved = PackCheckpoint.load(
            self._folder, self._bench.spec.hash, repeat, candidates, lambda text: tell(Note(text))
        )
        if saved is None:
            return 0
        if not saved.fits(curves.shape[1], pack.state()):
            tell(Note("the checkpoint is left aside: it does not fit the study"))
            return 0
        tell(Note(f"going on with a pack from epoch {saved.epochs}"))
        curves[:, : saved.epochs] = saved.curves[:, : saved.epochs]
        pack.load_state(saved.state)
        return saved.epochs

    def _save(self, checkpoint: PackCheckpoint, tell: Tell) -> None:
        if self._folder is None:
            return
        try:
            checkpoint.save(self._folder, self._bench.spec.hash)
        except OSError as error:  # it only saves time; the next one may find room
            tell(Note(f"a pack could not be saved between two epochs: {error}"))
