"""The paper's 10 % budget: how well a short retraining of the same candidates tells a long one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from engine.analysis import RunAnalysis
from engine.statistics import Correlation, TauInterval, budget_agreement, tau_interval
from engine.summary import plain_scalars


@dataclass(frozen=True)
class BudgetPair:
    """Two runs that differ in the retraining alone, one of them in fewer epochs.

    Attributes:
        short: The one of fewer epochs.
        full: The one of more.
        agreement: Tau of their best test accuracies, over the candidates that both finished.
        interval: The same with its live interval.
    """

    short: RunAnalysis
    full: RunAnalysis
    agreement: Correlation
    interval: TauInterval


def budget_pairs(runs: Sequence[RunAnalysis]) -> list[BudgetPair]:
    """Returns the pairs of runs whose specs differ in the retraining alone, and in its epochs."""
    found = []
    known = [(_study(run), run) for run in runs if run.facts.spec is not None]
    for (study, one), (other_study, other) in combinations(known, 2):
        if study == other_study and _epochs(one) != _epochs(other):
            found.append(_pair(*sorted((one, other), key=_epochs)))
    return found


def budget_record(pair: BudgetPair) -> dict[str, Any]:
    """Returns a pair as a flat record of JSON scalars; None where not known."""
    return plain_scalars(
        {
            "study": pair.full.facts.title,
            "short": pair.short.id,
            "full": pair.full.id,
            "short_epochs": _epochs(pair.short),
            "full_epochs": _epochs(pair.full),
            "n_shared": pair.agreement.n,
            "kendall_tau_acc": pair.agreement.value,
            "kendall_p_acc": pair.agreement.p,
            "tau_acc_lower": pair.interval.lower,
            "tau_acc_upper": pair.interval.upper,
            "note": pair.agreement.note,
        }
    )


def _pair(short: RunAnalysis, full: RunAnalysis) -> BudgetPair:
    # The same candidates by their ids: a spec gives them whatever the retraining is.
    _, ours, theirs = np.intersect1d(
        short.candidates, full.candidates, assume_unique=True, return_indices=True
    )
    return BudgetPair(
        short,
        full,
        budget_agreement(short.candidates, short.accuracy, full.candidates, full.accuracy),
        tau_interval(short.accuracy[ours], full.accuracy[theirs]),
    )


def _study(run: RunAnalysis) -> str:
    assert run.facts.spec is not None
    return json.dumps({**run.facts.spec.to_json(), "retrain": None}, sort_keys=True)


def _epochs(run: RunAnalysis) -> int:
    assert run.facts.spec is not None
    return run.facts.spec.retrain.epochs
