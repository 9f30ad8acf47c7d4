"""The verdict in plain words: what the published rule says, and whether the interval allows it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from engine.statistics.correlation import Correlation
from engine.statistics.intervals import TauInterval

TAU_THRESHOLD = 0.2
P_THRESHOLD = 0.05

Outcome = Literal["accuracy", "loss"]


class Finding(StrEnum):
    """What may be said of oracle pruning in one study."""

    INVALID = "invalid"
    """By the published rule, and the whole interval lies on that side of the threshold."""
    VALID = "valid"
    """By the published rule, and the whole interval lies on that side of the threshold."""
    UNDECIDED = "undecided"
    """The interval holds both answers, or there is nothing to judge yet."""


@dataclass(frozen=True)
class Verdict:
    """A finding with the sentence that explains it.

    Attributes:
        finding: what may be said.
        invalid_by_rule: what the published rule says of the estimate alone; None when undefined.
        text: one or two plain sentences with the numbers and the threshold.
        note: what a reader must know about the numbers; empty when nothing.
    """

    finding: Finding
    invalid_by_rule: bool | None
    text: str
    note: str


def invalid_by_rule(tau: float, p: float, outcome: Outcome) -> bool | None:
    """The published rule (arXiv 2412.00143) on the estimate alone; None when undefined.

    The oracle is invalid where tau > -0.2 for accuracy, tau < 0.2 for loss, or p > 0.05.
    """
    if not np.isfinite(tau) or not np.isfinite(p):
        return None
    wrong_side = tau > -TAU_THRESHOLD if outcome == "accuracy" else tau < TAU_THRESHOLD
    return bool(wrong_side or p > P_THRESHOLD)


def judge(
    correlation: Correlation, interval: TauInterval, outcome: Outcome = "accuracy"
) -> Verdict:
    """Words for a tau, never claiming more than its interval allows.

    Args:
        correlation: Kendall's tau and p of pruned train loss and the outcome.
        interval: its interval, from the same candidates.
        outcome: which outcome it is.
    """
    tau, p = correlation.value, correlation.p
    by_rule = invalid_by_rule(tau, p, outcome)
    sign, word = ("-", "above") if outcome == "accuracy" else ("", "below")
    threshold = f"{sign}{TAU_THRESHOLD}"
    if by_rule is None or not np.isfinite(interval.lower):
        why = correlation.note or interval.note or "not enough candidates"
        return Verdict(Finding.UNDECIDED, by_rule, f"Nothing to judge yet: {why}.", why)
    # Mirrored so that "valid" is always the low side.
    low, high = interval.lower, interval.upper
    if outcome == "loss":
        low, high = -high, -low
    if low > -TAU_THRESHOLD:
        finding = Finding.INVALID
    elif high <= -TAU_THRESHOLD and not by_rule:
        finding = Finding.VALID
    else:
        finding = Finding.UNDECIDED
    numbers = (
        f"tau {tau:+.2f} [{interval.lower:+.2f}, {interval.upper:+.2f}], {_p_text(p)}, "
        f"n = {correlation.n}"
    )
    rule = f"tau {word} {threshold} for {outcome}, or p above {P_THRESHOLD}, makes it invalid"
    text = f"{_claim(finding, by_rule, threshold)}: {numbers} (the paper's rule: {rule})."
    return Verdict(finding, by_rule, text, interval.note or correlation.note)


def _p_text(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def _claim(finding: Finding, by_rule: bool, threshold: str) -> str:
    if finding is Finding.INVALID:
        return "Oracle pruning is invalid here"
    if finding is Finding.VALID:
        return "Oracle pruning holds here"
    leaning = "invalid" if by_rule else "valid"
    return (
        f"Undecided, the estimate alone reads {leaning} but the interval reaches across {threshold}"
    )
