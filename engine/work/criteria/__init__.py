"""Scores measured before retraining: one small module per kind, put together here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.scores import column_of, find_score, retraining_epochs
from engine.work.bench import Bench, Pruned
from engine.work.criteria.losses import plain_scores, recalibrated_scores
from engine.work.criteria.magnitude import batchnorm_scale, random_scores, weight_scores
from engine.work.criteria.own import file_criterion, installed_criterion
from engine.work.criteria.sensitivity import (
    fisher_scores,
    gradient_scores,
    grasp_scores,
    hessian_scores,
)
from engine.work.criteria.short_retraining import short_retraining_scores
from engine.work.criteria.subject import Scores, Subject, Tell

Measure = Callable[[Subject, Sequence[Pruned], Tell], Scores]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One computation and the scores it gives.

    Attributes:
        names: The scores.
        measure: The function of (subject, candidates, tell) that gives them, float64[n] each.
    """

    names: tuple[str, ...]
    measure: Measure


CRITERIA = (
    Criterion(("pruned_train_loss", "pruned_train_acc"), plain_scores),
    Criterion(("recalibrated_train_loss", "recalibrated_train_acc"), recalibrated_scores),
    *(Criterion((name,), weight_scores(name)) for name in ("l1", "l2", "fpgm", "lamp")),
    Criterion(("bn_scale",), batchnorm_scale),
    Criterion(("taylor", "snip"), gradient_scores),
    Criterion(("hessian",), hessian_scores),
    Criterion(("fisher",), fisher_scores),
    Criterion(("grasp",), grasp_scores),
    Criterion(("random",), random_scores),
)


class Scorer:
    """Measures a study's scores, each computation once, and keeps what they cost."""

    def __init__(
        self,
        bench: Bench,
        recorded: Mapping[str, Any] | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        """Finds the study's criteria.

        Args:
            bench: The study's bench.
            recorded: What the run's config says of a researcher's own criteria, by name.
            seconds: What earlier engines of this run spent, by score.

        Raises:
            RunFailure: A researcher's own criterion is not there or cannot be loaded.
        """
        self.names = bench.spec.score_names
        self.own: dict[str, Any] = dict(recorded or {})
        self.seconds = {name: float((seconds or {}).get(name, 0.0)) for name in self.names}
        self._subject = Subject(bench)
        self._criteria = self._find(bench.spec.scores)

    def measure(self, candidates: Sequence[Pruned], tell: Tell) -> dict[str, NDArray[np.float64]]:
        """Returns every score of some candidates, float64[n] each, by name.

        A score's seconds are those of the computation it comes from; scores that come from one
        computation all carry the whole of it.
        """
        found: dict[str, NDArray[np.float64]] = {}
        for place, criterion in enumerate(self._criteria):

            def told(done: int, place: int = place) -> None:
                tell((place * len(candidates) + done) // len(self._criteria))

            began = time.monotonic()
            values = criterion.measure(self._subject, candidates, told)
            spent = time.monotonic() - began
            for name in criterion.names:
                if name in self.seconds:
                    found[name] = values[name]
                    self.seconds[name] += spent
            told(len(candidates))
        return found

    def _find(self, scores: Sequence[str]) -> list[Criterion]:
        wanted: dict[tuple[str, ...], Criterion] = {}
        for score in scores:
            criterion = self._criterion(score)
            wanted.setdefault(criterion.names, criterion)
        return list(wanted.values())

    def _criterion(self, score: str) -> Criterion:
        name = column_of(score)
        epochs = retraining_epochs(score)
        if epochs is not None:
            names = (f"short_retrain_acc_{epochs}", f"short_retrain_train_acc_{epochs}")
            return Criterion(names, short_retraining_scores(epochs))
        if "@" in score:
            return Criterion((name,), file_criterion(name, self.own.get(name)))
        if find_score(score) is None:
            measure, about = installed_criterion(name)
            self.own[name] = about
            return Criterion((name,), measure)
        return next(criterion for criterion in CRITERIA if name in criterion.names)
