"""Every key of the screen below, with what it does; built from the bindings themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

#: What the marks of a plot mean; shown under its keys.
LEGEND = (
    ("•", "finished candidate (many: braille dots)"),
    ("×", "anomaly: better than the oracle (many: quarter blocks)"),  # noqa: RUF001
    ("○", "provisional: still in training, not in the statistics"),
    ("◆", "oracle: lowest pruned train loss"),
    ("★", "best final accuracy"),
    ("■", "the choice of L1-norm pruning"),
)


class HelpScreen(ModalScreen[None]):
    """Keys and marks; any key that closes things closes it."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close", id="help.close",
                tooltip="Close the help"),
        Binding("j,down", "down", "Down", id="help.down", show=False, tooltip="Scroll down"),
        Binding("k,up", "up", "Up", id="help.up", show=False, tooltip="Scroll up"),
        Binding("g,home", "ends(-1)", "Top", id="help.top", show=False, tooltip="The first keys"),
        Binding("G,end", "ends(1)", "Bottom", id="help.bottom", show=False,
                tooltip="The last keys, and the marks of a plot"),
    ]  # fmt: skip

    def __init__(self, below: Screen[object], remapped: Mapping[str, str]) -> None:
        """Take the screen that help is wanted for, and the keys that were remapped."""
        super().__init__()
        self._groups = _groups(below, remapped)

    def compose(self) -> ComposeResult:
        """One table a group."""
        with VerticalScroll(id="help") as box:
            box.border_title = "Help"
            box.border_subtitle = "esc closes"
            for title, rows in self._groups:
                yield Static(Text(title, style="bold"), classes="group")
                yield Static(_table(rows))

    def action_down(self) -> None:
        """Scroll a line."""
        self.query_one("#help").scroll_relative(y=2)

    def action_ends(self, side: int) -> None:
        """Scroll to the first or the last line."""
        box = self.query_one("#help", VerticalScroll)
        box.scroll_home() if side < 0 else box.scroll_end()

    def action_up(self) -> None:
        """Scroll a line back."""
        self.query_one("#help").scroll_relative(y=-2)


def _groups(
    below: Screen[object], remapped: Mapping[str, str]
) -> list[tuple[str, list[tuple[str, str]]]]:
    seen: set[str] = set()
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    nodes: list[DOMNode] = [below, *below.query("*"), below.app]
    for node in nodes:
        rows = []
        declared = [vars(kind).get("BINDINGS", ()) for kind in type(node).__mro__]
        for binding in (each for bindings in declared for each in bindings):
            if not isinstance(binding, Binding) or not binding.id or binding.id in seen:
                continue
            seen.add(binding.id)
            keys = remapped.get(binding.id, binding.key).split(",")
            # Not a binding's own display: in the line of keys it stands for several bindings.
            shown = [below.app.get_key_display(Binding(key, "")) for key in keys]
            rows.append((" ".join(shown), binding.tooltip))
        if rows:
            groups.append((_title(node, below), rows))
    if below.query("ScatterPlot"):
        groups.append(("Marks", list(LEGEND)))
    return groups


def _title(node: DOMNode, below: Screen[object]) -> str:
    if node is below:
        return "This screen"
    if node is below.app:
        return "Everywhere"
    return {
        "KeyTable": "Table",
        "Asks": "Choice",
        "ScatterPlot": "Scatter",
        "LinePlot": "Line plot",
    }.get(type(node).__name__, type(node).__name__)


def _table(rows: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=12, style="bold")
    table.add_column()
    for keys, text in rows:
        table.add_row(Text(keys), Text(text))
    return table
