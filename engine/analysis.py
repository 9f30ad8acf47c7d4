"""One run with its statistics, read once: what tables, comparisons, figures and reports show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.facts import StudyFacts, facts_of
from engine.statistics import (
    AnomalyRatio,
    OracleStatistics,
    TauInterval,
    anomaly_ratio,
    summarise,
    tau_interval,
)
from engine.store.reader import RunReader
from engine.summary import finished_means, sampled_rows

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RunAnalysis:
    """A run's finished candidates and what they say, all over the means of their repeats.

    A search's picks are not among them: with those the sample would not be random.

    Attributes:
        id: The run's id.
        status: Its status.
        facts: What is known of its study.
        config: Its config.
        candidates: Ids of the n finished candidates, ascending.
        score: Pruned train loss of each.
        accuracy: Best test accuracy of each.
        loss: Test loss at that epoch.
        statistics: The headline numbers.
        by_accuracy: Tau of score and accuracy with its live interval.
        by_loss: Tau of score and loss with its live interval.
        anomalies: The anomaly ratio of accuracy with its range over references.
    """

    id: str
    status: str
    facts: StudyFacts
    config: Mapping[str, Any]
    candidates: NDArray[np.uint32]
    score: Floats
    accuracy: Floats
    loss: Floats
    statistics: OracleStatistics
    by_accuracy: TauInterval
    by_loss: TauInterval
    anomalies: AnomalyRatio


def analyse(run: RunReader, status: str = "") -> RunAnalysis:
    """Returns a run's analysis.

    Args:
        run: The run, finished or not.
        status: The status to show; the run file's own where empty.

    Raises:
        UsageError: Its config holds no valid spec or origin.
    """
    return analyse_rows(run.config, run.rows, status or run.status)


def analyse_rows(config: Mapping[str, Any], rows: NDArray[np.void], status: str) -> RunAnalysis:
    """Returns the analysis of rows that were read before.

    Args:
        config: The run's config.
        rows: Rows of the store's dtype.
        status: The status to show.

    Raises:
        UsageError: The config holds no valid spec or origin.
    """
    facts = facts_of(config)
    columns = ("pruned_train_loss", "best_test_acc", "best_test_loss")
    candidates, means = finished_means(sampled_rows(config, rows), facts.repeats, columns)
    score, accuracy, loss = (np.ascontiguousarray(column) for column in means.T)
    return RunAnalysis(
        id=config["run_id"],
        status=status,
        facts=facts,
        config=config,
        candidates=candidates,
        score=score,
        accuracy=accuracy,
        loss=loss,
        statistics=summarise(score, accuracy, loss),
        by_accuracy=tau_interval(score, accuracy),
        by_loss=tau_interval(score, loss),
        anomalies=anomaly_ratio(score, accuracy),
    )
