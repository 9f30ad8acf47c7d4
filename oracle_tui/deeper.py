"""What a run's tabs show beyond its first view, computed when asked for. No widget, no file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from oracle_tui.formats import escape, p_value, percent, plain, signed
from oracle_tui.plots.line import LineData
from oracle_tui.plots.series import Series, SeriesData
from oracle_tui.views import Axes

if TYPE_CHECKING:
    import numpy as np

    from engine.leaderboard import Standing
    from engine.statistics import NoiseCeiling
    from oracle_tui.view_parts import Finished

#: Columns of a learning curve, in the order of the run file, with their names.
CURVES = ("train loss", "train accuracy", "test loss", "test accuracy")

#: What the x axis of everything after epochs is.
EPOCHS = "epochs of retraining"

#: To so many decimals float32 holds an accuracy, and means over repeats differ where they differ.
ACCURACY_DECIMALS = 6

#: Picked candidates whose curves are drawn beside the oracle's; more would hide each other.
MOST_CURVES = 8


@dataclass(frozen=True)
class Agreement:
    """How early the final rank is known, and how well any score could do.

    Attributes:
        line: tau between the outcome after each epoch and the final one.
        line_words: a sentence about it.
        ceiling: the largest |tau| that a score can expect, None where it is not known.
        ceiling_words: a sentence about it.
    """

    line: LineData
    line_words: str
    ceiling: float | None
    ceiling_words: str


def agreement_of(rows: np.ndarray, curves: np.ndarray, done: Finished) -> Agreement:
    """Return tau over epochs, and the noise ceiling of the chosen outcome.

    Args:
        rows: rows of the store's dtype [m].
        curves: learning curves aligned with them [m, epochs, 4].
        done: the finished candidates' means.
    """
    import numpy as np

    from engine.statistics import epoch_agreement, noise_ceiling

    axes, repeats = done.axes, done.facts.repeats
    index = rows_of(rows, done.candidates[done.sampled], repeats)
    column = CURVES.index("test accuracy" if axes.higher_is_better else "test loss")
    if "train" in axes.outcome:
        column = CURVES.index("train loss")
    mean = curves[index, :, column].astype(np.float64).mean(axis=1)
    if "accuracy" in CURVES[column]:
        # Curves are float32: what is equal as a fraction must tie here, too.
        mean = mean.round(ACCURACY_DECIMALS)
    known = np.isfinite(mean).any(axis=0)
    found = epoch_agreement(mean[:, known], done.outcome[done.sampled])
    epochs = np.flatnonzero(known).astype(np.float64) + 1
    line = LineData(
        x=epochs, y=found.tau, low=found.lower, high=found.upper,
        x_name=EPOCHS, x_whole=True, bounds=(-1.0, 1.0),
    )  # fmt: skip
    ceiling = noise_ceiling(rows[axes.outcome][index])
    known_ceiling = ceiling.ceiling if math.isfinite(ceiling.ceiling) else None
    return Agreement(line, _epochs_words(line, done), known_ceiling, _ceiling_words(ceiling, done))


def rows_of(rows: np.ndarray, candidates: np.ndarray, repeats: int) -> np.ndarray:
    """Return the rows of finished candidates, as positions [n, repeats]."""
    import numpy as np

    order = np.lexsort((rows["repeat"], rows["candidate"]))
    inside = order[np.isin(rows["candidate"][order], candidates)]
    return inside.reshape(len(candidates), repeats)


def _epochs_words(line: LineData, done: Finished) -> str:
    import numpy as np

    if not np.isfinite(line.y).any():
        return "tau over epochs: needs at least 3 finished candidates with learning curves"
    early = line.x[np.flatnonzero(np.nan_to_num(line.y, nan=-1.0) >= 0.8)[:1]]
    reached = f"at least +0.80 from epoch {int(early[0])} on" if early.size else "below +0.80"
    then = "accuracy" if done.axes.higher_is_better else "loss"
    return (
        f"tau {signed(float(line.y[0]), 2)} after 1 epoch, {reached} "
        f"(n={int(done.sampled.sum()):,}; {then} then against {done.axes.outcome_name})"
    )


def _ceiling_words(found: NoiseCeiling, done: Finished) -> str:
    from engine.statistics import against_ceiling

    if not math.isfinite(found.ceiling):
        return f"╌ noise ceiling: {found.note}"
    tau = done.numbers.tau
    adjusted = against_ceiling(math.nan if tau is None else tau, found)
    known = math.isfinite(adjusted.share)
    share = f"; |tau| is {percent(adjusted.share)} of it" if known else ""
    return (
        f"╌ noise ceiling {plain(found.ceiling, 2)} [{plain(found.ceiling_lower, 2)}, "
        f"{plain(found.ceiling_upper, 2)}]: {found.repeats} repeats agree at tau "
        f"{signed(found.between_repeats, 2)}{share}"
    )


@dataclass(frozen=True)
class CurvesView:
    """Learning curves of a few candidates, the oracle's last (and so on top)."""

    data: SeriesData
    words: str


