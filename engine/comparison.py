"""Runs beside the paper's panels, beside each other, and one wiring beside the other."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.analysis import RunAnalysis
from engine.facts import StudyFacts
from engine.folders import shipped_folder
from engine.protocol import LARGE, SMALL
from engine.spec import StudySpec
from engine.statistics import (
    PublishedComparison,
    PublishedPanel,
    TauDifference,
    compare_with_published,
    find_panel,
    read_published,
    tau_difference,
)

# The published table's names for what the catalog calls otherwise, but for its underscores.
_PANEL_DATASETS = {"imagenet_1k": "imagenet"}
# The released code wires the next layer as `engine.spec` describes under "released".
_PAPER_WIRING = "released"


@dataclass(frozen=True)
class BesideThePaper:
    """A run beside the panel that studied the same.

    Attributes:
        panel: The panel.
        tau: Our tau and theirs.
        otherwise: In which other ways the two studies differ, one phrase each.
    """

    panel: PublishedPanel
    tau: PublishedComparison
    otherwise: tuple[str, ...]


@dataclass(frozen=True)
class WiringPair:
    """Two runs that differ in the wiring alone.

    Attributes:
        correct: The one with correct wiring.
        released: The one with that of the released code.
        difference: Tau with the released wiring minus tau with the correct one, for accuracy.
    """

    correct: RunAnalysis
    released: RunAnalysis
    difference: TauDifference


def beside_the_paper(run: RunAnalysis) -> BesideThePaper | None:
    """Returns the published panel of the same study beside a run, or None where there is none."""
    facts = run.facts
    if facts.model is None or facts.dataset is None or len(set(facts.ratios)) != 1:
        return None
    if facts.spec is not None and facts.spec.masked:
        return None  # the panels are of filters
    dataset = _as_published(facts.dataset)
    panel = find_panel(
        _panels(),
        _as_published(facts.model),
        _PANEL_DATASETS.get(dataset, dataset),
        facts.layers,
        facts.ratios[0],
        [layer.name for layer in facts.spec.model_info.layers] if facts.spec else (),
    )
    if panel is None:
        return None
    tau = compare_with_published(run.by_accuracy, panel)
    return BesideThePaper(panel, tau, tuple(_otherwise(facts, panel)))


def wiring_pairs(runs: Sequence[RunAnalysis]) -> list[WiringPair]:
    """Returns the pairs of runs whose specs differ in the wiring alone."""
    by_study: dict[str, dict[str, list[RunAnalysis]]] = {}
    for run in runs:
        if run.facts.spec is not None:
            study = {**run.facts.spec.to_json(), "wiring": None}
            same = by_study.setdefault(json.dumps(study, sort_keys=True), {})
            same.setdefault(run.facts.spec.wiring, []).append(run)
    return [
        WiringPair(correct, released, _difference(correct, released))
        for same in by_study.values()
        for correct in same.get("correct", ())
        for released in same.get("released", ())
    ]


def comparison_record(run: RunAnalysis) -> dict[str, Any]:
    """Returns a run beside its panel as one flat record of JSON scalars; None where not known."""
    paper = beside_the_paper(run)
    finite = run.score[np.isfinite(run.score)]
    accuracies = run.accuracy[np.isfinite(run.accuracy)]
    record: dict[str, Any] = {
        "id": run.id,
        "status": run.status,
        **{
            name: run.facts.columns[name]
            for name in ("model", "dataset", "layers", "ratio", "wiring", "repeats", "epochs")
        },
        "n": run.statistics.n,
        "kendall_tau_acc": run.statistics.kendall_tau_acc,
        "tau_acc_lower": run.by_accuracy.lower,
        "tau_acc_upper": run.by_accuracy.upper,
        "kendall_p_acc": run.statistics.kendall_p_acc,
        "kendall_tau_loss": run.statistics.kendall_tau_loss,
        "tau_loss_lower": run.by_loss.lower,
        "tau_loss_upper": run.by_loss.upper,
        "anomaly_ratio_acc": run.anomalies.ratio,
        "anomaly_ratio_lowest": run.anomalies.lowest,
        "anomaly_ratio_highest": run.anomalies.highest,
        "median_pruned_train_loss": float(np.median(finite)) if len(finite) else None,
        "lowest_test_acc": float(accuracies.min()) if len(accuracies) else None,
        "highest_test_acc": float(accuracies.max()) if len(accuracies) else None,
        "panel": paper and paper.panel.panel,
        "paper_n": paper and paper.panel.candidates,
        "paper_tau_acc": paper and paper.panel.kendall_tau,
        "paper_tau_acc_lower": paper and paper.tau.theirs.lower,
        "paper_tau_acc_upper": paper and paper.tau.theirs.upper,
        "paper_p_acc": paper and paper.panel.p_value,
        "paper_anomaly_ratio_acc": paper and paper.panel.anomaly_ratio,
        "differs": paper and paper.tau.differs,
        "sentence": paper and paper.tau.text,
        "otherwise": paper and "; ".join(paper.otherwise),
    }
    return {name: _scalar(value) for name, value in record.items()}


def wiring_record(pair: WiringPair) -> dict[str, Any]:
    """Returns a pair of wirings as a record; the runs' own numbers are in their records."""
    record = {
        "study": pair.correct.facts.title,
        "correct": pair.correct.id,
        "released": pair.released.id,
        "n_shared": pair.difference.n,
        "tau_difference": pair.difference.difference,
        "tau_difference_lower": pair.difference.lower,
        "tau_difference_upper": pair.difference.upper,
        "note": pair.difference.note,
    }
    return {name: _scalar(value) for name, value in record.items()}


def _difference(correct: RunAnalysis, released: RunAnalysis) -> TauDifference:
    """The same spec gives a candidate the same id, so ids tell which candidates are shared."""
    _, ours, theirs = np.intersect1d(
        correct.candidates, released.candidates, assume_unique=True, return_indices=True
    )
    return tau_difference(
        (correct.score[ours], correct.accuracy[ours]),
        (released.score[theirs], released.accuracy[theirs]),
    )


def _otherwise(facts: StudyFacts, panel: PublishedPanel) -> Iterable[str]:
    """Yields what else differs between our study and the paper's."""
    if facts.wiring is not None and facts.wiring != _PAPER_WIRING:
        yield f"wiring {facts.wiring}, theirs {_PAPER_WIRING}"
    if facts.repeats != panel.repeats:
        yield f"{facts.repeats} repeat{'s' * (facts.repeats != 1)}, theirs {panel.repeats}"
    if facts.columns["candidates"] != panel.candidates:
        yield f"{facts.columns['candidates']:,} candidates, theirs {panel.candidates:,}"
    theirs = _drafts().get(_study(facts.spec)) if facts.spec else None
    if facts.spec is not None and theirs is not None:
        for name in ("pretrain", "retrain"):
            ours, paper = getattr(facts.spec, name), getattr(theirs, name)
            if ours != paper:
                yield f"{name}ing {ours}, theirs {paper}"


def _study(spec: StudySpec) -> tuple[Any, ...]:
    return spec.model, spec.dataset, spec.layers, spec.ratios


@functools.cache
def _drafts() -> dict[tuple[Any, ...], StudySpec]:
    """The paper's studies, by what is studied, as far as the catalog can express them."""
    drafts = [draft for draft in (*SMALL, *LARGE) if not draft.missing()]
    return {_study(spec): spec for spec in (draft.spec() for draft in drafts)}


@functools.cache
def _panels() -> tuple[PublishedPanel, ...]:
    return read_published(shipped_folder() / "published.csv")


def _as_published(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
