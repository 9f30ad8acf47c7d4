"""The last stage: chunks of candidates, handed to an executor; what comes back is kept."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import RunFailure, UsageError
from engine.estimate import has_plain_steps, remember_rate, retraining_work
from engine.outcomes import diverged, outcomes_of
from engine.shards import shard_of, share
from engine.store.layout import RowStatus
from engine.store.writer import RunWriter
from engine.summary import finished_rows, summarise_run
from engine.work.bench import Bench
from engine.work.checkpoint import PackCheckpoint
from engine.work.executors.base import (
    Broken,
    Chunk,
    ChunkDone,
    EpochDone,
    Executor,
    Lost,
    Note,
    PackDone,
    Report,
    Started,
    Trained,
)
from engine.work.executors.place import place_text
from engine.work.session import Session
from engine.work.sizing import PackSizer, largest_pack, least_pack

# A chunk whose worker dies this often is what kills it.
_ATTEMPTS = 3
# Progress is published by the heartbeat, which looks about once a second.
_SHOW_SECONDS = 0.25
# More workers than these are told in the log and counted, but not each named in the run file.
_PLACES_KEPT = 256

Packs = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(slots=True)
class _Flight:
    """A chunk that an executor has: what is done of it, and what is to be seen of it."""

    chunk: Chunk
    attempt: int
    kept: set[int] = field(default_factory=set)
    epochs: int = 0
    provisional: list[list[float]] = field(default_factory=list)

    @property
    def left(self) -> Packs:
        """The packs that are not kept yet."""
        return tuple(pack for pack in self.chunk.packs if pack[0] not in self.kept)


class Retraining:
    """Retrains every (candidate, repeat) of a run that is not finished."""

    def __init__(
        self,
        bench: Bench,
        executor: Executor,
        writer: RunWriter,
        session: Session,
        sizer: PackSizer | None = None,
    ) -> None:
        """Takes what to work on and who works, and a run in which every candidate is scored.

        Another `sizer` than that of the bench's device is for measurements.
        """
        self._bench, self._executor = bench, executor
        self._writer, self._session = writer, session
        self._sizer = sizer or PackSizer(
            executor.threads,
            bench.device.type,
            largest_pack(bench.spec.model_info, bench.device.type, bench.kind),
            least_pack(bench.kind),
        )
        self._rate = _Rate()
        self._rows = writer.rows
        self._keys = self._key(self._rows["candidate"], self._rows["repeat"])
        self._n_done = len(finished_rows(self._rows))
        self._n_total = int(writer.config["n_total"])
        self._flying: dict[int, _Flight] = {}
        self._again: deque[tuple[Packs, int]] = deque()
        self._interrupted: set[tuple[int, int]] = set()
        self._numbers = 0
        self._changed, self._shown_at = False, 0.0
        self._places: dict[tuple[str, int], dict[str, Any]] = {}

    def run(self) -> None:
        """Works until all is done.

        Raises:
            StopRequested: A stop was requested.
            RunFailure: The work raised, or a chunk's worker died again and again.
        """
        self._session.stage("retraining", self._n_total, "retrainings")
        self._session.say(stage_done=self._n_done, n_done=self._n_done)
        order = share(self._bench.work_order(), shard_of(self._writer.config))
        self._take_up_interrupted_packs(set(order))
        begun = {candidate for _, candidate in self._interrupted}
        # What was interrupted comes first, and its candidates' other repeats right after it.
        first = [c for c in order if c in begun]
        todo = deque(first + [c for c in order if c not in begun and self._repeats_left(c)])
        self._session.on_hold = self._executor.hold
        try:
            while todo or self._again or self._flying:
                self._submit(todo)
                self._executor.collect(self._take)
                self._obey()
        except BaseException:
            self._executor.cancel()
            raise
        PackCheckpoint.discard_all(self._writer.folder)
        self._session.say(eta_seconds=0.0, provisional=[])
        self._remember_rate()

    # -- handing out ----------------------------------------------------------------------------

    def _take_up_interrupted_packs(self, studied: set[int]) -> None:
        """Has packs that were saved between two epochs gone on with, in the same company."""
        folder, study = self._writer.folder, self._bench.spec.hash
        candidates = len(self._bench.work_order())
        for saved in PackCheckpoint.load_all(folder, study, self._writer.log):
            rows = {(saved.repeat, c) for c in saved.candidates}
            if (
                saved.belongs_to(candidates)
                and studied.issuperset(saved.candidates)
                and self._interrupted.isdisjoint(rows)
                and all(saved.repeat in self._repeats_left(c) for c in saved.candidates)
            ):
                self._again.append((((saved.repeat, saved.candidates),), 1))
                self._interrupted |= rows
            else:
                PackCheckpoint.discard(folder, saved.repeat, saved.candidates)

    def _submit(self, todo: deque[int]) -> None:
        """Fills the executor's window."""
        while len(self._flying) < self._executor.window:
            if self._again:
                packs, attempt = self._again.popleft()
                if any(len(candidates) > self._sizer.limit for _, candidates in packs):
                    self._split(packs, attempt, self._sizer.limit)
                    continue
            elif todo:
                packs, attempt = self._group(todo), 1
            else:
                return
            if not packs:
                continue
            self._numbers += 1
            chunk = Chunk(self._numbers, packs)
            self._flying[chunk.number] = _Flight(chunk, attempt)
            self._executor.submit(chunk)

    def _group(self, todo: deque[int]) -> Packs:
        """Takes the next candidates off, with all repeats, so that they finish together."""
        # Near the end everyone gets a part of what is left.
        fair = -(-len(todo) // self._executor.workers) if self._executor.workers else 1
        size = max(1, min(self._sizer.size, max(self._sizer.step, fair)))
        group = [todo.popleft() for _ in range(min(size, len(todo)))]
        left = {c: self._repeats_left(c) for c in group}
        packs = (
            (
                repeat,
                tuple(
                    c for c in group if repeat in left[c] and (repeat, c) not in self._interrupted
                ),
            )
            for repeat in range(self._bench.spec.repeats)
        )
        return tuple(pack for pack in packs if pack[1])

    def _repeats_left(self, candidate: int) -> list[int]:
        return [
            repeat
            for repeat in range(self._bench.spec.repeats)
            if not self._writer.has(candidate, repeat, RowStatus.DONE)
        ]

    # -- taking in ------------------------------------------------------------------------------

    def _take(self, report: Report) -> None:
        """Acts on a report; chunks that were given up are not listened to any more."""
        if isinstance(report, Note):
            self._writer.log(report.text)
            return
        flight = self._flying.get(report.chunk)
        if flight is None:
            return
        match report:
            case Started():
                self._record_place(report)
            case Trained():
                self._rate.worked(report.samples)
                self._obey()
            case EpochDone():
                self._show(flight, report)
            case PackDone():
                self._keep(flight, report)
            case ChunkDone():
                del self._flying[report.chunk]
                self._sizer.measured(flight.chunk.retrainings, report.seconds)
            case Lost():
                self._try_again(flight, report)
            case Broken():
                self._give_up(flight, report)

    def _obey(self) -> None:
        began = time.monotonic()
        self._session.checkpoint()
        # A pause is not work; leaving it out keeps the rate and the ETA honest.
        self._rate.rested(time.monotonic() - began)
        if self._changed and time.monotonic() - self._shown_at >= _SHOW_SECONDS:
            self._publish_progress()

    def _try_again(self, flight: _Flight, report: Lost) -> None:
        """Has what is left of a lost chunk worked on again, by whichever worker is free first."""
        del self._flying[report.chunk]
        if flight.attempt >= _ATTEMPTS:
            raise RunFailure(
                f"A worker died {_ATTEMPTS} times over the same {flight.chunk.width} candidate(s), "
                f"at last because {report.why}; see engine.log, then resume the run."
            )
        self._writer.log(f"{report.why}; its {flight.chunk.width} candidate(s) are tried again")
        self._again.append((flight.left, flight.attempt + 1))
        self._changed = True

    def _give_up(self, flight: _Flight, report: Broken) -> None:
        """Halves a chunk that did not fit into memory; anything else would happen again."""
        del self._flying[report.chunk]
        if not report.out_of_memory or flight.chunk.width == 1:
            for line in report.trace.splitlines():
                self._writer.log(line)
            raise RunFailure(report.sentence)
        if flight.chunk.width >= self._sizer.size:
            self._sizer.halve()
        self._writer.log(f"out of memory; packs of {self._sizer.size} from here on")
        self._split(flight.left, flight.attempt, -(-flight.chunk.width // 2))

    def _split(self, packs: Packs, attempt: int, size: int) -> None:
        """Has packs done next, in parts of at most `size` candidates."""
        parts = []
        for repeat, candidates in packs:
            if len(candidates) > size:
                # Saved as a whole, it would not fit again.
                PackCheckpoint.discard(self._writer.folder, repeat, candidates)
            starts = range(0, len(candidates), size)
            parts += [(repeat, candidates[start : start + size]) for start in starts]
        self._again.extendleft(((part,), attempt) for part in reversed(parts))

    def _record_place(self, report: Started) -> None:
        """Notes who works where, in the log and in the run file."""
        place = report.place
        key = (str(place["host"]), int(place["pid"]))
        if key in self._places:
            return
        self._places[key] = place
        self._writer.log(f"worker: {place_text(place)}")
        if len(self._places) <= _PLACES_KEPT:
            environment = {
                **self._writer.config["environment"],
                "workers": list(self._places.values()),
            }
            self._writer.config = {**self._writer.config, "environment": environment}

    def _show(self, flight: _Flight, report: EpochDone) -> None:
        """Takes note of where a pack in work stands: provisional, and replaced every epoch."""
        self._changed = True
        flight.epochs = report.epoch * len(report.candidates)
        flight.provisional = [
            [int(c), report.repeat, report.epoch, accuracy, loss]
            for c, accuracy, loss in zip(
                report.candidates, report.accuracy, report.loss, strict=True
            )
        ]

    def _publish_progress(self) -> None:
        """Publishes where all packs in work stand; it looks at each, so not at every report."""
        self._changed, self._shown_at = False, time.monotonic()
        epochs, images = self._bench.spec.retrain.epochs, self._bench.train_images
        trained = self._n_done * epochs + sum(other.epochs for other in self._flying.values())
        left = (self._n_total * epochs - trained) * images
        rate = self._rate.per_second
        self._session.say(
            rate=rate,
            eta_seconds=left / rate if rate else None,
            provisional=[
                record for flight in self._flying.values() for record in flight.provisional
            ],
        )

    def _keep(self, flight: _Flight, report: PackDone) -> None:
        """Makes the outcomes of a finished pack durable, then visible."""
        writer, curves = self._writer, report.curves
        # Every candidate is scored, so its rows are there, sorted by (candidate, repeat).
        candidates = np.asarray(report.candidates)
        places = np.searchsorted(self._keys, self._key(candidates, report.repeat))
        rows = self._rows[places]
        for name, values in outcomes_of(curves).items():
            rows[name] = values
        rows["status"] = np.where(diverged(curves), RowStatus.DIVERGED, RowStatus.DONE)
        rows["epochs"] = curves.shape[1]
        rows["seconds"] = report.seconds / len(candidates)
        rows["finished_at"] = time.time()
        self._session.keep(lambda: writer.append(rows, curves.astype(np.float32)))
        self._rows[places] = rows
        PackCheckpoint.discard(writer.folder, report.repeat, report.candidates)
        flight.kept.add(report.repeat)
        flight.epochs, flight.provisional = 0, []
        self._n_done += len(candidates)
        self._session.say(n_done=self._n_done, stage_done=self._n_done)
        self._changed = True
        # A summary looks at every row, so only a publish is worth one: the cost stays linear.
        if writer.publish_due():
            writer.set_summary(summarise_run(writer.config, "running", self._rows))
            self._session.keep(writer.publish)

    def _key(self, candidates: ArrayLike, repeats: ArrayLike) -> NDArray[np.int64]:
        ids = np.asarray(candidates, np.int64)
        return ids * self._bench.spec.repeats + np.asarray(repeats, np.int64)

    def _remember_rate(self) -> None:
        """Leaves the measured rate for later estimates on this machine."""
        name = str(self._writer.config.get("executor") or "inline")
        if self._sizer.per_retraining is None or name.startswith("ray"):
            return
        spec = self._bench.spec
        rate = self._executor.workers * retraining_work(spec) / self._sizer.per_retraining
        try:
            device = str(self._bench.device)
            remember_rate(spec.model_info, device, rate, plain=has_plain_steps(spec))
        except (OSError, UsageError) as error:
            self._writer.log(f"the measured rate could not be kept: {error}")


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

    def rested(self, seconds: float) -> None:
        self._mark += seconds

    @property
    def per_second(self) -> float | None:
        return self._samples / self._seconds if self._seconds > 0 and self._samples else None
