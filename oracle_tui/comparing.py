"""Several runs beside each other: read in a thread, shown as immutable values. No widget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import OracleError, UsageError
from oracle_tui.formats import escape, short_id
from oracle_tui.plots.series import COLOURS, SERIES_GLYPHS, Series, SeriesData
from oracle_tui.run_places import places_of
from oracle_tui.view_parts import Finished
from oracle_tui.views import Axes

if TYPE_CHECKING:
    from engine.comparison import WiringPair
    from engine.leaderboard import Overall
    from engine.spec import StudySpec
    from oracle_tui.views import Numbers

#: What a task is made harder by, and how a run's place on that axis is found.
COMPLEXITIES = ("ratio", "filters", "layers", "depth", "train images")


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison."""

    id: str
    short: str  # the few characters of its id
    facts: str  # what tells it apart from the others, in words
    glyph: str
    numbers: Numbers
    score: object  # float64[n]
    outcome: object  # float64[n]
    spec: StudySpec | None

    @property
    def name(self) -> str:
        """Id and facts."""
        return f"{self.short} {self.facts}".rstrip()


@dataclass(frozen=True)
class Comparison:
    """Runs that could be read, and a sentence for each that could not."""

    runs: tuple[ComparedRun, ...]
    problems: tuple[str, ...]
    same: str  # what all of them have in common
    pairs: tuple[WiringPair, ...] = ()  # of runs that differ in the wiring alone
    overall: tuple[Overall, ...] = ()  # every score over all of them
    places: Mapping[str, int] = field(default_factory=dict)  # of each run among the glyphs


def compare_runs(paths: Sequence[Path], before: Mapping[str, int] | None = None) -> Comparison:
    """Read runs: pruned train loss against best test accuracy of each.

    Args:
        paths: the runs.
        before: places among the glyphs that runs were given in earlier comparisons.
    """
    from engine.analysis import analyse_rows
    from engine.comparison import wiring_pairs
    from engine.leaderboard import leaderboard, over_runs
    from engine.spec import StudySpec
    from engine.store.reader import RunReader

    found: list[tuple[str, Finished, StudySpec | None]] = []
    analyses, boards = [], []
    problems = []
    for path in paths:
        try:
            with RunReader(path) as reader:
                config = reader.config
                rows = reader.rows
                done = Finished(0, Axes(), config, rows, None)
        except OracleError as error:
            problems.append(str(error))
            continue
        try:
            spec = StudySpec.from_json(config["spec"])
        except (UsageError, KeyError, TypeError):
            spec = None
        with suppress(
            UsageError, KeyError
        ):  # a stranger's config; its points are shown all the same
            analyses.append(analyse_rows(config, rows, ""))
            boards.append(leaderboard(config, rows))
        found.append((escape(str(config.get("run_id", path.name))), done, spec))
    facts = [_facts(spec) for _, _, spec in found]
    common = {key for key in _facts(None) if len({each[key] for each in facts}) <= 1}
    names = _distinct([run_id for run_id, _, _ in found])
    places = places_of(names, len(SERIES_GLYPHS), before or {}, first=COLOURS)
    runs = tuple(
        ComparedRun(
            id=run_id,
            short=short_id(run_id),
            facts=" ".join(text for key, text in fact.items() if key not in common and text),
            glyph=SERIES_GLYPHS[places[name]],
            numbers=done.numbers,
            score=done.score,
            outcome=done.outcome,
            spec=spec,
        )
        for name, (run_id, done, spec), fact in zip(names, found, facts, strict=True)
    )
    same = " · ".join(facts[0][key] for key in facts[0] if key in common) if facts else ""
    pairs, overall = tuple(wiring_pairs(analyses)), tuple(over_runs(boards))
    return Comparison(runs, tuple(problems), same, pairs, overall, places)


def _distinct(ids: Sequence[str]) -> list[str]:
    """Number a copy of a run, so that it is another one than the run."""
    return [f"{name} {ids[:i].count(name)}" if name in ids[:i] else name
            for i, name in enumerate(ids)]  # fmt: skip


def _facts(spec: StudySpec | None) -> dict[str, str]:
    if spec is None:
        return dict.fromkeys(("model", "dataset", "layers", "ratio", "wiring", "seed"), "")
    return {
        "model": _of_a_file(spec.model),
        "dataset": _of_a_file(spec.dataset),
        "layers": layers_in_short(spec.layers),
        "ratio": spec.ratio_text,
        "wiring": spec.wiring,
        "seed": f"seed {spec.seed}",
    }


def _of_a_file(name: str) -> str:
    """The name of a model or data set; where it comes from a file, without the file's folder."""
    return name.rpartition("/")[2] if ".py:" in name else name


def layers_in_short(layers: Sequence[str]) -> str:
    """Layers as far as they can be read beside others."""
    text = "+".join(layers)
    return text if len(text) <= 20 else f"{layers[0].rpartition('.')[2]}+{len(layers) - 1} more"


def overlaid(found: Comparison) -> SeriesData:
    """Return every run's points on common axes."""
    import numpy as np

    return SeriesData(
        tuple(
            Series(run.name, run.glyph, np.asarray(run.score), np.asarray(run.outcome))
            for run in found.runs
        ),
        x_name="pruned train loss",
    )


def heat_map(found: Comparison) -> tuple[list[str], list[str], dict[tuple[str, str], list[float]]]:
    """Return layers, ratios and the taus of the runs of each pair."""
    taus: dict[tuple[str, str], list[float]] = {}
    ratios: dict[str, float] = {}
    for run in found.runs:
        if run.spec is not None and run.numbers.tau is not None:
            key = ("+".join(run.spec.layers), run.spec.ratio_text)
            taus.setdefault(key, []).append(run.numbers.tau)
            ratios[run.spec.ratio_text] = run.spec.ratios[0]
    layers = list(dict.fromkeys(layer for layer, _ in taus))
    return sorted(layers), sorted(ratios, key=lambda name: ratios[name]), taus


def complexity(found: Comparison, what: str) -> SeriesData:
    """Return tau with its interval against one measure of the task."""
    import numpy as np

    series = []
    for run in found.runs:
        place = _place(run.spec, what)
        numbers = run.numbers
        tau = math.nan if numbers.tau is None else numbers.tau
        low, high = numbers.low, numbers.high
        if place is not None and math.isfinite(tau):
            ends = ([low], [high]) if low is not None and high is not None else ([], [])
            series.append(
                Series(
                    run.name, run.glyph, np.array([place]), np.array([tau]),
                    np.array(ends[0], np.float64), np.array(ends[1], np.float64),
                )
            )  # fmt: skip
    return SeriesData(tuple(series), x_name=what, rule=0.0)


def differing(found: Comparison) -> int:
    """Return the first measure of the task, by its place, in which these runs differ."""
    for number, what in enumerate(COMPLEXITIES):
        if len({_place(run.spec, what) for run in found.runs} - {None}) > 1:
            return number
    return 0


def _place(spec: StudySpec | None, what: str) -> float | None:
    if spec is None:
        return None
    model = spec.model_info
    return {
        "ratio": sum(spec.ratios) / len(spec.ratios),
        "filters": float(sum(model.layer(layer).filters for layer in spec.layers)),
        "layers": float(len(spec.layers)),
        "depth": float(len(model.layers) + len(model.hidden) + 1),
        "train images": float(spec.dataset_info.train_images),
    }[what]
