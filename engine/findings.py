"""What may be said of a run beyond its summary: intervals, the anomalies' range, the noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.facts import StudyFacts, facts_of
from engine.scores import BASE_SCORES
from engine.space import CandidateSpace
from engine.statistics import (
    NoiseCeiling,
    RenamedTau,
    against_ceiling,
    anomaly_ratio,
    bootstrap_tau,
    judge,
    kendall,
    noise_ceiling,
    oracle_regret,
    renamed_tau,
    tau_interval,
    top_overlap,
)
from engine.study_rules import SEARCHES
from engine.summary import (
    finished_means,
    finished_rows,
    plain_scalars,
    sampled_rows,
    searched,
)

TOP = 10
# Among more candidates than these L1's choice is not looked for.
_L1_AMONG = 20_000


def findings_of(config: Mapping[str, Any], status: str, rows: NDArray[np.void]) -> dict[str, Any]:
    """Returns what the statistics say of the best-epoch outcomes, every value a JSON scalar.

    The bootstrap, and the p of renamed filters, come with the end of a run: until then the live
    interval stands alone. What does not exist is None.

    Args:
        config: The run's config.
        status: The run's status.
        rows: Rows of the store's dtype.

    Raises:
        UsageError: The config holds no valid spec or origin.
    """
    facts = facts_of(config)
    columns = (BASE_SCORES[0], "best_test_acc", "best_test_loss")
    baseline = _l1_findings(config, facts, rows)
    rows = sampled_rows(config, rows)
    candidates, means = finished_means(rows, facts.repeats, columns)
    score, accuracy, loss = means.T
    correlation, interval = kendall(score, accuracy), tau_interval(score, accuracy)
    by_loss = tau_interval(score, loss)
    verdict = judge(correlation, interval)
    regret = oracle_regret(score, accuracy)
    anomalies = anomaly_ratio(score, accuracy)
    top = top_overlap(score, accuracy, TOP)
    ceiling = ceiling_of(rows, facts.repeats, "best_test_acc")
    adjusted = against_ceiling(correlation.value, ceiling)
    record: dict[str, Any] = {
        "tau_acc_lower": interval.lower,
        "tau_acc_upper": interval.upper,
        "tau_loss_lower": by_loss.lower,
        "tau_loss_upper": by_loss.upper,
        "tau_acc_bootstrap_lower": None,
        "tau_acc_bootstrap_upper": None,
        "interval_note": interval.note,
        "renamed_p_acc": None,
        "renamings": None,
        "verdict": str(verdict.finding),
        "verdict_text": verdict.text,
        "anomaly_acc_lowest": anomalies.lowest,
        "anomaly_acc_highest": anomalies.highest,
        "oracle_regret_acc": regret.regret,
        "oracle_rank_acc": regret.rank or None,
        "top_k": top.k,
        "top_shared": top.shared,
        "noise_between_repeats": ceiling.between_repeats,
        "noise_ceiling": ceiling.ceiling,
        "noise_ceiling_lower": ceiling.ceiling_lower,
        "noise_ceiling_upper": ceiling.ceiling_upper,
        "noise_free_tau_acc": adjusted.noise_free,
        "noise_note": adjusted.note,
        **baseline,
        "paired_with": _other_wiring(config),
    }
    if status == "done":
        report = bootstrap_tau(score, accuracy)
        record["tau_acc_bootstrap_lower"] = report.lower
        record["tau_acc_bootstrap_upper"] = report.upper
        renamed = renamed_tau_of(facts, candidates, score, accuracy)
        record["renamed_p_acc"], record["renamings"] = renamed.p, renamed.renamings or None
    return plain_scalars(record)


def search_findings(config: Mapping[str, Any], rows: NDArray[np.void]) -> list[dict[str, Any]]:
    """Returns, for each search of a run, its pick, its loss beside the sample's, and its outcome.

    `test_acc` and `rank` (1 is best, among all finished candidates) are None until the pick's
    retraining has ended.

    Raises:
        UsageError: The config holds no valid spec or origin.
    """
    recorded = config.get("search")
    if not isinstance(recorded, list):
        return []
    repeats = facts_of(config).repeats
    candidates, means = finished_means(rows, repeats, ("best_test_acc",))
    accuracy = dict(zip(candidates.tolist(), means[:, 0].tolist(), strict=True))
    found = []
    for one in recorded:
        # A config may be a stranger's: what is no number is not known.
        if not (isinstance(one, Mapping) and one.get("method") in SEARCHES):
            continue
        record = {name: _number(one.get(name)) for name in _SEARCHED}
        own = accuracy.get(record["candidate"])
        own = None if own is None or math.isnan(own) else own  # its retraining diverged
        rank = None if own is None else 1 + sum(other > own for other in accuracy.values())
        found.append({"method": one["method"], **record, "test_acc": own, "rank": rank})
    return found


_SEARCHED = (
    "candidate",
    "pruned_train_loss",
    "lowest_loss",
    "lowest_is_candidate",
    "sampled",
    "best_of_sample",
    "best_of_sample_loss",
    "lower_by",
    "evaluated",
    "seconds",
)


def _number(value: Any) -> Any:
    known = isinstance(value, int | float) and abs(value) < 1e15
    return value if known else None


def _l1_findings(
    config: Mapping[str, Any], facts: StudyFacts, rows: NDArray[np.void]
) -> dict[str, Any]:
    """Returns the paper's baseline, L1-norm pruning's choice, where it is a finished candidate.

    Its rank is by best test accuracy among all finished candidates; 1 is best.
    """
    columns = (BASE_SCORES[0], "best_test_acc")
    candidates, means = finished_means(rows, facts.repeats, columns)
    chosen = _l1_choice(config, facts, candidates)
    place = np.flatnonzero(candidates == (-1 if chosen is None else chosen))
    loss, own = means[place[0]] if len(place) else (math.nan, math.nan)
    better = int((means[:, 1] > own).sum())
    return {
        "l1_candidate": chosen if len(place) else None,
        "l1_pruned_train_loss": loss,
        "l1_test_acc": own,
        "l1_rank_acc": 1 + better if math.isfinite(own) else None,
    }


def _l1_choice(
    config: Mapping[str, Any], facts: StudyFacts, candidates: NDArray[np.uint32]
) -> int | None:
    """Returns the candidate that L1-norm pruning of the base network chooses, if it was studied."""
    wanted, recorded = config.get("l1_pruned"), config.get("search")
    if not isinstance(wanted, list) or facts.spec is None:
        return None
    for one in recorded if isinstance(recorded, list) else ():
        if isinstance(one, Mapping) and one.get("pruned") == wanted:
            return next((c for c in searched(config) if c == one.get("candidate")), None)
    space = facts.spec.space
    if isinstance(space, CandidateSpace) and len(space) <= _L1_AMONG:
        inside = (int(c) for c in candidates if c < len(space))
        return next((c for c in inside if [list(layer) for layer in space[c]] == wanted), None)
    return None


def _other_wiring(config: Mapping[str, Any]) -> str | None:
    """Returns the id of the run that differs from this one in the wiring only, if it was made."""
    pair = config.get("wiring_pair")
    ids = list(pair.values()) if isinstance(pair, Mapping) else []
    others = [one for one in ids if isinstance(one, str) and one != config["run_id"]]
    return others[0] if len(ids) == 2 and others else None


def renamed_tau_of(
    facts: StudyFacts,
    candidates: NDArray[np.uint32],
    score: NDArray[np.float64],
    outcome: NDArray[np.float64],
) -> RenamedTau:
    """Returns tau beside those of randomly renamed filters, where every candidate was studied.

    Args:
        facts: The study.
        candidates: Ids of the n finished candidates.
        score: Their score, (n,).
        outcome: Their outcome, (n,).
    """
    space = facts.spec.space if facts.spec is not None else None
    if not isinstance(space, CandidateSpace) or not len(candidates) == len(space) == space.total:
        note = "filters can be renamed only where every candidate there is has an outcome"
        return RenamedTau(math.nan, math.nan, math.nan, 0, len(candidates), note)
    lost = np.zeros((len(candidates), sum(space.filters)), dtype=bool)
    starts = np.cumsum((0, *space.filters[:-1])).tolist()
    for row, candidate in zip(lost, candidates.tolist(), strict=True):
        for start, layer in zip(starts, space[candidate], strict=True):
            row[[start + one for one in layer]] = True
    return renamed_tau(score, outcome, lost, space.filters)


def ceiling_of(rows: NDArray[np.void], repeats: int, outcome: str) -> NoiseCeiling:
    """Returns the noise ceiling of an outcome over the candidates with every repeat finished."""
    done = finished_rows(rows)
    done = done[np.lexsort((done["repeat"], done["candidate"]))]
    candidates, counts = np.unique(done["candidate"], return_counts=True)
    whole = np.isin(done["candidate"], candidates[counts == repeats])
    values = done[outcome][whole].astype(np.float64)
    if len(values) % repeats:
        raise UsageError("A candidate of this run has a repeat twice.")
    return noise_ceiling(values.reshape(-1, repeats))
