"""The parts of a run's view, as functions of its rows, its config and what its engine says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from oracle_tui.formats import escape
from oracle_tui.views import Axes, CandidateRows, Numbers, Point, Stage

#: The oracle is the candidate with the lowest of this score.
ORACLES_SCORE = "pruned_train_loss"

if TYPE_CHECKING:
    import numpy as np

    from oracle_tui.plots.scatter_data import ScatterData


class Finished:
    """What follows from the finished rows alone; computed once for each version of them."""

    def __init__(
        self, version: int, axes: Axes, config: Mapping[str, Any], rows: np.ndarray, l1: int | None
    ) -> None:
        import numpy as np

        from engine.summary import finished_means, searched

        self.version, self.axes = version, axes
        self.facts = Facts(config)
        other = other_outcome(axes.outcome)
        oracles = ORACLES_SCORE if ORACLES_SCORE in (rows.dtype.names or ()) else axes.score
        columns = (oracles, axes.score, axes.outcome, other or axes.outcome)
        self.candidates, means = finished_means(rows, self.facts.repeats, columns)
        self.loss, self.score, self.outcome, self.other = means.T
        # A search's picks are drawn, but the statistics are those of the random sample.
        self.sampled = ~np.isin(self.candidates, searched(config))
        self.numbers = numbers_of(self, other, config, l1)


class Facts:
    """What a config says about its study; a spec of a stranger may be anything."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        from engine.facts import facts_of, in_words

        try:
            facts = facts_of(config)
        except UsageError as error:
            self.title, self.repeats = escape(str(config.get("run_id", ""))), 1
            self.lines: tuple[tuple[str, str], ...] = (("spec", escape(str(error))),)
            return
        self.repeats = facts.repeats
        released = " · released wiring" if facts.wiring == "released" else ""
        self.title = escape(facts.title) + released
        known = {key: value for key, value in facts.columns.items() if value is not None}
        lines = [(key, escape(str(value))) for key, value in known.items()]
        names = config.get("score_names")
        if isinstance(names, list):
            lines.append(("scores", escape(", ".join(map(str, names)))))
        for key in ("device", "created", "run_id"):
            if config.get(key) is not None:
                lines.append((key, escape(str(config[key]))))
        environment = config.get("environment")
        if isinstance(environment, dict):
            told = dict(lines)
            lines += [
                (escape(str(key)), text)
                for key, value in environment.items()
                if (text := escape(in_words(value))) != told.get(key)
            ]
        self.lines = tuple((key.replace("_", " "), text) for key, text in lines)


def stage_of(live: Mapping[str, Any]) -> Stage:
    """Return what the engine says it is doing; the store has checked and bounded it."""

    def number(key: str) -> float | None:
        value = live.get(key)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    return Stage(
        name=escape(str(live.get("stage", ""))),
        done=int(number("stage_done") or 0),
        total=int(number("stage_total") or 0),
        unit=escape(str(live.get("stage_unit", ""))),
        rate=number("rate"),
        eta=number("eta_seconds"),
        note=escape(str(live.get("note", "") or "")),
    )


def other_outcome(outcome: str) -> str:
    """Return the loss that belongs to an accuracy, or the other way round; "" for the rest."""
    if outcome.endswith("_test_acc"):
        return outcome.removesuffix("acc") + "loss"
    return outcome.removesuffix("loss") + "acc" if outcome.endswith("_test_loss") else ""


def numbers_of(done: Finished, other: str, config: Mapping[str, Any], l1: int | None) -> Numbers:
    """Return the statistics over finished candidates.

    Args:
        done: their means over repeats.
        other: name of the second outcome, "" where there is none.
        config: the run's config.
        l1: the candidate that L1-norm pruning would choose, if known.
    """
    from engine.statistics import anomaly_ratio, kendall, oracle_regret, tau_interval

    better, kept = done.axes.higher_is_better, done.sampled
    candidates, loss = done.candidates[kept], done.loss[kept]
    score, outcome = done.score[kept], done.outcome[kept]
    tau, interval = kendall(score, outcome), tau_interval(score, outcome)
    ratio = anomaly_ratio(loss, outcome, better)
    regret = oracle_regret(loss, outcome, better)
    second = kendall(score, done.other[kept]) if other else None

    def point(index: int) -> Point | None:
        if index < 0:
            return None
        return Point(int(candidates[index]), float(score[index]), float(outcome[index]))

    # L1's choice may have been added to the sample by a search.
    baseline = place(done.candidates, l1)
    l1_point = None
    if l1 is not None and baseline >= 0:
        l1_point = Point(l1, float(done.score[baseline]), float(done.outcome[baseline]))
    base = config.get("base_test_acc")
    return Numbers(
        n=tau.n,
        tau=tau.value,
        p=tau.p,
        low=interval.lower,
        high=interval.upper,
        other=other,
        n_other=second.n if second else 0,
        tau_other=second.value if second else None,
        p_other=second.p if second else None,
        anomaly=ratio.ratio,
        anomaly_range=(ratio.lowest, ratio.highest) if ratio.n else None,
        oracle=point(regret.oracle),
        best=point(regret.best),
        l1=l1_point,
        base_accuracy=float(base) if isinstance(base, int | float) else None,
        note=escape(tau.note),
    )


