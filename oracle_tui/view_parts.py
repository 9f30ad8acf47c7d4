"""The parts of a run's view, as functions of its rows, its config and what its engine says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from oracle_tui.formats import escape
from oracle_tui.views import CandidateRows, Numbers, Point, Stage

if TYPE_CHECKING:
    import numpy as np

    from oracle_tui.plots.scatter import ScatterData


class Finished:
    """What follows from the finished rows alone; computed once for each version of them."""

    def __init__(
        self, version: int, config: Mapping[str, Any], rows: np.ndarray, l1: int | None
    ) -> None:
        import numpy as np

        from engine.summary import finished_means, searched

        self.version = version
        self.facts = Facts(config)
        columns = ("pruned_train_loss", "best_test_acc", "best_test_loss")
        self.candidates, self.means = finished_means(rows, self.facts.repeats, columns)
        # A search's picks are drawn, but the statistics are those of the random sample.
        self.sampled = ~np.isin(self.candidates, searched(config))
        sample, means = self.candidates[self.sampled], self.means[self.sampled]
        self.numbers = numbers_of(sample, means, config, l1)


class Facts:
    """What a config says about its study; a spec of a stranger may be anything."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        from engine.spec import StudySpec
        from engine.summary import spec_columns

        try:
            spec = StudySpec.from_json(config["spec"])
        except (UsageError, KeyError, TypeError) as error:
            self.title, self.repeats = escape(str(config.get("run_id", ""))), 1
            self.lines: tuple[tuple[str, str], ...] = (("spec", escape(str(error))),)
            return
        self.repeats = spec.repeats
        self.title = " · ".join(
            (spec.model_info.title, spec.dataset, spec.layers_text, spec.ratio_text)
        )
        lines = [(key, escape(str(value))) for key, value in spec_columns(spec).items()]
        for key in ("device", "created", "run_id"):
            if config.get(key) is not None:
                lines.append((key, escape(str(config[key]))))
        environment = config.get("environment")
        if isinstance(environment, dict):
            lines += [(escape(str(k)), escape(str(v))) for k, v in environment.items()]
        self.lines = tuple((key.replace("_", " "), value) for key, value in lines)


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


def numbers_of(
    candidates: np.ndarray, means: np.ndarray, config: Mapping[str, Any], l1: int | None
) -> Numbers:
    """Return the statistics over finished candidates.

    Args:
        candidates: ids [n], ascending.
        means: pruned train loss, best test accuracy and loss over repeats [n, 3].
        config: the run's config.
        l1: the candidate that L1-norm pruning would choose, if known.
    """
    from engine.statistics import anomaly_ratio, summarise, tau_interval

    score, accuracy, loss = means.T
    found = summarise(score, accuracy, loss)
    interval = tau_interval(score, accuracy)
    ratio = anomaly_ratio(score, accuracy)

    def point(index: int) -> Point | None:
        if index < 0:
            return None
        return Point(int(candidates[index]), float(score[index]), float(accuracy[index]))

    base = config.get("base_test_acc")
    return Numbers(
        n=found.n,
        tau_acc=found.kendall_tau_acc,
        p_acc=found.kendall_p_acc,
        low=interval.lower,
        high=interval.upper,
        tau_loss=found.kendall_tau_loss,
        p_loss=found.kendall_p_loss,
        anomaly=ratio.ratio,
        anomaly_range=(ratio.lowest, ratio.highest) if ratio.n else None,
        oracle=point(found.oracle),
        best=point(found.best),
        l1=point(place(candidates, l1)),
        base_accuracy=float(base) if isinstance(base, int | float) else None,
        note=escape(found.note),
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

    from oracle_tui.plots.scatter import ScatterData

    candidates, numbers = done.candidates, done.numbers
    score, accuracy = done.means[:, 0], done.means[:, 1]

    def index(point: Point | None) -> int | None:
        return None if point is None else place(candidates, point.candidate)

    oracle, best, l1 = index(numbers.oracle), index(numbers.best), index(numbers.l1)
    anomaly = np.zeros(len(candidates), bool)
    if oracle is not None:
        anomaly = accuracy > accuracy[oracle]
    extra, extra_x, extra_y = _provisional(rows, candidates, provisional)
    return ScatterData(
        candidate=candidates.astype(np.int64),
        x=score,
        y=accuracy,
        anomaly=anomaly,
        oracle=oracle,
        best=best,
        l1=l1,
        provisional_candidate=extra,
        provisional_x=extra_x,
        provisional_y=extra_y,
    )


def _provisional(
    rows: np.ndarray, finished: np.ndarray, live: list[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates not finished yet: mean accuracy over repeats that ended or are in training."""
    import numpy as np

    in_training = np.array(
        [(entry[0], entry[1], entry[3]) for entry in live if len(entry) >= 4], np.float64
    ).reshape(-1, 3)
    open_rows = rows[~np.isin(rows["candidate"], finished)]
    ended = open_rows[open_rows["status"] == 2]
    key = in_training[:, 0] * 65_536 + in_training[:, 1]
    ended_key = ended["candidate"] * 65_536.0 + ended["repeat"]
    fresh = in_training[~np.isin(key, ended_key) & ~np.isin(in_training[:, 0], finished)]
    ids = np.concatenate([ended["candidate"].astype(np.float64), fresh[:, 0]])
    values = np.concatenate([ended["best_test_acc"], fresh[:, 2]])
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
        x[has_score] = open_rows["pruned_train_loss"][first[position[has_score]]]
    keep = np.isfinite(x) & np.isfinite(y)
    return unique[keep].astype(np.int64), x[keep], y[keep]


def candidate_rows(rows: np.ndarray, live: list[Any]) -> CandidateRows:
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
        score=rows["pruned_train_loss"].copy(),
        best_acc=best_acc,
        last_acc=rows["last_test_acc"].copy(),
        best_loss=best_loss,
        best_epoch=epoch,
        state=state,
    )


def finishing_order(rows: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Positions of finished candidates in the order in which their last repeat ended."""
    import numpy as np

    ended = np.full(len(candidates), -np.inf)
    place = np.searchsorted(candidates, rows["candidate"])
    inside = place < len(candidates)
    inside[inside] &= candidates[place[inside]] == rows["candidate"][inside]
    np.maximum.at(ended, place[inside], np.nan_to_num(rows["finished_at"][inside]))
    return np.argsort(ended, kind="stable")
