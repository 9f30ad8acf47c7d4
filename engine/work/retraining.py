"""The last stage: packs of candidates, retrained one after another, in the seeded order of work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from engine.catalog import ModelInfo
from engine.errors import UsageError
from engine.estimate import multiply_adds, remember_rate, retraining_work
from engine.outcomes import diverged, outcomes_of
from engine.recipe import Recipe
from engine.store.layout import RowStatus
from engine.store.writer import RunWriter
from engine.summary import finished_rows, summarise_run
from engine.work.augment import Draws, batch_draws
from engine.work.batches import batch_order
from engine.work.bench import Bench
from engine.work.checkpoint import PackCheckpoint, checkpoint_seconds
from engine.work.memory import out_of_memory
from engine.work.packs import Pack
from engine.work.session import Session
from engine.work.sizing import PackSizer

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

    Returns:
        (K, 4): train loss, train accuracy, test loss, test accuracy.
    """
    batches = max(1, call_samples // (recipe.batch_size * pack.size))
    for start in range(0, len(order), batches * recipe.batch_size):
        part = order[start : start + batches * recipe.batch_size]
        moved = None if draws is None else draws.part(start, start + len(part))
        pack.train(part, recipe.rate_at(epoch), moved)
        between(len(part) * pack.size)
    train = pack.evaluate("train")
    between(0)
    test = pack.evaluate("test")
    return np.column_stack([train.loss, train.accuracy, test.loss, test.accuracy])


class Retraining:
    """Retrains every (candidate, repeat) of a run that is not finished."""

    def __init__(self, bench: Bench, writer: RunWriter, session: Session) -> None:
        """Takes the bench to work on, and a run in which every candidate is scored."""
        self._bench, self._writer, self._session = bench, writer, session
        self._sizer = PackSizer(bench.threads, bench.device.type)
        self._rate = _Rate()
        self._checkpoint_seconds = checkpoint_seconds()
        self._rows = writer.rows
        self._n_done = len(finished_rows(self._rows))

    def run(self) -> None:
        """Works until all is done.

        Raises:
            StopRequested: A stop was requested.
        """
        spec = self._bench.spec
        self._session.stage("retraining", spec.rows, "retrainings")
        self._session.say(stage_done=self._n_done, n_done=self._n_done)
        self._in_memory(self._finish_interrupted_pack)
        todo = [c for c in self._bench.work_order() if self._repeats_left(c)]
        while todo:
            group = todo[: self._sizer.size]
            if self._in_memory(partial(self._retrain_group, group)):
                todo = todo[len(group) :]
        self._session.say(eta_seconds=0.0)
        self._remember_rate()

    def _in_memory(self, work: Callable[[], None]) -> bool:
        """Works, and tells whether memory was enough; if not, packs are halved from here on.

        What is finished stays finished, and what is not begins again in a smaller pack, with the
        same outcome, because a candidate's result does not depend on its pack.
        """
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error) or self._sizer.size == 1:
                raise
        else:
            return True
        # Only here has the exception let go of the pack, so that its memory can be given back.
        self._sizer.halve()
        PackCheckpoint.discard(self._writer.folder)
        torch.cuda.empty_cache()
        self._writer.log(f"out of memory; packs of {self._sizer.size} from here on")
        return False

    def _remember_rate(self) -> None:
        """Leaves the measured rate for later estimates on this machine."""
        if self._sizer.per_retraining is None:
            return
        spec = self._bench.spec
        rate = retraining_work(spec) / self._sizer.per_retraining
        try:
            remember_rate(spec.model_info, str(self._bench.device), rate)
        except (OSError, UsageError) as error:
            self._writer.log(f"the measured rate could not be kept: {error}")

    def _repeats_left(self, candidate: int) -> list[int]:
        return [
            repeat
            for repeat in range(self._bench.spec.repeats)
            if not self._writer.has(candidate, repeat, RowStatus.DONE)
        ]

    def _finish_interrupted_pack(self) -> None:
        saved = PackCheckpoint.load(self._writer.folder, self._bench.spec.hash, self._writer.log)
        if saved is None or not saved.belongs_to(len(self._bench.work_order())):
            return
        if all(saved.repeat in self._repeats_left(c) for c in saved.candidates):
            try:
                self._retrain_pack(saved.candidates, saved.repeat, saved)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                self._writer.log("out of memory; the interrupted pack is done again in parts")
                PackCheckpoint.discard(self._writer.folder)

    def _retrain_group(self, group: Sequence[int]) -> None:
        """Retrains all repeats of a few candidates, so that they finish together."""
        began, retrained = time.monotonic(), 0
        for repeat in range(self._bench.spec.repeats):
            members = [c for c in group if repeat in self._repeats_left(c)]
            if members:
                self._retrain_pack(members, repeat, None)
                retrained += len(members)
        self._sizer.measured(retrained, time.monotonic() - began)

    def _retrain_pack(
        self, candidates: Sequence[int], repeat: int, resumed: PackCheckpoint | None
    ) -> None:
        bench, recipe = self._bench, self._bench.spec.retrain
        began = saved = time.monotonic()
        pack = bench.make_pack([bench.candidate(c) for c in candidates])
        curves = np.full((len(candidates), recipe.epochs, 4), np.nan)
        first = 0
        if resumed is not None and not resumed.fits(recipe.epochs, pack.state()):
            self._writer.log("the checkpoint is left aside: it does not fit the study")
        elif resumed is not None:
            self._writer.log(f"going on with a pack from epoch {resumed.epochs}")
            first = resumed.epochs
            curves[:, :first] = resumed.curves[:, :first]
            pack.load_state(resumed.state)
        for epoch in range(first, recipe.epochs):
            order = batch_order(bench.spec.seed, repeat, epoch, bench.train_images)
            draws = (
                batch_draws(bench.spec.seed, repeat, epoch, bench.train_images)
                if bench.data.augmented
                else None
            )
            calls = samples_in_a_call(bench.spec.model_info)
            curves[:, epoch] = train_epoch(pack, recipe, epoch, order, self._between, calls, draws)
            self._show(candidates, repeat, epoch, curves)
            if time.monotonic() - saved > self._checkpoint_seconds and epoch + 1 < recipe.epochs:
                here = PackCheckpoint(tuple(candidates), repeat, epoch + 1, curves, pack.state())
                self._session.keep(partial(here.save, self._writer.folder, bench.spec.hash))
                saved = time.monotonic()
        self._keep(candidates, repeat, curves, time.monotonic() - began)

    def _between(self, samples: int) -> None:
        self._rate.worked(samples)
        self._session.checkpoint()
        # A pause is not work; leaving it out keeps the rate and the ETA honest.
        self._rate.rested()

    def _show(
        self, candidates: Sequence[int], repeat: int, epoch: int, curves: NDArray[np.float64]
    ) -> None:
        """Publishes where the pack's candidates stand: provisional, and replaced every epoch."""
        epochs, images = self._bench.spec.retrain.epochs, self._bench.train_images
        trained = self._n_done * epochs + len(candidates) * (epoch + 1)
        left = (self._bench.spec.rows * epochs - trained) * images
        rate = self._rate.per_second
        self._session.say(
            rate=rate,
            eta_seconds=left / rate if rate else None,
            provisional=[
                [int(c), repeat, epoch + 1, float(accuracy), float(loss)]
                for c, (_, _, loss, accuracy) in zip(candidates, curves[:, epoch], strict=True)
            ],
        )

    def _keep(
        self, candidates: Sequence[int], repeat: int, curves: NDArray[np.float64], seconds: float
    ) -> None:
        """Makes the outcomes of a finished pack durable, then visible."""
        writer = self._writer
        # Every candidate is scored, so rows are complete and sorted by (candidate, repeat).
        places = np.asarray(candidates) * self._bench.spec.repeats + repeat
        rows = self._rows[places]
        for name, values in outcomes_of(curves).items():
            rows[name] = values
        rows["status"] = np.where(diverged(curves), RowStatus.DIVERGED, RowStatus.DONE)
        rows["epochs"] = curves.shape[1]
        rows["seconds"] = seconds / len(candidates)
        rows["finished_at"] = time.time()
        self._session.keep(lambda: writer.append(rows, curves.astype(np.float32)))
        self._rows[places] = rows
        PackCheckpoint.discard(writer.folder)
        self._n_done += len(candidates)
        self._session.say(n_done=self._n_done, stage_done=self._n_done, provisional=[])
        writer.set_summary(summarise_run(writer.config, "running", self._rows))
        self._session.keep(writer.maybe_publish)


class _Rate:
    """Candidate-samples a second of working time, since the engine started."""

    def __init__(self) -> None:
        self._samples, self._seconds, self._mark = 0, 0.0, time.monotonic()

    def worked(self, samples: int) -> None:
        now = time.monotonic()
        self._samples, self._seconds, self._mark = (
            self._samples + samples,
            self._seconds + now - self._mark,
            now,
        )

    def rested(self) -> None:
        self._mark = time.monotonic()

    @property
    def per_second(self) -> float | None:
        return self._samples / self._seconds if self._seconds > 0 and self._samples else None
