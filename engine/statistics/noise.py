"""The noise ceiling: how well any score could do, given how well repeats agree with each other.

Assumptions, all of the classical test model (Lord and Novick 1968): an outcome is the candidate's
true value plus noise; the noise is independent between repeats and of one size; true values and
noise are roughly normal. The score is taken as it is: noise of its own counts against the score.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from engine.statistics.concordance import PairCounts, PairOrder
from engine.statistics.intervals import (
    SMALL_SAMPLE,
    influence,
    interval_from_counts,
    least_variance,
)
from engine.statistics.pairs import MINIMUM_CANDIDATES, FloatArray, is_constant, join_notes

NAN = float("nan")


@dataclass(frozen=True)
class NoiseCeiling:
    """What repeats of the same candidates say about the largest tau a score can reach.

    Attributes:
        between_repeats: mean tau-b over all pairs of repeats; NaN when undefined.
        lower: lower end of its interval.
        upper: upper end.
        reliability: of the mean over all repeats, 0 to 1 (Spearman-Brown): the share of its
            variance that is the candidates' own.
        ceiling: the largest |tau| with the mean over repeats that a noise-free score can expect.
        ceiling_lower: the ceiling at the lower end.
        ceiling_upper: the ceiling at the upper end.
        repeats: repeats per candidate.
        n: candidates with all repeats finite.
        level: nominal coverage of the interval.
        note: what a reader must know; empty when nothing.
    """

    between_repeats: float
    lower: float
    upper: float
    reliability: float
    ceiling: float
    ceiling_lower: float
    ceiling_upper: float
    repeats: int
    n: int
    level: float
    note: str


@dataclass(frozen=True)
class AdjustedTau:
    """An observed tau read against its ceiling.

    Attributes:
        observed: tau of a score and the mean outcome over repeats.
        noise_free: the tau the same score would have with noise-free outcomes; -1 or 1 when the
            observed tau is at the ceiling or beyond.
        share: |observed| / ceiling; may exceed 1 by chance. NaN when the ceiling is 0.
        note: what a reader must know; empty when nothing.
    """

    observed: float
    noise_free: float
    share: float
    note: str


def tau_to_r(tau: float) -> float:
    """Pearson's r of a normal pair with this tau: sin(pi tau / 2) (Greiner 1909)."""
    return float(np.sin(np.pi * tau / 2))


def r_to_tau(r: float) -> float:
    """Tau of a normal pair with this r: 2 / pi arcsin r (Greiner 1909)."""
    return float(2 / np.pi * np.arcsin(np.clip(r, -1.0, 1.0)))


def reliability_of_mean(single: float, repeats: int) -> float:
    """Reliability of the mean over repeats from that of one (Spearman 1910, Brown 1910)."""
    single = min(max(single, 0.0), 1.0)
    return repeats * single / (1 + (repeats - 1) * single)


def ceiling_from_tau(between_repeats: float, repeats: int) -> float:
    """The largest tau with a mean over repeats that a noise-free score can expect.

    Tau between repeats gives the reliability of one repeat (Greiner), Spearman-Brown that of the
    mean; no score correlates with a measurement beyond the root of its reliability (Spearman
    1904), and Greiner's relation leads back to tau. A tau of 0 or less gives 0.
    """
    if not np.isfinite(between_repeats):
        return NAN
    return r_to_tau(float(np.sqrt(reliability_of_mean(tau_to_r(between_repeats), repeats))))


def noise_ceiling(outcomes: ArrayLike, level: float = 0.95) -> NoiseCeiling:
    """Measures agreement between repeats and the ceiling it implies.

    Args:
        outcomes: float[n, R], one column per repeat; candidates with a NaN are dropped.
        level: nominal coverage of the interval over candidates (Hajek projection).

    Raises:
        ValueError: not a two-dimensional array.
    """
    table = np.asarray(outcomes, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"expected [candidates, repeats], got shape {table.shape}")
    kept = table[np.isfinite(table).all(axis=1)]
    n, repeats = kept.shape
    dropped = len(table) - n
    note = f"{dropped} candidates without all repeats finite dropped" if dropped else ""
    trouble = _trouble(kept)
    if trouble:
        note = join_notes((note, trouble))
        return NoiseCeiling(NAN, NAN, NAN, NAN, NAN, NAN, NAN, repeats, n, level, note)
    counts = [
        PairOrder(kept[:, i], kept[:, j]).counts() for i, j in combinations(range(repeats), 2)
    ]
    tau = float(np.mean([c.tau for c in counts]))
    if all(abs(c.tau) > 1 - 1e-12 for c in counts) and abs(tau) > 1 - 1e-12:
        # No spread to be seen; the exact interval of one pair of repeats is wide, and honest.
        _, lower, upper, few = interval_from_counts(counts[0], level)
        note = join_notes((note, few))
    else:
        half = float(stats.norm.ppf(0.5 + level / 2)) * _standard_error(counts)
        lower, upper = max(tau - half, -1.0), min(tau + half, 1.0)
        few = f"fewer than {SMALL_SAMPLE} candidates: a rough interval" if n < SMALL_SAMPLE else ""
        note = join_notes((note, few))
    if lower <= 0:
        note = join_notes((note, "repeats may agree no better than chance"))
    return NoiseCeiling(
        between_repeats=tau,
        lower=lower,
        upper=upper,
        reliability=reliability_of_mean(tau_to_r(tau), repeats),
        ceiling=ceiling_from_tau(tau, repeats),
        ceiling_lower=ceiling_from_tau(lower, repeats),
        ceiling_upper=ceiling_from_tau(upper, repeats),
        repeats=repeats,
        n=n,
        level=level,
        note=note,
    )


def against_ceiling(observed: float, ceiling: NoiseCeiling) -> AdjustedTau:
    """What an observed tau means under a ceiling (Spearman's correction for attenuation, 1904).

    Args:
        observed: tau of a score and the mean outcome over the same repeats.
        ceiling: from the same candidates.
    """
    if not np.isfinite(observed) or not np.isfinite(ceiling.ceiling):
        return AdjustedTau(observed, NAN, NAN, join_notes((ceiling.note, "no ceiling to compare")))
    if ceiling.ceiling == 0:
        note = "repeats agree no better than chance: no score can be judged by these outcomes"
        return AdjustedTau(observed, NAN, NAN, note)
    r = tau_to_r(observed) / tau_to_r(ceiling.ceiling)
    beyond = "the observed tau is beyond its ceiling, by chance or because a noise assumption fails"
    note = join_notes((ceiling.note, beyond if abs(r) > 1 else ""))
    return AdjustedTau(observed, r_to_tau(r), abs(observed) / ceiling.ceiling, note)


def _trouble(kept: FloatArray) -> str:
    n, repeats = kept.shape
    if repeats < 2:
        return "a noise ceiling needs at least 2 repeats"
    if n < MINIMUM_CANDIDATES:
        return f"{n} of at least {MINIMUM_CANDIDATES} candidates"
    if any(is_constant(kept[:, r]) for r in range(repeats)):
        return "all outcomes of a repeat are equal"
    return ""


def _standard_error(counts: list[PairCounts]) -> float:
    # Pairs of repeats share candidates: average the projections first, then take the variance.
    # What single pairs cause is theirs alone, and falls with the number of averaged taus.
    projection = np.mean([influence(c) for c in counts], axis=0)
    n = len(projection)
    projected = 4 * float(np.var(projection, ddof=1)) / n * ((n - 1) / (n - 2)) ** 2
    least = float(np.mean([least_variance(c) for c in counts])) / len(counts)
    return float(np.sqrt(max(projected, least)))
