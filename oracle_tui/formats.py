"""Numbers as people read them: fixed forms, always with what belongs to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.leaderboard import Standing

DASH = "-"


def known(value: float | None) -> bool:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def signed(value: float | None, digits: int = 3) -> str:
    """A correlation: always with its sign."""
    return f"{value:+z.{digits}f}" if value is not None and math.isfinite(value) else DASH


def tau_with_n(tau: float | None, n: int, *, short: bool = False) -> str:
    """Tau is never shown without its n; a short n is in thousands from 1,000 on."""
    if not known(tau):
        return DASH
    count = f"{n / 1e3:.1f}k" if 1_000 <= n < 10_000 else f"{n // 1_000}k"
    return f"{signed(tau, 2)} n={count if short and n >= 1_000 else f'{n:,}'}"


def ends(low: float | None, high: float | None) -> str:
    """An interval of a correlation: `-0.61 to -0.40`."""
    return f"{signed(low, 2)} to {signed(high, 2)}" if known(low) and known(high) else DASH


def plain(value: float | None, digits: int = 4) -> str:
    """A number with a fixed number of digits after the point, or in e-form where it is huge."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.{digits}e}"


def p_value(p: float | None) -> str:
    """A p-value: plain down to a thousandth, then in e-form."""
    if p is None or not math.isfinite(p):
        return DASH
    if p >= 0.001:
        return f"{p:.3f}"
    return "< 1e-99" if p < 1e-99 else f"{p:.1e}"


def percent(share: float | None) -> str:
    """A share as a percentage; small ones keep a digit."""
    if share is None or not math.isfinite(share):
        return DASH
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"


def progress(done: int, total: int) -> str:
    """Done of total, as whole per cent; only what is complete is 100."""
    return f"{min(99, 100 * done // total) if done < total else 100}%" if total > 0 else DASH


def rate(value: float | None) -> str:
    """A rate of candidate-samples."""
    if value is None or not math.isfinite(value) or value <= 0:
        return ""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f}{unit} samples/s"
    return f"{value:.0f} samples/s"


def duration(seconds: float | None) -> str:
    """A duration in its two largest units."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return DASH
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"


def age(seconds: float | None) -> str:
    """How long ago, in one unit."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "now"


def short_id(run_id: str) -> str:
    """The few characters that tell runs apart: the spec's hash, and the number of a second run.

    An imported run has no spec, and is told by the name of its file.
    """
    head, _, rest = run_id.removeprefix("imported-").partition("-")
    number = rest.rpartition("-")[2] if "-" in rest else ""
    again = f"·{number}" if number.isdigit() and len(number) < 4 else ""
    return (head if len(head) <= 12 else f"{head[:11]}…") + again


def bar(done: int, total: int, width: int) -> str:
    """A progress bar of exactly ``width`` cells."""
    full = 0 if total <= 0 else min(width, width * done // total)
    return "█" * full + "░" * (width - full)


def at_home(path: Path) -> str:
    """A path, with ~ for the person's own folder."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def escape(text: str) -> str:
    """Text from a file, safe for a terminal: control characters become visible, length bounded."""
    return "".join(c if c.isprintable() else "·" for c in text[:500])


def rounded(value: int) -> str:
    """A count of parameters or operations to three digits: `11.2M`, `1.81G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return str(value)


def notes_of(standings: Sequence[Standing]) -> list[str]:
    """What must be known of scores, each note once; with whose it is if not everybody's."""
    whose: dict[str, list[str]] = {}
    for one in standings:
        if one.note:
            whose.setdefault(one.note, []).append(one.score.partition("@")[0])
    return [
        note if len(names) == len(standings) else f"{note} ({', '.join(names)})"
        for note, names in whose.items()
    ]
