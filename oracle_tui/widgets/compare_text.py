"""The words of a comparison as functions of what is shown: no widget, no file."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from rich.text import Text

from oracle_tui.comparing import ComparedRun, Comparison, heat_map
from oracle_tui.formats import escape, percent, plain, signed, tau_with_n
from oracle_tui.widgets.intervals import interval_line, ruler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Shades of |tau| from 0 to 1, each with its number beside it.
SHADES = " ░▒▓█"


def tau_lines(found: Comparison, width: int) -> Text:
    """Return tau of each run with its interval, in numbers and on a ruler."""
    name_width = min(28, max([len(run.name) for run in found.runs] or [4]) + 2)
    ruler_width = max(13, width - name_width - 34)
    header = Text(f"{'':<{name_width + 2}}{'tau acc, n':<14}{'95 %':<16}", "dim")
    lines = [header.append_text(ruler(ruler_width))]
    for run in found.runs:
        numbers = run.numbers
        line = Text(f"{run.glyph} {run.name[: name_width - 1]:<{name_width}}")
        line.append(f"{tau_with_n(numbers.tau, numbers.n):<14}", "bold")
        line.append(f"{_interval(run):<16}")
        lines.append(
            line.append_text(
                interval_line(
                    _or_nan(numbers.tau), _or_nan(numbers.low), _or_nan(numbers.high), ruler_width
                )
            )
        )
    return Text("\n").join(lines)


def heat_lines(found: Comparison) -> Text:
    """Return tau for each layer and ratio, shaded; the mean where several runs share a place."""
    layers, ratios, taus = heat_map(found)
    if not taus:
        return Text("No tau yet: none of these runs has enough finished candidates.")
    width = max(len(layer) for layer in layers) + 2
    lines = [Text(f"{'tau acc':<{width}}" + "".join(f"{ratio:>11}" for ratio in ratios), "dim")]
    for layer in layers:
        line = Text(f"{layer:<{width}}")
        for ratio in ratios:
            values = [tau for tau in taus.get((layer, ratio), []) if math.isfinite(tau)]
            if not values:
                line.append(f"{'·':>11}", "dim")
                continue
            tau = sum(values) / len(values)
            shade = SHADES[min(len(SHADES) - 1, int(abs(tau) * len(SHADES)))]
            count = f"*{len(values)}" if len(values) > 1 else ""
            style = "red" if tau > 0 else "green"
            line.append("   ").append(shade * 2, style).append(f"{signed(tau, 2) + count:>6}")
        lines.append(line)
    lines += [Text(""), Text("shade: |tau|; *k: mean over k runs", "dim")]
    return Text("\n").join(lines)


def wiring_lines(found: Comparison) -> Text:
    """Return each study that was made with both wirings, side by side."""
    if not found.pairs:
        return Text(
            "No two of these runs differ in the wiring alone. A study is made again with the other "
            "one by choosing it under Wiring in the form of a new run."
        )
    lines: list[Text] = []
    for pair in found.pairs:
        both = (pair.correct, pair.released)
        lines.append(Text(escape(pair.correct.facts.title), "bold"))
        lines.append(Text(f"{'':<22}{'correct':<18}released", "dim"))
        rows = [
            ("tau acc", *(tau_with_n(run.by_accuracy.tau, run.by_accuracy.n) for run in both)),
            ("95 %", *(_ends(run.by_accuracy.lower, run.by_accuracy.upper) for run in both)),
            ("anomalies", *(percent(run.anomalies.ratio) for run in both)),
            ("pruned loss, median", *(plain(_median(run.score)) for run in both)),
            ("accuracy, lowest", *(plain(_least(run.accuracy)) for run in both)),
        ]
        for name, correct, released in rows:
            lines.append(Text.assemble((f"{name:<22}", "dim"), f"{correct:<18}{released}"))
        change = pair.difference
        lines.append(
            Text.assemble(
                (f"{'released - correct':<22}", "dim"),
                f"{signed(change.difference)}  95 % {_ends(change.lower, change.upper)}  "
                f"over {change.n:,} shared candidates",
            )
        )
        lines.append(Text(""))
    return Text("\n").join(lines)


def _median(values: NDArray[np.float64]) -> float:
    finite = sorted(float(value) for value in values if math.isfinite(value))
    return statistics.median(finite) if finite else math.nan


def _least(values: NDArray[np.float64]) -> float:
    return min((float(value) for value in values if math.isfinite(value)), default=math.nan)


def _ends(low: float, high: float) -> str:
    return f"{signed(low, 2)} to {signed(high, 2)}"


def _interval(run: ComparedRun) -> str:
    low, high = run.numbers.low, run.numbers.high
    return f"{signed(low, 2)} to {signed(high, 2)}"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