def curves_of(
    found: Mapping[int, np.ndarray],
    oracle: int | None,
    wanted: Sequence[int],
    column: int,
    glyphs: Mapping[int, str],
) -> CurvesView:
    """Return the learning curves of candidates as series.

    Args:
        found: mean curve over repeats [epochs, 4] of each candidate that has one.
        oracle: the oracle's number, if known.
        wanted: candidates that were asked for, picked ones first.
        column: place in `CURVES`.
        glyphs: the glyph of each candidate.
    """
    import numpy as np

    series, names = [], []
    for candidate, curve in found.items():
        y = curve[:, column].astype(np.float64)
        epochs = np.arange(1.0, len(y) + 1)
        series.append(Series(f"#{candidate}", glyphs[candidate], epochs, y))
        name = "oracle " if candidate == oracle else ""
        names.append(f"{glyphs[candidate]} {name}#{candidate}")
    left = len([c for c in wanted if c not in found])
    words = "  ".join(reversed(names)) or "no curves: move the cursor to a finished candidate"
    if list(found) == [oracle]:
        words += "   space on the scatter picks others to go beside it"
    if left and names:
        words += f"  ({len(names)} of {len(names) + left})"
    return CurvesView(SeriesData(tuple(series), joined=True, x_name=EPOCHS, x_whole=True), words)


@dataclass(frozen=True)
class Beside:
    """A run beside the paper's panel of the same study."""

    rows: tuple[tuple[str, str, str], ...]  # what, ours, the paper's
    intervals: tuple[tuple[str, float, float, float], ...]  # name, tau, lower, upper
    sentence: str
    otherwise: tuple[str, ...]


def beside_the_paper(config: Mapping[str, Any], rows: np.ndarray) -> Beside | None:
    """Return our pruned train loss against best accuracy beside the panel, if there is one."""
    from engine.analysis import analyse_rows
    from engine.comparison import beside_the_paper

    try:
        run = analyse_rows(config, rows, "")
    except (UsageError, KeyError):
        return None
    found = beside_the_paper(run)
    if found is None:
        return None
    panel, ours, theirs = found.panel, run.by_accuracy, found.tau.theirs
    shown = (
        ("tau", signed(ours.tau, 2), signed(panel.kendall_tau, 2)),
        ("95 %", f"{signed(ours.lower, 2)} to {signed(ours.upper, 2)}",
         f"{signed(theirs.lower, 2)} to {signed(theirs.upper, 2)}"),
        ("p", p_value(run.statistics.kendall_p_acc),
         "< 0.000005" if panel.p_value == 0 else p_value(panel.p_value)),
        ("anomalies", percent(run.anomalies.ratio), percent(panel.anomaly_ratio)),
        ("candidates", f"{ours.n:,}", f"{panel.candidates:,}"),
        ("repeats", str(run.facts.repeats), str(panel.repeats)),
    )  # fmt: skip
    return Beside(
        shown,
        (
            ("ours", ours.tau, ours.lower, ours.upper),
            ("paper", panel.kendall_tau, theirs.lower, theirs.upper),
        ),
        escape(found.tau.text),
        tuple(escape(each) for each in found.otherwise),
    )


@dataclass(frozen=True)
class Board:
    """Every score of a run as a predictor of one outcome, the best one first."""

    standings: tuple[Standing, ...]
    outcome: str


def board_of(config: Mapping[str, Any], rows: np.ndarray, outcome: str) -> Board:
    """Return the leaderboard of a run's scores; none where its config says too little."""
    from engine.leaderboard import leaderboard

    name = Axes(outcome=outcome).outcome_name
    try:
        return Board(tuple(leaderboard(config, rows, outcome)), name)
    except (UsageError, KeyError):
        return Board((), name)
