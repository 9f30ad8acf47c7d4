"""The statistics of a report: what a finished run is judged by, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.analysis import RunAnalysis
from engine.findings import ceiling_of, renamed_tau_of
from engine.statistics import (
    AdjustedTau,
    AnomalyInterval,
    NoiseCeiling,
    OracleRegret,
    RenamedTau,
    TauInterval,
    TopOverlap,
    Verdict,
    against_ceiling,
    bootstrap_anomaly,
    bootstrap_tau,
    judge,
    kendall,
    oracle_regret,
    top_overlap,
)
from engine.summary import sampled_rows

TOP = 10


@dataclass(frozen=True)
class Findings:
    """What a report says of a run beyond its headline numbers.

    Attributes:
        by_accuracy: Bootstrap interval of tau for accuracy.
        by_loss: Bootstrap interval of tau for loss.
        verdicts: The verdict for accuracy and for loss.
        anomalies: Bootstrap interval of the anomaly ratio of accuracy.
        regret: What trusting the oracle costs in accuracy.
        overlap: How many of the ten lowest scores are among the ten best accuracies.
        ceiling: What repeats say about the largest tau a score can reach.
        adjusted: Tau for accuracy read against that.
        renamed: Tau for accuracy beside those of randomly renamed filters.
    """

    by_accuracy: TauInterval
    by_loss: TauInterval
    verdicts: tuple[Verdict, Verdict]
    anomalies: AnomalyInterval
    regret: OracleRegret
    overlap: TopOverlap
    ceiling: NoiseCeiling
    adjusted: AdjustedTau
    renamed: RenamedTau


def find(run: RunAnalysis, rows: NDArray[np.void]) -> Findings:
    """Returns the findings of a run.

    Args:
        run: Its analysis.
        rows: Its rows, of the store's dtype.
    """
    by_accuracy = bootstrap_tau(run.score, run.accuracy)
    by_loss = bootstrap_tau(run.score, run.loss)
    ceiling = ceiling_of(sampled_rows(run.config, rows), run.facts.repeats, "best_test_acc")
    return Findings(
        by_accuracy=by_accuracy,
        by_loss=by_loss,
        verdicts=(
            judge(kendall(run.score, run.accuracy), by_accuracy, "accuracy"),
            judge(kendall(run.score, run.loss), by_loss, "loss"),
        ),
        anomalies=bootstrap_anomaly(run.score, run.accuracy),
        regret=oracle_regret(run.score, run.accuracy),
        overlap=top_overlap(run.score, run.accuracy, TOP),
        ceiling=ceiling,
        adjusted=against_ceiling(by_accuracy.tau, ceiling),
        renamed=renamed_tau_of(run.facts, run.candidates, run.score, run.accuracy),
    )


def number_lines(run: RunAnalysis, found: Findings) -> Iterator[tuple[str, str]]:
    """Yields the numbers of a run as names and texts."""
    statistics = run.statistics
    yield "finished candidates", f"{statistics.n:,} of {run.facts.columns['candidates']:,}"
    for name, live, bootstrap, p in (
        ("accuracy", run.by_accuracy, found.by_accuracy, statistics.kendall_p_acc),
        ("loss", run.by_loss, found.by_loss, statistics.kendall_p_loss),
    ):
        yield (
            f"Kendall's tau, {name}",
            f"{signed(live.tau)} (n {live.n:,}, p {p_text(p)}); 95 % {interval(bootstrap)} "
            f"by bootstrap, {interval(live)} by projection",
        )
    if np.isfinite(found.renamed.p):
        yield (
            "p, filters renamed",
            f"{p_text(found.renamed.p)} for accuracy: in so many of {found.renamed.renamings:,} "
            "random renamings of the filters tau is as far from 0. The p above takes candidates "
            "that share filters for independent",
        )
    yield (
        "Spearman, Pearson",
        f"{signed(statistics.spearman_acc)}, {signed(statistics.pearson_acc)}",
    )
    yield (
        "anomaly ratio, accuracy",
        f"{share(found.anomalies.ratio)} of candidates end above the oracle; with each of the five "
        f"lowest losses as the oracle {share(run.anomalies.lowest)} to "
        f"{share(run.anomalies.highest)}; 95 % by bootstrap {share(found.anomalies.lower)} to "
        f"{share(found.anomalies.upper)}",
    )
    yield "anomaly ratio, loss", f"{share(statistics.anomaly_ratio_loss)} end below the oracle"
    if found.regret.n:
        yield (
            "oracle regret",
            f"{found.regret.regret:.4f} of accuracy below the best; the oracle is number "
            f"{found.regret.rank:,} of {found.regret.n:,}",
        )
        yield (
            f"top {found.overlap.k}",
            f"{found.overlap.shared} of the {found.overlap.k} lowest losses are among the "
            f"{found.overlap.k} best accuracies; {found.overlap.by_chance * found.overlap.k:.1f} "
            "by chance",
        )
    yield "noise ceiling", _ceiling(found)
    if statistics.note:
        yield "note", statistics.note


def _ceiling(found: Findings) -> str:
    ceiling = found.ceiling
    if not np.isfinite(ceiling.ceiling):
        return ceiling.note or "not known"
    adjusted = (
        f"; the observed tau is {signed(found.adjusted.observed)}, "
        f"{signed(found.adjusted.noise_free)} without the noise"
        if np.isfinite(found.adjusted.noise_free)
        else ""
    )
    return (
        f"repeats agree with tau {signed(ceiling.between_repeats)}, so no score can expect more "
        f"than {ceiling.ceiling:.3f} [{ceiling.ceiling_lower:.3f}, {ceiling.ceiling_upper:.3f}]"
        f"{adjusted}"
    )


def signed(value: float) -> str:
    """A correlation with its sign, or a dash."""
    return f"{value:+.3f}" if np.isfinite(value) else "-"


def share(value: float) -> str:
    """A share as a percentage, or a dash."""
    return f"{100 * value:.1f} %" if np.isfinite(value) else "-"


def p_text(p: float) -> str:
    """A p-value, or a dash."""
    if not np.isfinite(p):
        return "-"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def interval(found: TauInterval) -> str:
    """The ends of an interval, or a dash."""
    if not np.isfinite(found.lower):
        return "-"
    return f"[{found.lower:+.3f}, {found.upper:+.3f}]"
