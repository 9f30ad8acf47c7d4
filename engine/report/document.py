"""The report itself: which sections it has, for one run and for several."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine import __version__
from engine.analysis import RunAnalysis, analyse
from engine.comparison import beside_the_paper, comparison_record, wiring_pairs, wiring_record
from engine.facts import in_words
from engine.figures import draw_figure, draw_taus
from engine.leaderboard import leaderboard
from engine.lost import lost_lines
from engine.report.html import facts, inline_svg, page, table, text
from engine.report.numbers import find, interval, number_lines, p_text, share, signed
from engine.store.reader import RunReader

_LOWEST = 10
_NAN = float("nan")


def write_report(runs: Sequence[tuple[Path, str]]) -> bytes:
    """Returns a report of runs as one HTML file.

    Args:
        runs: Paths of the runs, each with the status that is to be shown.

    Raises:
        UsageError: A run cannot be read, or matplotlib is not installed.
    """
    analyses: list[RunAnalysis] = []
    sections: list[str] = []
    for path, status in runs:
        with RunReader(path) as reader:
            analysis = analyse(reader, status)
            analyses.append(analysis)
            sections += _run_section(analysis, reader, f"f{len(analyses)}")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    title = analyses[0].facts.title if len(analyses) == 1 else f"{len(analyses)} studies"
    body = [
        f"<h1>Does the pruned train loss predict? {text(title)}</h1>",
        f"<p><small>Made {text(now)} by oracle-tui {text(__version__)}.</small></p>",
        *(_overview(analyses) if len(analyses) > 1 else ()),
        *sections,
    ]
    return page(f"oracle-tui: {title}", body).encode()


def _overview(runs: Sequence[RunAnalysis]) -> Iterator[str]:
    """Yields the runs in one table, and the pairs of wirings among them."""
    yield "<h3>All runs</h3>"
    yield table(
        ("run", "n", "tau, accuracy", "95 %", "p", "anomalies", "median pruned loss",
         "test accuracy", "paper's tau", "differs"),
        (_overview_row(comparison_record(run)) for run in runs),
    )  # fmt: skip
    if any(np.isfinite(run.by_accuracy.tau) for run in runs):
        yield inline_svg(draw_taus(runs, "svg"), "taus")
    pairs = [wiring_record(pair) for pair in wiring_pairs(runs)]
    if pairs:
        yield "<h3>One wiring beside the other</h3>"
        yield table(
            ("study", "correct", "released", "shared candidates", "tau released minus correct",
             "95 %"),
            (
                (
                    pair["study"],
                    pair["correct"],
                    pair["released"],
                    f"{pair['n_shared']:,}",
                    signed(_float(pair["tau_difference"])),
                    _ends(pair["tau_difference_lower"], pair["tau_difference_upper"]),
                )
                for pair in pairs
            ),
        )  # fmt: skip


def _overview_row(record: dict[str, Any]) -> tuple[str, ...]:
    number = {name: _float(value) for name, value in record.items()}
    known = record["lowest_test_acc"] is not None
    accuracies = f"{number['lowest_test_acc']:.4f} to {number['highest_test_acc']:.4f}"
    return (
        record["id"],
        f"{record['n']:,}",
        signed(number["kendall_tau_acc"]),
        _ends(record["tau_acc_lower"], record["tau_acc_upper"]),
        p_text(number["kendall_p_acc"]),
        share(number["anomaly_ratio_acc"]),
        f"{number['median_pruned_train_loss']:.3f}" if known else "-",
        accuracies if known else "-",
        signed(number["paper_tau_acc"]),
        {True: "yes", False: "no", None: "-"}[record["differs"]],
    )


def _run_section(run: RunAnalysis, reader: RunReader, name: str) -> Iterator[str]:
    found = find(run, reader.rows)
    yield f"<h2>{text(run.facts.title)}</h2>"
    yield f"<p><small>{text(run.id)}, {text(run.status)}</small></p>"
    outcomes = ("accuracy", "loss") if run.by_loss.n else ("accuracy",)
    for outcome, verdict in zip(outcomes, found.verdicts, strict=False):
        note = f" ({verdict.note})" if verdict.note and verdict.note not in verdict.text else ""
        yield f'<p class="verdict">{text(f"By {outcome}: {verdict.text}{note}")}</p>'
    if np.isfinite(run.score + run.accuracy).any():
        yield inline_svg(draw_figure(run, "svg"), f"{name}a")
    if np.isfinite(run.score + run.loss).any():
        yield inline_svg(draw_figure(run, "svg", "loss"), f"{name}l")
    yield "<h3>Numbers</h3>"
    yield facts(number_lines(run, found))
    yield from _paper_section(run)
    yield from _scores_section(reader)
    yield from _candidates_section(run, reader)
    yield "<h3>Study</h3>"
    yield facts(_study_lines(run))
    environment = run.config.get("environment")
    if isinstance(environment, dict) and environment:
        yield "<h3>Environment</h3>"
        yield facts((str(key), in_words(value)) for key, value in environment.items())


def _paper_section(run: RunAnalysis) -> Iterator[str]:
    paper = beside_the_paper(run)
    if paper is None:
        return
    yield f"<h3>Beside the paper's panel {text(paper.panel.panel)}</h3>"
    yield f"<p>{text(paper.tau.text)}</p>"
    panel = paper.panel
    lines = [
        (
            "published tau",
            f"{panel.kendall_tau:+.2f}, 95 % {interval(paper.tau.theirs)} from its n",
        ),
        ("published p", f"{panel.p_value:.5f}"),
        ("published anomaly ratio", share(panel.anomaly_ratio)),
    ]
    if paper.otherwise:
        lines.append(("not the same otherwise", "; ".join(paper.otherwise)))
    yield facts(lines)


def _scores_section(reader: RunReader) -> Iterator[str]:
    """Yields the scores as predictors of accuracy, the best first, where there are several."""
    standings = leaderboard(reader.config, reader.rows)
    if len(standings) < 2:
        return
    yield "<h3>Scores as predictors of accuracy</h3>"
    yield table(
        ("score", "n", "tau", "agreement", "95 %", "regret", "rank of its pick", "seconds"),
        (
            (
                one.title,
                f"{one.n:,}",
                signed(one.tau),
                signed(one.agreement),
                _ends(_known(one.agreement_lower), _known(one.agreement_upper)),
                f"{one.regret:.4f}" if np.isfinite(one.regret) else "-",
                f"{one.rank:,}" if one.rank else "-",
                f"{one.seconds:.1f}" if np.isfinite(one.seconds) else "-",
            )
            for one in standings
        ),
    )
    yield (
        "<p><small>Agreement is tau with the sign that a good predictor has positive. Its "
        "interval is of one score at a time: the best of many is partly luck.</small></p>"
    )


def _candidates_section(run: RunAnalysis, reader: RunReader) -> Iterator[str]:
    """Yields the candidates of lowest score, the oracle first, with their rank in accuracy."""
    known = np.flatnonzero(np.isfinite(run.score) & np.isfinite(run.accuracy))
    if not len(known):
        return
    lowest = known[np.argsort(run.score[known], kind="stable")[:_LOWEST]]
    yield f"<h3>The {len(lowest)} lowest pruned train losses</h3>"
    yield table(
        ("candidate", "removed", "pruned train loss", "test accuracy", "rank"),
        (
            (
                str(run.candidates[place]),
                _removed(reader, int(run.candidates[place])),
                f"{run.score[place]:.4f}",
                f"{run.accuracy[place]:.4f}",
                f"{1 + int((run.accuracy[known] > run.accuracy[place]).sum()):,}",
            )
            for place in lowest
        ),
    )


def _removed(reader: RunReader, candidate: int) -> str:
    line = "; ".join(lost_lines(reader.config, reader.pruned(candidate)))
    return line if len(line) <= 300 else f"{line[:297]}..."


def _study_lines(run: RunAnalysis) -> Iterator[tuple[str, str]]:
    for key, value in run.facts.columns.items():
        if value is not None:
            yield key.replace("_", " "), str(value)
    if run.facts.spec is not None:
        yield "pretraining", str(run.facts.spec.pretrain)
        yield "retraining", str(run.facts.spec.retrain)
    for key in ("base_test_acc", "device", "created"):
        if run.config.get(key) is not None:
            yield key.replace("_", " "), str(run.config[key])


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else _NAN


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _ends(lower: Any, upper: Any) -> str:
    return "-" if lower is None or upper is None else f"[{lower:+.3f}, {upper:+.3f}]"
