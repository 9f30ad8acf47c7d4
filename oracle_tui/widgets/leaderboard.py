"""Scores as predictors, beside each other: of one run, and over several. No file enters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from oracle_tui.formats import ends, escape, notes_of, plain, signed, tau_with_n
from oracle_tui.widgets.intervals import interval_line, ruler
from oracle_tui.widgets.words import Words

if TYPE_CHECKING:
    from engine.leaderboard import Overall, Standing
    from oracle_tui.deeper import Board

#: Finished candidates that tau needs.
FEWEST = 3

#: Columns that a ruler needs to say anything.
LEAST_RULER = 15


def board_lines(board: Board, width: int) -> Text:
    """Return the standings of one run's scores; why there are none, where there are none."""
    standings = board.standings
    if not standings:
        return Text("No leaderboard: the run does not say which scores it measured.")
    most = max(one.n for one in standings)
    if most < FEWEST:
        return Text(
            f"No leaderboard yet: {most} finished candidate{'' if most == 1 else 's'}, "
            f"and tau needs at least {FEWEST}."
        )
    shown, names = _names(standings, width - 50)
    room = width - names - 52
    header = Text(
        f"{'score':<{names}}{'tau, n':<13}{'95 %':<15}{'regret':>8}{'rank':>6}{'seconds':>8}",
        "dim",
    )
    lines = [
        Text(f"how well each score predicts {board.outcome} (v another outcome)", "bold"),
        Text(),
    ]
    lines.append(header.append("  ").append_text(ruler(room)) if room >= LEAST_RULER else header)
    lines += [
        _standing_line(f"{name:<{names}}", one, room)
        for name, one in zip(shown, standings, strict=True)
    ]
    lines += [Text(), *(Text(escape(note), "italic") for note in notes_of(standings))]
    lines.append(Text(
        "The best predictor first: whose tau is farthest on the side that its meaning says (a loss "
        "should fall as accuracy rises). Regret: what its pick lacks to the best candidate; rank: "
        "the pick's place by outcome. Seconds: measuring the score for every candidate.", "dim",
    ))  # fmt: skip
    return Text("\n").join(lines)


def _standing_line(name: str, one: Standing, room: int) -> Text:
    interval = ends(one.tau_lower, one.tau_upper)
    line = Text(name)
    line.append(f"{tau_with_n(one.tau, one.n, short=True):<13}", "bold")
    line.append(
        f"{interval:<15}{plain(one.regret):>8}{f'{one.rank:,}' if one.rank else '-':>6}"
        f"{plain(one.seconds, 1):>8}"
    )
    if room >= LEAST_RULER:
        line.append("  ").append_text(interval_line(one.tau, one.tau_lower, one.tau_upper, room))
    return line


def overall_lines(scores: Sequence[Overall], runs: int, width: int) -> Text:
    """Return scores over several runs; every run counts the same."""
    if not any(one.runs for one in scores):
        return Text(
            f"No leaderboard yet: none of these runs has {FEWEST} finished candidates with a score."
        )
    shown, names = _names(scores, width - 52)
    lines = [
        Text(f"over {runs} runs: how well each score predicts best test accuracy", "bold"),
        Text(),
        Text(
            f"{'score':<{names}}{'agreement':>9}  {'lowest, highest':<15}{'runs':>5}{'wins':>5}"
            f"{'regret':>8}{'seconds':>8}",
            "dim",
        ),
    ]
    for name, one in zip(shown, scores, strict=True):
        line = Text(f"{name:<{names}}")
        line.append(f"{signed(one.agreement, 2):>9}", "bold")
        line.append(
            f"  {ends(one.lowest, one.highest):<15}{one.runs:>5}"
            f"{one.wins:>5}{plain(one.regret):>8}{plain(one.seconds, 1):>8}"
        )
        lines.append(line)
    lines += [Text(), Text(
        "Agreement: the mean of tau with the sign that a good predictor has positive, every run "
        "counting the same. Wins: runs in which no other score is ahead.", "dim",
    )]  # fmt: skip
    return Text("\n").join(lines)


def _names(scores: Sequence[Standing | Overall], room: int) -> tuple[list[str], int]:
    """Return what each score is called in so much room, and the width of the column.

    A title that does not fit gives way to the shorter name that is typed: titles begin alike.
    """
    width = max(8, min(32, max(len(one.title) for one in scores) + 2, room))
    fits = width - 1
    names = [one.title if len(one.title) <= fits else one.score.partition("@")[0] for one in scores]
    return [escape(name)[:fits] for name in names], width


class LeaderboardTab(VerticalScroll):
    """The scores of a run, ranked; computed in a thread, drawn to the width there is."""

    def __init__(self, *, id: str | None = None) -> None:
        """Make an empty tab."""
        super().__init__(id=id)
        self._board: Board | None = None

    def compose(self) -> ComposeResult:
        """One block of words."""
        yield Words("Reading…", id="leaderboard-words")

    def show_board(self, board: Board) -> None:
        """Show these standings."""
        self._board = board
        self._draw()

    def on_resize(self) -> None:
        """Fit another width."""
        self._draw()

    def _draw(self) -> None:
        if self._board is not None:
            width = max(40, self.size.width - 4)
            self.query_one("#leaderboard-words", Words).show(board_lines(self._board, width))
