"""The study itself: base network, scores, retraining of every candidate; resumable anywhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.seeds import derive_seed
from engine.shards import shard_of, share
from engine.spec import StudySpec
from engine.store.layout import Rows, RowStatus, empty_rows
from engine.store.writer import RunWriter
from engine.summary import summarise_run
from engine.work.bench import Bench, prepare
from engine.work.criteria import Scorer
from engine.work.executors.choose import choose_gpus, open_executor
from engine.work.picks import with_picks
from engine.work.retraining import Retraining
from engine.work.session import Session

_SCORE_CHUNK = 512


def run_study(writer: RunWriter, session: Session) -> None:
    """Works on a run until every candidate is scored and every repeat of it retrained.

    Rows that are there already are left as they are: this is how a run is resumed.

    Raises:
        StopRequested: A stop was requested; all that was acknowledged is on disk.
        OracleError: The study cannot go on.
    """
    spec = StudySpec.from_json(writer.config["spec"])
    executor_name = str(writer.config.get("executor") or "inline")
    gpus = choose_gpus(executor_name, str(writer.config.get("device_asked") or "auto"))
    bench = prepare(spec, writer, session, max(1, len(gpus)))
    score_candidates(bench, writer, session)
    if spec.search:
        bench = with_picks(bench, writer, session)
        score_candidates(bench, writer, session)
    if writer.n_finished == writer.layout.n_total:
        return
    executor = open_executor(executor_name, bench, writer.folder, gpus, writer.log)
    try:
        Retraining(bench, executor, writer, session).run()
    finally:
        executor.close()


def score_candidates(bench: Bench, writer: RunWriter, session: Session) -> None:
    """Scores every candidate that has no row yet, and appends its rows for all repeats."""
    spec = bench.spec
    order = share(bench.work_order(), shard_of(writer.config))
    missing = [c for c in order if not writer.has(c, 0, RowStatus.SCORED)]
    if not missing:
        return
    scorer = Scorer(bench, writer.config.get("criteria"), writer.config.get("score_seconds"))
    session.stage("scoring", len(order), "candidates")
    for start in range(0, len(missing), _SCORE_CHUNK):
        chunk = missing[start : start + _SCORE_CHUNK]
        scored = len(order) - len(missing) + start

        def progress(done: int, scored: int = scored) -> None:
            session.say(stage_done=scored + done)
            session.checkpoint()

        pruned = [bench.candidate(c) for c in chunk]
        found = scorer.measure(pruned, progress)
        rows = _scored_rows(spec, chunk)
        each = np.repeat(np.arange(len(chunk)), spec.repeats)
        for name, values in found.items():
            rows[name] = values[each]
        lists = [[list(layer) for layer in pruned[index]] for index in each]
        session.keep(functools.partial(writer.append, rows, None, lists))
        writer.config = {**writer.config, **_told_of_scores(scorer)}
        writer.set_summary(summarise_run(writer.config, "running", writer.rows))
        session.keep(writer.maybe_publish)


def _told_of_scores(scorer: Scorer) -> dict[str, Any]:
    """Returns what the run's config records of its scores: their cost, and whose own they are."""
    own = {"criteria": scorer.own} if scorer.own else {}
    return {"score_seconds": {n: round(s, 3) for n, s in scorer.seconds.items()}, **own}


def _scored_rows(spec: StudySpec, candidates: Sequence[int]) -> Rows:
    """Returns one row per candidate and repeat, candidate by candidate, outcomes unknown."""
    rows = empty_rows(len(candidates) * spec.repeats, spec.score_names)
    rows["candidate"] = np.repeat(np.asarray(candidates), spec.repeats)
    rows["repeat"] = np.tile(np.arange(spec.repeats), len(candidates))
    rows["status"] = RowStatus.SCORED
    rows["seed"] = [derive_seed(spec.seed, "batches", int(repeat)) for repeat in rows["repeat"]]
    return rows
