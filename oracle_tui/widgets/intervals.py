"""Tau with its interval on a ruler from -1 to 1, as one line of text: for tables of taus."""

from __future__ import annotations

import math

from rich.text import Text


def interval_line(
    tau: float, low: float, high: float, width: int, *, style: str = "", glyph: str = "●"
) -> Text:
    """Return the interval as ``├──●──┤`` over a ruler of ``width`` columns with 0 marked."""
    cells = ["·"] * width
    cells[_column(0.0, width)] = "┊"
    styles = ["dim"] * width
    if math.isfinite(low) and math.isfinite(high):
        left, right = _column(low, width), _column(high, width)
        for column in range(left, right + 1):
            cells[column], styles[column] = "─", style
        cells[left], cells[right] = "├", "┤"
    if math.isfinite(tau):
        column = _column(tau, width)
        cells[column], styles[column] = glyph, f"bold {style}".strip()
    line = Text()
    for cell, each in zip(cells, styles, strict=True):
        line.append(cell, each)
    return line


def ruler(width: int) -> Text:
    """Return the ends and the middle of the ruler."""
    half = width // 2
    return Text(f"{'-1':<{half}}0{'+1':>{width - half - 1}}", "dim")


def _column(value: float, width: int) -> int:
    return min(width - 1, max(0, round((value + 1) / 2 * (width - 1))))