def place(candidates: np.ndarray, candidate: int | None) -> int:
    """Position of a candidate among the finished ones, -1 where it is not."""
    if candidate is None:
        return -1
    where = (candidates == candidate).nonzero()[0]
    return int(where[0]) if len(where) else -1


def scatter_of(rows: np.ndarray, done: Finished, provisional: list[Any]) -> ScatterData:
    """Return finished candidates, and those in training at their outcome so far."""
    import numpy as np

    from oracle_tui.plots.scatter_data import ScatterData

    candidates, numbers = done.candidates, done.numbers
    outcome, axes = done.outcome, done.axes

    def index(point: Point | None) -> int | None:
        return None if point is None else place(candidates, point.candidate)

    oracle, best, l1 = index(numbers.oracle), index(numbers.best), index(numbers.l1)
    anomaly = np.zeros(len(candidates), bool)
    if oracle is not None:
        least = outcome[oracle]
        anomaly = outcome > least if axes.higher_is_better else outcome < least
    extra, extra_x, extra_y = _provisional(rows, candidates, provisional, axes)
    return ScatterData(
        candidate=candidates.astype(np.int64),
        x=done.score,
        y=outcome,
        anomaly=anomaly,
        oracle=oracle,
        best=best,
        l1=l1,
        provisional_candidate=extra,
        provisional_x=extra_x,
        provisional_y=extra_y,
        x_name=score_name(axes.score),
        y_name=axes.outcome_name,
    )


def score_name(score: str) -> str:
    """A score in words."""
    return escape(score).replace("_acc", "_accuracy").replace("_", " ")


def _provisional(
    rows: np.ndarray, finished: np.ndarray, live: list[Any], axes: Axes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates not finished yet: mean outcome over repeats that ended or are in training.

    What an engine tells of a training are test accuracy and test loss of its last epoch.
    """
    import numpy as np

    if "_test_" not in axes.outcome:
        live = []
    told = 3 if axes.higher_is_better else 4
    in_training = np.array(
        [(entry[0], entry[1], entry[told]) for entry in live if len(entry) > told], np.float64
    ).reshape(-1, 3)
    open_rows = rows[~np.isin(rows["candidate"], finished)]
    ended = open_rows[open_rows["status"] == 2]
    key = in_training[:, 0] * 65_536 + in_training[:, 1]
    ended_key = ended["candidate"] * 65_536.0 + ended["repeat"]
    fresh = in_training[~np.isin(key, ended_key) & ~np.isin(in_training[:, 0], finished)]
    ids = np.concatenate([ended["candidate"].astype(np.float64), fresh[:, 0]])
    values = np.concatenate([ended[axes.outcome], fresh[:, 2]])
    unique, where = np.unique(ids, return_inverse=True)
    if unique.size == 0:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    y = np.bincount(where, values) / np.bincount(where)
    scored, first = np.unique(open_rows["candidate"], return_index=True)
    position = np.searchsorted(scored, unique)
    position = np.minimum(position, max(len(scored) - 1, 0))
    has_score = scored[position] == unique if len(scored) else np.zeros(unique.size, dtype=bool)
    x = np.full(unique.size, np.nan)
    if len(scored):
        x[has_score] = open_rows[axes.score][first[position[has_score]]]
    keep = np.isfinite(x) & np.isfinite(y)
    return unique[keep].astype(np.int64), x[keep], y[keep]


def candidate_rows(rows: np.ndarray, live: list[Any], score: str) -> CandidateRows:
    """Return every (candidate, repeat) as columns, those in training at their outcome so far."""
    import numpy as np

    state = np.where(rows["status"] == 1, 0, rows["status"]).astype(np.int64)
    best_acc = rows["best_test_acc"].copy()
    best_loss = rows["best_test_loss"].copy()
    epoch = rows["best_epoch"].astype(np.int64)
    known = {(int(r["candidate"]), int(r["repeat"])): i for i, r in enumerate(rows)} if live else {}
    for entry in live:
        if len(entry) < 5:
            continue
        index = known.get((int(entry[0]), int(entry[1])))
        if index is not None and state[index] == 0:
            state[index] = 1
            epoch[index], best_acc[index], best_loss[index] = entry[2], entry[3], entry[4]
    return CandidateRows(
        candidate=rows["candidate"].astype(np.int64),
        repeat=rows["repeat"].astype(np.int64),
        score=rows[score].copy(),
        best_acc=best_acc,
        last_acc=rows["last_test_acc"].copy(),
        best_loss=best_loss,
        best_epoch=epoch,
        state=state,
    )


def finishing_order(rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Positions of finished candidates in the order in which their last repeat ended.

    A pack ends at one moment. Its candidates follow each other as if drawn, the same way each time:
    by number they would share their first filters, and the first n would be no random part.
    """
    import numpy as np

    ended = np.full(len(candidates), -np.inf)
    place = np.searchsorted(candidates, rows["candidate"])
    inside = place < len(candidates)
    inside[inside] &= candidates[place[inside]] == rows["candidate"][inside]
    np.maximum.at(ended, place[inside], np.nan_to_num(rows["finished_at"][inside]))
    drawn = candidates.astype(np.uint64) + np.uint64(1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        drawn = (drawn ^ (drawn >> np.uint64(shift))) * np.uint64(factor)  # Steele et al. 2014
    return np.lexsort((drawn ^ (drawn >> np.uint64(31)), ended))
