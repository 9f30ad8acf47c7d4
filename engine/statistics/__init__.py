"""Statistics of a study: pure functions from float64 arrays to frozen values.

Files, processes, screens and torch may not enter; scipy may.
"""

from engine.statistics.anomaly import (
    AnomalyInterval,
    AnomalyRatio,
    anomaly_ratio,
    bootstrap_anomaly,
)
from engine.statistics.correlation import Correlation, kendall, pearson, spearman, weighted_tau
from engine.statistics.curves import EpochAgreement, budget_agreement, epoch_agreement
from engine.statistics.intervals import TauInterval, bootstrap_tau, tau_interval
from engine.statistics.noise import AdjustedTau, NoiseCeiling, against_ceiling, noise_ceiling
from engine.statistics.oracle import (
    OracleRegret,
    TopOverlap,
    oracle_index,
    oracle_regret,
    top_overlap,
)
from engine.statistics.paired import TauDifference, tau_difference
from engine.statistics.published import (
    PublishedComparison,
    PublishedPanel,
    compare_with_published,
    find_panel,
    published_interval,
    read_published,
)
from engine.statistics.renaming import RenamedTau, renamed_tau
from engine.statistics.repeats import mean_over_repeats
from engine.statistics.running import RunningTau, running_grid, running_tau
from engine.statistics.summary import OracleStatistics, summarise
from engine.statistics.verdict import Finding, Verdict, invalid_by_rule, judge

__all__ = [
    "AdjustedTau",
    "AnomalyInterval",
    "AnomalyRatio",
    "Correlation",
    "EpochAgreement",
    "Finding",
    "NoiseCeiling",
    "OracleRegret",
    "OracleStatistics",
    "PublishedComparison",
    "PublishedPanel",
    "RenamedTau",
    "RunningTau",
    "TauDifference",
    "TauInterval",
    "TopOverlap",
    "Verdict",
    "against_ceiling",
    "anomaly_ratio",
    "bootstrap_anomaly",
    "bootstrap_tau",
    "budget_agreement",
    "compare_with_published",
    "epoch_agreement",
    "find_panel",
    "invalid_by_rule",
    "judge",
    "kendall",
    "mean_over_repeats",
    "noise_ceiling",
    "oracle_index",
    "oracle_regret",
    "pearson",
    "published_interval",
    "read_published",
    "renamed_tau",
    "running_grid",
    "running_tau",
    "spearman",
    "summarise",
    "tau_difference",
    "tau_interval",
    "top_overlap",
    "weighted_tau",
]
