"""The statistics of a run as lines of text: every number with its n, its interval, its note."""

from __future__ import annotations

from rich.text import Text

from oracle_tui.formats import DASH, ends, known, p_value, percent, plain, signed
from oracle_tui.views import Point, RunView
from oracle_tui.widgets.words import Words


def number_lines(view: RunView, *, short: bool = False) -> list[Text]:
    """Return the statistics over finished candidates, one line each."""
    numbers = view.numbers
    lines = [
        _line(
            f"tau {_kind(view.axes.outcome)}",
            f"{signed(numbers.tau)}  n={numbers.n:,}",
            strong=True,
        ),
        _line("  95 %", ends(numbers.low, numbers.high)),
        _line("  p", p_value(numbers.p)),
    ]
    if numbers.other and not short:
        value = f"{signed(numbers.tau_other)}  n={numbers.n_other:,}"
        lines.append(_line(f"tau {_kind(numbers.other)}", value))
        lines.append(_line("  p", p_value(numbers.p_other)))
    lines.append(_line("anomaly", _anomaly(view)))
    if numbers.anomaly_range is not None and not short:
        low, high = numbers.anomaly_range
        lines.append(_line("  top 5", f"{percent(low)} to {percent(high)}"))
    lines.append(_line("◆ oracle", _point(numbers.oracle)))
    lines.append(_line("★ best", _point(numbers.best)))
    if not short:
        if numbers.oracle is not None and numbers.best is not None:
            regret = abs(numbers.best.outcome - numbers.oracle.outcome)
            lines.append(_line("  regret", plain(regret)))
        if numbers.l1 is not None:
            lines.append(_line("■ L1", _point(numbers.l1)))
        lines.append(_line("unpruned", plain(numbers.base_accuracy)))
    if view.provisional:
        lines.append(Text(f"○ {view.provisional:,} provisional: not counted", style="dim"))
    if numbers.note and numbers.n >= 3 and not short:
        lines.append(Text(numbers.note, style="italic"))
    return lines


def _kind(outcome: str) -> str:
    """The outcome's kind in one short word."""
    return "acc" if outcome.endswith("_acc") else "loss"


def _line(name: str, value: str, *, strong: bool = False) -> Text:
    return Text.assemble((f"{name:<9}", "dim"), (value, "bold" if strong else ""))


def _anomaly(view: RunView) -> str:
    numbers = view.numbers
    if numbers.anomaly is None or not known(numbers.anomaly):
        return DASH
    return f"{percent(numbers.anomaly)} of {numbers.n:,}"


def _point(point: Point | None) -> str:
    return DASH if point is None else f"#{point.candidate} {plain(point.outcome)}"


class NumbersPanel(Words):
    """The statistics, and under them the candidate that the cursor stands on."""

    def __init__(self, *, id: str | None = None) -> None:
        """Make an empty panel."""
        super().__init__(id=id)
        self._run: RunView | None = None
        self._detail: list[Text] = []

    def show_run(self, view: RunView) -> None:
        """Show the statistics of this moment."""
        self._run = view
        self._draw()

    def show_detail(self, lines: list[Text]) -> None:
        """Show the candidate under the cursor, or nothing."""
        self._detail = lines
        self._draw()

    def on_resize(self) -> None:
        """Another height may have room for more, or for less."""
        self._draw()

    def _draw(self) -> None:
        if self._run is None:
            return
        numbers, detail = number_lines(self._run), self._detail
        if detail and len(numbers) + 1 + len(detail) > self.size.height:
            numbers = number_lines(self._run, short=True)
        self.show(Text("\n").join([*numbers, *([Text("")] if detail else []), *detail]))
