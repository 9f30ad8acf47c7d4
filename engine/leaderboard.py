"""The leaderboard: how well each score of a run predicts an outcome, and over several runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.facts import facts_of
from engine.outcomes import OUTCOMES
from engine.scores import ScoreInfo, find_score
from engine.statistics import kendall, oracle_regret, tau_interval
from engine.summary import finished_means, sampled_rows

DEFAULT_OUTCOME = "best_test_acc"


@dataclass(frozen=True, slots=True)
class Standing:
    """How well one score predicts one outcome in one run.

    Attributes:
        score: The score's name.
        title: How it is shown.
        low_is_good: Whether a low value should mean a good network after retraining.
        outcome: The outcome's name.
        n: Candidates with a finite score and outcome.
        tau: Kendall's tau-b of score and outcome as they are; NaN where undefined.
        tau_lower: Lower end of its live pointwise 95 % interval.
        tau_upper: Upper end.
        p: Two-sided p-value of tau.
        agreement: Tau with the sign that a good score has positive: 1 orders all candidates
            rightly, 0 not at all, below 0 the wrong way round.
        agreement_lower: Lower end of its interval.
        agreement_upper: Upper end.
        regret: Outcome of the best candidate minus that of the score's pick (for a loss, the pick's
            minus the best); at least 0.
        rank: The pick's rank by outcome, 1 is best; 0 where there is none.
        seconds: What measuring the score took; NaN where unknown.
        note: What a reader must know; empty when nothing.
    """

    score: str
    title: str
    low_is_good: bool
    outcome: str
    n: int
    tau: float
    tau_lower: float
    tau_upper: float
    p: float
    agreement: float
    agreement_lower: float
    agreement_upper: float
    regret: float
    rank: int
    seconds: float
    note: str

    def to_json(self) -> dict[str, Any]:
        """Returns the standing as a flat object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Overall:
    """One score over several runs.

    Attributes:
        score: The score's name.
        title: How it is shown.
        runs: Runs in which it has an agreement.
        agreement: The mean over them, every run counting the same.
        lowest: The smallest.
        highest: The largest.
        wins: Runs in which no other score's agreement is higher.
        regret: Mean regret.
        seconds: Seconds in all.
    """

    score: str
    title: str
    runs: int
    agreement: float
    lowest: float
    highest: float
    wins: int
    regret: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Returns it as a flat object."""
        return asdict(self)


def leaderboard(
    config: Mapping[str, Any], rows: NDArray[np.void], outcome: str = DEFAULT_OUTCOME
) -> list[Standing]:
    """Returns the standing of every score of a run, the best predictor first.

    Args:
        config: The run's config.
        rows: Rows of the store's dtype.
        outcome: One of `OUTCOMES`.

    Raises:
        UsageError: There is no such outcome, or the config holds no valid spec or origin.
    """
    if outcome not in OUTCOMES:
        raise UsageError(f"There is no outcome {outcome!r}; choose one of {', '.join(OUTCOMES)}.")
    names = tuple(str(name) for name in config["score_names"])
    repeats = facts_of(config).repeats
    _, means = finished_means(sampled_rows(config, rows), repeats, (*names, outcome))
    seconds = config.get("score_seconds")
    found = [
        standing(
            score_of(config, name),
            means[:, place],
            means[:, -1],
            outcome,
            _number(seconds.get(name) if isinstance(seconds, Mapping) else None),
        )
        for place, name in enumerate(names)
    ]
    return sorted(found, key=lambda one: (-_or_lowest(one.agreement), names.index(one.score)))


def standing(
    info: ScoreInfo,
    score: NDArray[np.float64],
    outcome_values: NDArray[np.float64],
    outcome: str = DEFAULT_OUTCOME,
    seconds: float = math.nan,
) -> Standing:
    """Returns one score's standing from its values and the outcome's, float64[n] each."""
    correlation, interval = kendall(score, outcome_values), tau_interval(score, outcome_values)
    higher_is_better = outcome.endswith("_acc")
    sign = 1 if info.low_is_good != higher_is_better else -1
    ends = sorted((sign * interval.lower, sign * interval.upper))
    pick = oracle_regret(score if info.low_is_good else -score, outcome_values, higher_is_better)
    return Standing(
        score=info.name,
        title=info.title,
        low_is_good=info.low_is_good,
        outcome=outcome,
        n=correlation.n,
        tau=correlation.value,
        tau_lower=interval.lower,
        tau_upper=interval.upper,
        p=correlation.p,
        agreement=sign * correlation.value,
        agreement_lower=ends[0],
        agreement_upper=ends[1],
        regret=round(pick.regret, 12),  # means of fractions, as `mean_over_repeats` keeps them
        rank=pick.rank,
        seconds=seconds,
        note=interval.note or correlation.note,
    )


def over_runs(boards: Sequence[Sequence[Standing]]) -> list[Overall]:
    """Returns every score over several runs' leaderboards, the best predictor first.

    Runs count the same, whatever their size. Scores that not all runs measured are compared over
    different runs; `runs` says over how many.
    """
    names = list(dict.fromkeys(one.score for board in boards for one in board))
    found = []
    for name in names:
        own = [
            (one, max(_or_lowest(other.agreement) for other in board))
            for board in boards
            for one in board
            if one.score == name and math.isfinite(one.agreement)
        ]
        agreements = [one.agreement for one, _ in own]
        title = next(one.title for board in boards for one in board if one.score == name)
        found.append(
            Overall(
                score=name,
                title=title,
                runs=len(own),
                agreement=float(np.mean(agreements)) if own else math.nan,
                lowest=min(agreements, default=math.nan),
                highest=max(agreements, default=math.nan),
                wins=sum(one.agreement >= best for one, best in own),
                regret=float(np.mean([one.regret for one, _ in own])) if own else math.nan,
                seconds=sum(one.seconds for one, _ in own) if own else math.nan,
            )
        )
    return sorted(found, key=lambda one: (-_or_lowest(one.agreement), names.index(one.score)))


def score_of(config: Mapping[str, Any], name: str) -> ScoreInfo:
    """Returns what is known of a run's score: ours, or as the run recorded a researcher's own."""
    known = find_score(name)
    if known is not None:
        return known
    recorded = config.get("criteria")
    about = recorded.get(name) if isinstance(recorded, Mapping) else None
    if not isinstance(about, Mapping):
        return ScoreInfo(name, name, True, "")
    title = about.get("title")
    return ScoreInfo(
        name,
        title[:100] if isinstance(title, str) and title else name,
        about.get("low_is_good") is not False,
        "",
    )


def _number(value: Any) -> float:
    """Reads a number of a config, which may be a stranger's."""
    known = isinstance(value, int | float) and abs(value) < 1e15
    return float(value) if known else math.nan


def _or_lowest(agreement: float) -> float:
    return agreement if math.isfinite(agreement) else -math.inf
