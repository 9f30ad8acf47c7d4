"""The 36 published panels as values, and whether our tau differs from theirs.

Reading the one table given by path is all the file access there is in this package.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from scipy import stats

from engine.errors import UsageError
from engine.statistics.intervals import TauInterval
from engine.statistics.noise import tau_to_r

_PRINTED_ROUNDING = 0.005
"""The paper prints tau with two decimals: the true value is within half of the last one."""


@dataclass(frozen=True)
class PublishedPanel:
    """One panel of arXiv 2412.00143: pruned train loss against final test accuracy.

    Attributes:
        panel: the name of the authors' figure.
        model: model name.
        dataset: data set name.
        layers: pruned layers, names or patterns joined by "+".
        ratio: share of filters pruned in each of them.
        candidates: how many candidates were retrained.
        repeats: retrainings of each.
        kendall_tau: tau-b, printed with two decimals.
        p_value: printed with five decimals, so 0 means below 0.000005.
        anomaly_ratio: share of candidates more accurate than the oracle.
    """

    panel: str
    model: str
    dataset: str
    layers: str
    ratio: float
    candidates: int
    repeats: int
    kendall_tau: float
    p_value: float
    anomaly_ratio: float


@dataclass(frozen=True)
class PublishedComparison:
    """Our tau beside the published one.

    Attributes:
        ours: our tau with its interval.
        theirs: the published tau with an interval from its n (asymptotic, normal model).
        differs: whether the two intervals have nothing in common; None when ours is undefined.
        text: one plain sentence.
    """

    ours: TauInterval
    theirs: TauInterval
    differs: bool | None
    text: str


def read_published(path: Path) -> tuple[PublishedPanel, ...]:
    """Reads the shipped table.

    Raises:
        UsageError: the file is missing or is not that table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            panels = tuple(_panel(row) for row in csv.DictReader(file))
        if not panels:
            raise ValueError("no rows")
    except OSError as error:
        raise UsageError(
            f"cannot read {path} ({error.strerror}): reinstall to restore it"
        ) from error
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path} is not the table of published panels; reinstall to restore it"
        ) from error
    return panels


def find_panel(
    panels: Sequence[PublishedPanel],
    model: str,
    dataset: str,
    layers: Sequence[str],
    ratio: float,
    prunable: Sequence[str] = (),
) -> PublishedPanel | None:
    """The panel that studied the same model, data set, layers and ratio, if one did.

    Args:
        panels: the published panels.
        model: model name.
        dataset: data set name.
        layers: names or patterns of the pruned layers, in any order.
        ratio: share of filters pruned.
        prunable: all prunable layers of the model; with them "layer*.conv1" and the list of
            names it stands for are the same choice.
    """
    wanted = _expand(layers, prunable)
    for panel in panels:
        if (panel.model, panel.dataset) != (model, dataset) or abs(panel.ratio - ratio) > 1e-9:
            continue
        if _expand(panel.layers.split("+"), prunable) == wanted:
            return panel
    return None


def tau_variance(tau: float, n: int) -> float:
    """Variance of Kendall's tau of n normal pairs (Esscher 1924).

    At tau = 0 it is the exact 2 (2n + 5) / (9 n (n - 1)) of independence.
    """
    r = tau_to_r(tau)
    pair = 1 - tau**2
    single = 1 / 9 - (2 / np.pi * float(np.arcsin(r / 2))) ** 2
    return 2 / (n * (n - 1)) * (pair + 2 * (n - 2) * single)


def published_interval(panel: PublishedPanel, level: float = 0.95) -> TauInterval:
    """The published tau with the interval its n allows, widened by the printed rounding."""
    half = (
        float(stats.norm.ppf(0.5 + level / 2))
        * tau_variance(panel.kendall_tau, panel.candidates) ** 0.5
        + _PRINTED_ROUNDING
    )
    tau = panel.kendall_tau
    lower, upper = max(tau - half, -1.0), min(tau + half, 1.0)
    return TauInterval(tau, lower, upper, level, panel.candidates, "interval from n")


def compare_with_published(ours: TauInterval, panel: PublishedPanel) -> PublishedComparison:
    """Whether our tau differs from the published one.

    It differs only when the two intervals have no value in common: a difference beyond both.

    Args:
        ours: our tau with its interval.
        panel: the panel of the same study.
    """
    theirs = published_interval(panel, ours.level)
    pair = f"ours {_numbers(ours)}, published {_numbers(theirs)}"
    if not np.isfinite(ours.lower):
        return PublishedComparison(ours, theirs, None, f"No tau of ours yet: {pair}.")
    differs = ours.lower > theirs.upper or ours.upper < theirs.lower
    overlap = "The intervals overlap, so no difference from the paper is claimed"
    claim = "Differs from the paper" if differs else overlap
    return PublishedComparison(ours, theirs, differs, f"{claim}: {pair}.")


def _numbers(found: TauInterval) -> str:
    if not np.isfinite(found.tau):
        return f"undefined (n = {found.n})"
    return f"{found.tau:+.2f} [{found.lower:+.2f}, {found.upper:+.2f}] (n = {found.n})"


def _panel(row: dict[str, str]) -> PublishedPanel:
    return PublishedPanel(
        panel=row["panel"],
        model=row["model"],
        dataset=row["dataset"],
        layers=row["layers"],
        ratio=float(row["ratio"]),
        candidates=int(row["candidates"]),
        repeats=int(row["repeats"]),
        kendall_tau=float(row["kendall_tau"]),
        p_value=float(row["p_value"]),
        anomaly_ratio=float(row["anomaly_ratio"]),
    )


def _expand(layers: Sequence[str], prunable: Sequence[str]) -> frozenset[str]:
    chosen: set[str] = set()
    for layer in layers:
        matched = [name for name in prunable if fnmatchcase(name, layer)]
        chosen.update(matched or [layer])
    return frozenset(chosen)
