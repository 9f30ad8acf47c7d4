"""How far tau can be trusted: a live interval from one pass, and a bootstrap for the report.

Both treat the candidates as a sample of candidates of ONE base network: they say nothing of what
another pretraining would give. Both are pointwise: valid at an n fixed beforehand, not as a rule
for when to stop.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from engine.statistics.concordance import PairCounts, PairOrder
from engine.statistics.pairs import FloatArray, complete_pairs, join_notes

NAN = float("nan")
_CELLS_AT_ONCE = 1_000_000
"""Candidates times resamples held at once: bounds the bootstrap's memory to some tens of MB."""
SMALL_SAMPLE = 20
"""Below this many candidates the normal approximation is rough and the note says so."""


@dataclass(frozen=True)
class TauInterval:
    """Kendall's tau-b with an interval.

    Attributes:
        tau: the estimate; NaN when undefined.
        lower: lower end of the interval, at least -1.
        upper: upper end, at most 1.
        level: nominal coverage, for example 0.95.
        n: candidates it was computed from.
        note: what a reader must know; empty when nothing.
    """

    tau: float
    lower: float
    upper: float
    level: float
    n: int
    note: str


def tau_interval(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> TauInterval:
    """The live pointwise interval of tau-b: Hajek projection with a z quantile, O(n log n).

    Tau-b is a ratio of U-statistics; its projection on single candidates (Hoeffding 1948, delta
    method for the two tie terms) has the variance that the interval uses. It is kept from falling
    below the variance that pairs alone cause, so that small samples with an even projection do
    not get an interval of no width. Where all pairs agree (tau of plus or minus one) that
    variance is zero; the interval is then the exact binomial one of n/2 disjoint pairs.

    Args:
        x: float[n].
        y: float[n]; candidates with a NaN on either side are dropped.
        level: nominal coverage.
    """
    pairs = complete_pairs(x, y)
    if not pairs.usable:
        return TauInterval(NAN, NAN, NAN, level, pairs.n, pairs.note)
    found = interval_from_counts(PairOrder(pairs.x, pairs.y).counts(), level)
    return TauInterval(*found[:3], level, pairs.n, join_notes((pairs.note, found[3])))


def interval_from_counts(counts: PairCounts, level: float) -> tuple[float, float, float, str]:
    """Tau, the ends of its live interval and a note, from counted pairs."""
    n = len(counts.balance)
    tau = counts.tau
    if not np.isfinite(tau):
        return NAN, NAN, NAN, "a column is constant"
    note = f"fewer than {SMALL_SAMPLE} candidates: a rough interval" if n < SMALL_SAMPLE else ""
    if abs(tau) > 1 - 1e-12:
        low, high = _perfect_interval(float(np.sign(tau)), counts, level)
        return tau, low, high, join_notes((note, "all pairs agree: an exact, wide interval"))
    half = float(stats.norm.ppf(0.5 + level / 2)) * standard_error(counts)
    return tau, max(tau - half, -1.0), min(tau + half, 1.0), note


def influence(counts: PairCounts) -> FloatArray:
    """float64[n]: what each candidate adds to tau-b, centred; the Hajek projection is twice it."""
    n = len(counts.balance)
    a, b, c = _rates(counts)
    scale = n - 1
    own = counts.balance / scale / np.sqrt(b * c)
    ties = counts.untied_x / scale / b + counts.untied_y / scale / c
    return np.asarray(own - a / np.sqrt(b * c) / 2 * ties, dtype=np.float64)


def standard_error(counts: PairCounts) -> float:
    """Standard error of tau-b from the Hajek projection, not below the pairs' own share."""
    n = len(counts.balance)
    # The jackknife's scale (Arvesen 1969): a little wider than the plug-in, better at small n.
    projected = 4 * float(np.var(influence(counts), ddof=1)) / n * ((n - 1) / (n - 2)) ** 2
    return float(np.sqrt(max(projected, least_variance(counts))))


def least_variance(counts: PairCounts) -> float:
    """The variance of tau-b that single pairs alone cause, whatever the projection; at least 0."""
    n = len(counts.balance)
    a, b, c = _rates(counts)
    d = float(counts.untied_both.mean()) / (n - 1)
    tau = a / np.sqrt(b * c)
    # Second moment of one pair's term; the cross products of signs reduce to a and d.
    pair = d / (b * c) * (1 + tau**2 / 2) + tau**2 / 4 * (1 / b + 1 / c)
    pair -= tau / np.sqrt(b * c) * (a / b + a / c)
    return max(float(2 * pair / (n * (n - 1))), 0.0)


def bootstrap_tau(
    x: ArrayLike, y: ArrayLike, resamples: int = 1_000, seed: int = 0, level: float = 0.95
) -> TauInterval:
    """The percentile bootstrap interval of tau-b for the final report (Efron 1979).

    Candidates are drawn with replacement; a candidate drawn twice is tied with itself.
    O(n log n) per resample, memory bounded whatever n. Where all pairs agree every resample does,
    and the exact interval of `tau_interval` takes its place.

    Args:
        x: float[n].
        y: float[n]; candidates with a NaN on either side are dropped.
        resamples: how many resamples.
        seed: the same seed gives the same interval.
        level: nominal coverage.
    """
    pairs = complete_pairs(x, y)
    if not pairs.usable:
        return TauInterval(NAN, NAN, NAN, level, pairs.n, pairs.note)
    order = PairOrder(pairs.x, pairs.y)
    counts = order.counts()
    if abs(counts.tau) > 1 - 1e-12:
        return tau_interval(x, y, level)
    taus = np.concatenate([order.resampled_tau(w) for w in draw_weights(pairs.n, resamples, seed)])
    defined = taus[np.isfinite(taus)]
    note = f"{resamples - len(defined)} constant resamples left out"
    note = note if len(defined) < resamples else ""
    lower, upper = percentile_ends(defined, level)
    return TauInterval(counts.tau, lower, upper, level, pairs.n, join_notes((pairs.note, note)))


def draw_weights(n: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Resamples of n candidates as counts.

    Yields:
        float64[n, B]: how often each candidate was drawn, in blocks of bounded size. Blocks do
        not change what is drawn.
    """
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = np.empty((n, size))
        for column in range(size):
            weights[:, column] = np.bincount(rng.integers(0, n, n), minlength=n)
        yield weights


def percentile_ends(values: FloatArray, level: float) -> tuple[float, float]:
    """The central `level` of some values; NaN when there are none."""
    if len(values) == 0:
        return NAN, NAN
    lower, upper = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return float(lower), float(upper)


def _rates(counts: PairCounts) -> tuple[float, float, float]:
    pairs = len(counts.balance) - 1
    return (
        float(counts.balance.mean()) / pairs,
        float(counts.untied_x.mean()) / pairs,
        float(counts.untied_y.mean()) / pairs,
    )


def _perfect_interval(sign: float, counts: PairCounts, level: float) -> tuple[float, float]:
    # 1/size summed over candidates counts the groups: tied candidates are one observation.
    group_sizes = len(counts.untied_x) - counts.untied_x
    disjoint_pairs = max(round(float((1 / group_sizes).sum())) // 2, 1)
    discordant = 1 - (0.5 - level / 2) ** (1 / disjoint_pairs)  # none seen (Clopper, Pearson 1934)
    weakest = 1 - 2 * discordant
    return (weakest, 1.0) if sign > 0 else (-1.0, -weakest)
