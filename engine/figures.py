"""Runs as figures for a paper, drawn like the published panels. Needs the `figure` extra."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from engine.analysis import RunAnalysis
from engine.comparison import beside_the_paper
from engine.errors import UsageError
from engine.statistics.verdict import TAU_THRESHOLD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Format = Literal["pdf", "svg", "png"]
Outcome = Literal["accuracy", "loss"]
FORMATS: tuple[Format, ...] = ("pdf", "svg", "png")
OUTCOMES: tuple[Outcome, ...] = ("accuracy", "loss")

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
_POINT, _ANOMALY, _ORACLE = "#009E73", "#D55E00", "#0072B2"
_SIZE_INCHES = (5.6, 4.4)
_DOTS_PER_INCH = 200
# So many points are one picture inside a vector file, or viewers choke on it.
_RASTER_FROM = 20_000


def draw_figure(run: RunAnalysis, kind: Format, outcome: Outcome = "accuracy") -> bytes:
    """Returns the scatter of pruned train loss against what it should predict, as a file.

    The oracle is a star with dashed lines through it; candidates that end better than it are
    anomalies and have their own colour. The same run gives the same bytes.

    Args:
        run: The run.
        kind: The format of the file.
        outcome: Best test accuracy, as in the published panels, or best test loss.

    Raises:
        UsageError: No candidate is finished, or matplotlib is not installed.
    """
    values = run.accuracy if outcome == "accuracy" else run.loss
    known = np.isfinite(run.score) & np.isfinite(values)
    if not known.any():
        raise UsageError(
            f"{run.id} has no finished candidate with a pruned train loss and a test {outcome} "
            "to draw."
        )
    return _file(lambda: _draw(run, values, known, outcome), kind, f"{run.id}/{outcome}")


def draw_taus(runs: Sequence[RunAnalysis], kind: Format) -> bytes:
    """Returns tau of several runs with their intervals below each other, as a file.

    Beside a run that the paper studied too stands the published tau with the interval that its n
    allows; the dotted line is the paper's threshold for accuracy.

    Args:
        runs: The runs, drawn from the top.
        kind: The format of the file.

    Raises:
        UsageError: No run has a tau, or matplotlib is not installed.
    """
    if not any(np.isfinite(run.by_accuracy.tau) for run in runs):
        raise UsageError("None of these runs has a tau yet; a figure needs one.")
    return _file(lambda: _draw_taus(runs), kind, "/".join(run.id for run in runs))


def _file(draw: Callable[[], Figure], kind: Format, salt: str) -> bytes:
    """Returns a drawing as a file, whatever the settings of this machine are."""
    matplotlib = _matplotlib()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Neither a person's settings nor a font without some letter of a title may change this.
        warnings.simplefilter("ignore")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": salt,
                "pdf.fonttype": 42,
                # Titles come from files; a dollar sign in one is no formula.
                "text.parse_math": False,
                "text.usetex": False,
            }
        )
        file = io.BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
        draw().savefig(file, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    return file.getvalue()


def _draw(run: RunAnalysis, values: Any, known: Any, outcome: Outcome) -> Figure:
    from matplotlib.figure import Figure

    x, y = run.score[known], values[known]
    oracle = int(np.argmin(x))
    better = y > y[oracle] if outcome == "accuracy" else y < y[oracle]
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    side = "above" if outcome == "accuracy" else "below"
    for chosen, colour, label in (
        (~better, _POINT, "candidate"),
        (better, _ANOMALY, f"anomaly: {side} the oracle, {100 * better.mean():.1f} %"),
    ):
        axes.scatter(
            x[chosen],
            y[chosen],
            s=20,
            c=colour,
            alpha=0.6,
            linewidths=0,
            label=label,
            rasterized=len(x) > _RASTER_FROM,
        )
    axes.axhline(y[oracle], color=_ORACLE, linestyle="--", linewidth=0.9, zorder=1)
    axes.axvline(x[oracle], color=_ORACLE, linestyle="--", linewidth=0.9, zorder=1)
    axes.plot(
        x[oracle],
        y[oracle],
        marker="*",
        markersize=17,
        color=_ORACLE,
        markeredgecolor="white",
        linestyle="none",
        label="oracle: lowest pruned train loss",
    )
    axes.set_xlabel("pruned train loss")
    axes.set_ylabel(f"best test {outcome}")
    axes.set_title(f"{_shortened(run.facts.title)}\n{_numbers(run, outcome)}", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, framealpha=0.85)
    return figure


def _draw_taus(runs: Sequence[RunAnalysis]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 1.4 + 0.42 * len(runs)), layout="constrained")
    axes = figure.add_subplot()
    papers = [beside_the_paper(run) for run in runs]
    theirs = [(place, paper.tau.theirs) for place, paper in enumerate(papers) if paper]
    ours = [(place, run.by_accuracy) for place, run in enumerate(runs)]
    for taus, offset, marker, colour, label in (
        (ours, 0.0, "o", _ORACLE, "this run"),
        (theirs, 0.22, "s", _ANOMALY, "published"),
    ):
        known = [(place, tau) for place, tau in taus if np.isfinite(tau.lower)]
        if known:
            values = np.array([tau.tau for _, tau in known])
            ends = np.array([(tau.lower, tau.upper) for _, tau in known]).T
            axes.errorbar(
                values,
                [place + offset for place, _ in known],
                xerr=np.abs(ends - values),
                fmt=marker,
                color=colour,
                markerfacecolor=colour if offset == 0 else "white",
                capsize=3,
                markersize=5,
                label=label,
            )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvline(-TAU_THRESHOLD, color="black", linewidth=0.8, linestyle=":")
    labels = [
        f"{_shortened(run.facts.title)}{f', {run.facts.wiring}' if run.facts.wiring else ''} "
        f"(n {run.by_accuracy.n:,})"
        for run in runs
    ]
    axes.set_yticks(range(len(runs)), labels, fontsize=8)
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.set_xlabel("Kendall's tau, pruned train loss and final accuracy", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, framealpha=0.85)
    return figure


def _numbers(run: RunAnalysis, outcome: Outcome) -> str:
    """Returns tau with its interval, p and n, as the title says them."""
    found = run.by_accuracy if outcome == "accuracy" else run.by_loss
    statistics = run.statistics
    p = statistics.kendall_p_acc if outcome == "accuracy" else statistics.kendall_p_loss
    if not np.isfinite(found.tau):
        return f"Kendall's tau is not defined (n = {found.n:,})"
    p_text = f"p = {p:.3f}" if p >= 0.001 else f"p = {p:.1e}"
    return (
        f"Kendall's tau {found.tau:+.2f} [{found.lower:+.2f}, {found.upper:+.2f}], {p_text}, "
        f"n = {found.n:,}"
    )


def _shortened(title: str) -> str:
    return title if len(title) <= 80 else f"{title[:77]}..."


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise UsageError(
            "Figures and reports need matplotlib; get it with `pip install 'oracle-tui[figure]'`."
        ) from None
    return matplotlib
