"""What a screen draws: immutable values that workers build from run files. No widget, no file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from oracle_tui.plots.line import LineData
    from oracle_tui.plots.scatter_data import ScatterData

#: Statuses of a run that an engine is working on, or is meant to.
LIVE = frozenset({"queued", "running", "paused"})

GLYPHS = {
    "queued": "…",
    "running": "▶",
    "paused": "‖",
    "stopped": "■",
    "stalled": "!",
    "failed": "✗",
    "done": "✓",
}


@dataclass(frozen=True)
class RunRow:
    """One line of the list of runs."""

    id: str
    path: Path
    model: str
    dataset: str
    layers: str
    ratio: str
    wiring: str
    status: str
    n_done: int
    n_total: int
    tau: float | None
    n: int
    created: float | None  # seconds since the epoch
    example: bool = False
    error: str = ""

    @property
    def words(self) -> str:
        """What the filter's free text is looked for in."""
        parts = (
            self.id, self.model, self.dataset, self.layers, self.ratio, self.wiring, self.status,
        )  # fmt: skip
        return " ".join((*parts, "example" if self.example else "")).lower()


@dataclass(frozen=True)
class Stage:
    """What the engine is doing at the moment, as far as it says."""

    name: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float | None = None
    eta: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Point:
    """One named candidate: its score and its outcome."""

    candidate: int
    score: float
    outcome: float


@dataclass(frozen=True)
class Axes:
    """The score and the outcome that a run is looked at by: names of the run's own columns."""

    score: str = "pruned_train_loss"
    outcome: str = "best_test_acc"

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher outcome is a better one: of accuracies, not of losses."""
        return self.outcome.endswith("_acc")

    @property
    def outcome_name(self) -> str:
        """The outcome in words."""
        return self.outcome.replace("_acc", "_accuracy").replace("_", " ")


@dataclass(frozen=True)
class Numbers:
    """The statistics over finished candidates, with their n.

    The oracle is the candidate of the lowest pruned train loss, whatever the axes are; tau, its
    interval, the anomalies and the best one are those of the axes.
    """

    n: int = 0
    tau: float | None = None
    p: float | None = None
    low: float | None = None
    high: float | None = None
    other: str = ""  # name of the other outcome of the same epochs, "" where there is none
    n_other: int = 0
    tau_other: float | None = None
    p_other: float | None = None
    anomaly: float | None = None
    anomaly_range: tuple[float, float] | None = None
    oracle: Point | None = None
    best: Point | None = None
    l1: Point | None = None
    base_accuracy: float | None = None
    note: str = ""


@dataclass(frozen=True)
class CandidateRows:
    """Finished and provisional rows of a run as columns, one entry a (candidate, repeat)."""

    candidate: np.ndarray
    repeat: np.ndarray
    score: np.ndarray
    best_acc: np.ndarray
    last_acc: np.ndarray
    best_loss: np.ndarray
    best_epoch: np.ndarray
    state: np.ndarray  # 0 scored, 1 in training, 2 done, 3 diverged


@dataclass(frozen=True)
class RunView:
    """Everything the run screen shows, of one moment."""

    id: str
    path: Path
    title: str
    status: str
    message: str
    n_done: int
    n_total: int
    stage: Stage
    numbers: Numbers
    scatter: ScatterData
    line: LineData
    rows: CandidateRows
    axes: Axes
    scores: tuple[str, ...]  # names of the run's scores
    version: int  # of the rows: another number whenever some came
    provisional: int
    repeats: int
    layers: tuple[str, ...]
    spec: tuple[tuple[str, str], ...]
    request: str = ""  # what an engine was asked for and has not done yet
    log: tuple[str, ...] = field(default=())

    @property
    def live(self) -> bool:
        """Whether an engine works on it, or is meant to."""
        return self.status in LIVE
