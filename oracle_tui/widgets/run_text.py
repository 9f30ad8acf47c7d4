"""The words of the run screen as functions of what is shown: no widget, no file."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from rich.text import Text

from oracle_tui.formats import bar, duration, known, plain, progress, rate, short_id, signed
from oracle_tui.plots.line import LineData
from oracle_tui.views import GLYPHS, RunView

#: What a config calls otherwise than people do.
SPELLED = {"oracle tui": "oracle-tui", "dataset": "data set"}

#: The fewest columns that a line of the log is folded into.
LEAST_LOG = 30

#: The time that a line of the log begins with.
_PRECISE = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d+\+00:00 ")

#: The request that a status is the answer to.
ANSWERED = {"paused": "pause", "stopped": "stop", "running": "resume"}

#: What can be done about a status.
NEXT = {
    "queued": "waiting for its engine; r starts one if none comes",
    "stalled": "its engine is gone or silent; r starts a new one",
    "stopped": "r resumes it",
    "paused": "p goes on",
}


def title_line(view: RunView, width: int) -> str:
    """Return what is studied on the left and the status on the right."""
    status = f"{GLYPHS.get(view.status, '?')} {view.status}"
    name = f"{view.title}   [{short_id(view.id)}]"
    room = width - len(status) - 2
    title = name[: room - 1] + "…" if len(name) > room else name
    return f"{title.ljust(room)}  {status}"


def stage_line(view: RunView, wide: bool, width: int, machine: str = "") -> str:
    """Return how far the run is, or what can be done about its status.

    Args:
        view: the run.
        wide: whether there is room for everything.
        width: columns that there are; of a running run as much is told as fits into one line.
        machine: what the engine takes of this machine.
    """
    asked = view.request and view.request != ANSWERED.get(view.status)
    if view.status == "running":
        parts = [*_progress(view, wide), machine]
    elif view.status == "failed":
        parts = [f"{view.message or 'It failed.'} 7 shows the log, r tries again."]
    else:
        share = progress(view.n_done, view.n_total)
        counted = f"{view.n_done:,}/{view.n_total:,} retrained {share}"
        parts = [counted, view.message or NEXT.get(view.status, "")]
    if asked:
        parts.insert(0, f"({view.request} asked for)")
    parts = [part for part in parts if part]
    if view.status == "running":
        for spare in (machine, rate(view.stage.rate)):
            if spare in parts and len("   ".join(parts)) > width:
                parts.remove(spare)
    return "   ".join(parts)


def _progress(view: RunView, wide: bool) -> list[str]:
    """Stage, bar, rate and time left; a narrow terminal has room for the most useful."""
    stage = view.stage
    done, total, unit = stage.done, stage.total, stage.unit
    retraining = stage.name == "retraining"
    if retraining:
        done, total, unit = view.n_done, view.n_total, "retrained" if wide else ""
    name = stage.name or "starting"
    if total <= 0:
        return [f"{name}…", stage.note]
    return [
        f"{name} {bar(done, total, 24 if wide else 12)} {done:,}/{total:,} {unit}".rstrip(),
        rate(stage.rate),
        f"ETA {duration(stage.eta)}" if known(stage.eta) else "",
        stage.note if wide or not retraining else "",
    ]


def waiting(view: RunView) -> str:
    """Return why the scatter is empty, or nothing where it is not."""
    if view.scatter.x.size or view.provisional:
        return ""
    if view.status == "running":
        return f"no points yet: {view.stage.name or 'starting'}"
    return "no points yet"


def line_name(line: LineData) -> str:
    """Return the last value of tau over n, with its n and interval."""
    if not line.x.size:
        return "tau over n: needs at least 3 finished candidates"
    interval = f"95 % {signed(float(line.low[-1]), 2)} to {signed(float(line.high[-1]), 2)}"
    return f"tau {signed(float(line.y[-1]))} at n={int(line.x[-1]):,}, {interval} (░)"


def candidate_lines(view: RunView, candidate: int, lost: Sequence[str], here: int) -> list[Text]:
    """Return what is known of one candidate.

    Args:
        view: the run.
        candidate: its number.
        lost: what it lost, layer by layer; empty while that is not read.
        here: how many points share its cell.
    """
    rows = view.rows
    mine = rows.candidate == candidate
    if not mine.any():
        return []
    lines = [Text(f"▸ candidate {candidate}", style="bold")]
    lines += map(Text, lost)
    loss = view.axes.score == "pruned_train_loss"
    name = "pruned loss" if loss else view.scatter.x_name
    lines.append(Text(f"{name} {plain(float(rows.score[mine][0]))}"))
    repeats = zip(
        rows.repeat[mine], rows.best_acc[mine], rows.best_epoch[mine], rows.state[mine], strict=True
    )
    for repeat, accuracy, epoch, state in list(repeats)[:4]:
        name = f"rep {repeat} " if view.repeats > 1 else ""
        value = f"{plain(float(accuracy))} ep {epoch}"
        words = {0: "waiting", 1: f"○ {value}", 3: "diverged"}
        lines.append(Text(name + words.get(int(state), value)))
    if here > 1:
        lines.append(Text(f"{here} in this cell (. next)", style="dim"))
    return lines


def log_lines(log: Sequence[str], width: int) -> list[str]:
    """Return the lines of a log in so many columns: times to the second, long lines folded."""
    lines: list[str] = []
    for line in log:
        shown = _PRECISE.sub(r"\1 \2Z ", line)
        lines += textwrap.wrap(
            shown, max(width, LEAST_LOG), subsequent_indent="    ", break_on_hyphens=False
        ) or [""]
    return lines


def spec_lines(lines: Sequence[tuple[str, str]]) -> Text:
    """Return names and values of a spec, aligned."""
    width = max((len(name) for name, _ in lines), default=0) + 2
    return Text("\n").join(
        Text.assemble((SPELLED.get(name, name).ljust(width), "dim"), value) for name, value in lines
    )
