"""How far a run is, on stderr: one line drawn over in a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oracle_tui.cli import messages
from oracle_tui.formats import bar, duration

_BAR = 20
_STEPS = 10


class ProgressLine:
    """Shows live records of a run as they come. Without a terminal it speaks at every tenth."""

    def __init__(self) -> None:
        """Starts silent."""
        self._terminal = messages.is_terminal()
        self._drawn = False
        self._said: tuple[object, ...] = ()

    def show(self, live: Mapping[str, Any]) -> None:
        """Shows one live record of the run."""
        if self._terminal:
            messages.redraw(progress_text(live))
            self._drawn = True
            return
        done, total = int(live.get("stage_done") or 0), int(live.get("stage_total") or 0)
        tenths = _STEPS * done // total if total > 0 else 0
        step = (live.get("stage"), live.get("status") == "paused", tenths)
        if step != self._said:
            self._said = step
            messages.say(progress_text(live))

    def end(self) -> None:
        """Leaves the line, so that what is said next stands below it."""
        if self._drawn:
            messages.end_redrawing()
            self._drawn = False


def progress_text(live: Mapping[str, Any]) -> str:
    """Returns a live record as one line: stage, bar, counts, and how long it will still take."""
    parts = [f"{live.get('stage') or 'starting':<11}"]
    if live.get("status") == "paused":
        parts.append("paused")
    done, total = int(live.get("stage_done") or 0), int(live.get("stage_total") or 0)
    if total > 0:
        counts = f"{done:,}/{total:,} {live.get('stage_unit') or ''}"
        parts.append(f"{bar(done, total, _BAR)} {counts}".rstrip())
    if isinstance(eta := live.get("eta_seconds"), int | float):
        parts.append(f"ETA {duration(eta)}")
    if note := live.get("note"):
        parts.append(str(note))
    return "  ".join(parts)
