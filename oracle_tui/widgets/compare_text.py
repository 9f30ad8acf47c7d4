"""The words of a comparison as functions of what is shown: no widget, no file."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.style import Style
from rich.text import Text

from oracle_tui.comparing import ComparedRun, Comparison, heat_map, layers_in_short
from oracle_tui.formats import ends, escape, percent, plain, signed, tau_with_n
from oracle_tui.widgets.intervals import interval_line, ruler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Shades of |tau| from 0 to 1, each with its number beside it.
SHADES = " ░▒▓█"

#: Columns of one place of the heat map, and the fewest that a ruler needs to say anything.
CELL, LEAST_RULER = 13, 13

#: Lines that a legend may take under a plot.
LEGEND_LINES = 3

#: The colour of a glyph.
Pen = Callable[[str], Style]


def legend_lines(found: Comparison, width: int, pen: Pen) -> Text:
    """Return whose each glyph is: with what tells the runs apart where that fits, else by id."""
    runs = found.runs
    lines = _side_by_side([_entry(run, run.name, pen) for run in runs], width)
    if len(lines) > LEGEND_LINES:
        entries = [_entry(run, run.short, pen) for run in runs]
        lines, shown = _side_by_side(entries, width), len(runs)
        while len(lines) > LEGEND_LINES:
            shown -= 1
            more = Text(f"and {len(runs) - shown} more (2 lists them)", "dim")
            lines = _side_by_side([*entries[:shown], more], width)
    return Text("\n").join(lines)


def _entry(run: ComparedRun, name: str, pen: Pen) -> Text:
    return Text.assemble((run.glyph, pen(run.glyph)), f" {name}")


def _side_by_side(entries: Sequence[Text], width: int) -> list[Text]:
    """Put entries beside each other, each on one line; of one that is longer, its beginning."""
    lines: list[Text] = []
    for whole in entries:
        entry = whole.copy()
        entry.truncate(width, overflow="ellipsis")
        if lines and len(lines[-1]) + 3 + len(entry) <= width:
            lines[-1].append("   ").append_text(entry)
        else:
            lines.append(entry)
    return lines


def tau_lines(found: Comparison, width: int, pen: Pen) -> Text:
    """Return tau of each run with its interval, in numbers and on a ruler.

    Where what tells the runs apart does not fit before the numbers, it stands under them.
    """
    taus = [tau_with_n(run.numbers.tau, run.numbers.n) for run in found.runs]
    tau_width = max([12, *map(len, taus)]) + 2
    room = width - tau_width - 18 - LEAST_RULER
    full = [run.name for run in found.runs]
    fits = max(map(len, full), default=4) <= room
    names = full if fits else [run.short for run in found.runs]
    name_width = max(map(len, names), default=4) + 2
    ruler_width = max(LEAST_RULER, width - name_width - tau_width - 18)
    header = Text(f"{'':<{name_width + 2}}{'tau acc, n':<{tau_width}}{'95 %':<16}", "dim")
    lines = [header.append_text(ruler(ruler_width))]
    for run, name, tau in zip(found.runs, names, taus, strict=True):
        numbers = run.numbers
        line = _entry(run, f"{name:<{name_width}}", pen)
        line.append(f"{tau:<{tau_width}}", "bold")
        line.append(f"{ends(run.numbers.low, run.numbers.high):<16}")
        lines.append(
            line.append_text(
                interval_line(
                    _or_nan(numbers.tau), _or_nan(numbers.low), _or_nan(numbers.high), ruler_width
                )
            )
        )
    if not fits:
        lines.append(Text())
        for run, name in zip(found.runs, names, strict=True):
            lines.append(_entry(run, f"{name:<{name_width}}", pen).append(run.facts, "dim"))
    return Text("\n").join(lines)


def heat_lines(found: Comparison, width: int) -> Text:
    """Return tau for each layer and ratio, shaded; the mean where several runs share a place."""
    layers, ratios, taus = heat_map(found)
    if not taus:
        return Text("No tau yet: none of these runs has enough finished candidates.")
    names = {layer: layers_in_short(layer.split("+")) for layer in layers}
    name_width = max(len(name) for name in names.values()) + 2
    fitting = max(1, (width - name_width) // CELL)
    lines: list[Text] = []
    for first in range(0, len(ratios), fitting):  # ratios that do not fit stand below
        some = ratios[first : first + fitting]
        head = "".join(f"  {ratio:<{CELL - 2}}" for ratio in some)
        lines.append(Text(f"{'tau acc':<{name_width}}{head}", "dim"))
        for layer in layers:
            line = Text(f"{names[layer]:<{name_width}}")
            for ratio in some:
                line.append_text(_heat_cell(taus.get((layer, ratio), [])))
            lines.append(line)
        lines.append(Text())
    lines.append(Text("shade: |tau|; *k: mean over k runs", "dim"))
    return Text("\n").join(lines)


def _heat_cell(taus: Sequence[float]) -> Text:
    values = [tau for tau in taus if math.isfinite(tau)]
    if not values:
        return Text(f"  {'·':<{CELL - 2}}", "dim")
    tau = sum(values) / len(values)
    shade = SHADES[min(len(SHADES) - 1, int(abs(tau) * len(SHADES)))]
    count = f"*{len(values)}" if len(values) > 1 else ""
    text = f" {signed(tau, 2) + count:<{CELL - 5}}"
    return Text.assemble("  ", (shade * 2, "red" if tau > 0 else "green"), text)


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
            ("95 %", *(ends(run.by_accuracy.lower, run.by_accuracy.upper) for run in both)),
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
                f"{signed(change.difference)}  95 % {ends(change.lower, change.upper)}  "
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


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
