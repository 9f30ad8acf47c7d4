"""The numbers a study is known by, in one flat value: for the app, the command line and CSV."""

from dataclasses import dataclass

from numpy.typing import ArrayLike

from engine.statistics.anomaly import anomaly_ratio
from engine.statistics.correlation import kendall, pearson, spearman
from engine.statistics.oracle import oracle_note, oracle_regret
from engine.statistics.pairs import complete_pairs, join_notes


@dataclass(frozen=True)
class OracleStatistics:
    """What a score says about an outcome, over candidates; plain numbers, NaN when undefined.

    Attributes:
        n: candidates with a finite score and accuracy.
        n_loss: candidates with a finite score and loss.
        kendall_tau_acc: tau-b of score and accuracy; negative where a low score is a good sign.
        kendall_p_acc: its two-sided p-value.
        kendall_tau_loss: tau-b of score and loss; positive where a low score is a good sign.
        kendall_p_loss: its two-sided p-value.
        spearman_acc: Spearman's correlation of score and accuracy.
        pearson_acc: Pearson's correlation of score and accuracy.
        anomaly_ratio_acc: share of candidates with accuracy strictly above the oracle's.
        anomaly_ratio_loss: share of candidates with loss strictly below the oracle's.
        oracle: position of the candidate with the lowest score; -1 when none.
        best: position of the candidate with the highest accuracy; -1 when none.
        note: what a reader must know; empty when nothing.
    """

    n: int
    n_loss: int
    kendall_tau_acc: float
    kendall_p_acc: float
    kendall_tau_loss: float
    kendall_p_loss: float
    spearman_acc: float
    pearson_acc: float
    anomaly_ratio_acc: float
    anomaly_ratio_loss: float
    oracle: int
    best: int
    note: str


def summarise(score: ArrayLike, accuracy: ArrayLike, loss: ArrayLike) -> OracleStatistics:
    """Computes the summary; scipy on the same columns gives the same numbers.

    Candidates without a finite score and accuracy (or loss) are left out of the statistics of
    accuracy (or loss), and the note says how many. When the lowest score belongs to one of them,
    the oracle is the lowest of the rest, and the note says that too.

    Args:
        score: float[n], measured before retraining; mean over repeats.
        accuracy: float[n], test accuracy after retraining as a fraction; mean over repeats.
        loss: float[n], test loss after retraining; mean over repeats.

    Raises:
        ValueError: the columns are not one-dimensional and of equal length.
    """
    by_accuracy, by_loss = kendall(score, accuracy), kendall(score, loss)
    linear = pearson(score, accuracy)
    regret = oracle_regret(score, accuracy)
    loss_regret = oracle_regret(score, loss, higher_is_better=False)
    return OracleStatistics(
        n=by_accuracy.n,
        n_loss=by_loss.n,
        kendall_tau_acc=by_accuracy.value,
        kendall_p_acc=by_accuracy.p,
        kendall_tau_loss=by_loss.value,
        kendall_p_loss=by_loss.p,
        spearman_acc=spearman(score, accuracy).value,
        pearson_acc=linear.value,
        anomaly_ratio_acc=anomaly_ratio(score, accuracy).ratio,
        anomaly_ratio_loss=anomaly_ratio(score, loss, higher_is_better=False).ratio,
        oracle=regret.oracle if regret.oracle >= 0 else loss_regret.oracle,
        best=regret.best,
        note=_note(linear.note, oracle_note(score, regret.oracle), score, loss),
    )


def _note(accuracy_note: str, oracle: str, score: ArrayLike, loss: ArrayLike) -> str:
    notes = join_notes((accuracy_note, oracle))
    parts = [f"accuracy: {notes}" if notes else ""]
    loss_note = complete_pairs(score, loss).note
    parts.append(f"loss: {loss_note}" if loss_note else "")
    return join_notes(parts)
