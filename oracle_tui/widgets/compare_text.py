"""The words of a comparison as functions of what is shown: no widget, no file."""

from __future__ import annotations

import math

from rich.text import Text

from oracle_tui.comparing import ComparedRun, Comparison, heat_map, wiring_pairs
from oracle_tui.formats import percent, plain, signed, tau_with_n
from oracle_tui.widgets.intervals import interval_line, ruler

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
    import numpy as np

    pairs = wiring_pairs(found)
    if not pairs:
        return Text(
            "No two of these runs differ in the wiring alone. A study is made again with the other "
            "one by choosing it under Wiring in the form of a new run."
        )
    lines: list[Text] = []
    for pair in pairs:
        lines.append(Text(pair[0].name, "bold"))
        lines.append(Text(f"{'':<22}{'correct':<18}released", "dim"))
        rows = [
            ("tau acc", *(tau_with_n(run.numbers.tau, run.numbers.n) for run in pair)),
            ("95 %", *(_interval(run) for run in pair)),
            ("anomalies", *(percent(run.numbers.anomaly) for run in pair)),
        ]
        for name, which in (("pruned loss, median", "score"), ("accuracy, lowest", "outcome")):
            reduce = np.median if which == "score" else np.min
            values = [np.asarray(getattr(run, which)) for run in pair]
            kept = [value[np.isfinite(value)] for value in values]
            rows.append((name, *(plain(float(reduce(v))) if v.size else "-" for v in kept)))
        for name, correct, released in rows:
            lines.append(Text.assemble((f"{name:<22}", "dim"), f"{correct:<18}{released}"))
        lines.append(Text(""))
    return Text("\n").join(lines)


def _interval(run: ComparedRun) -> str:
    low, high = run.numbers.low, run.numbers.high
    return f"{signed(low, 2)} to {signed(high, 2)}"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
