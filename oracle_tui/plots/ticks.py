"""Tick positions and labels of fixed width, so that a plot's canvas never moves."""

from __future__ import annotations

import math

#: Columns every label of the y axis takes; the canvas begins right after them and the axis.
LABEL_WIDTH = 6


def nice_step(span: float, count: int) -> float:
    """Return the step of 1, 2 or 5 times a power of ten that gives about ``count`` ticks."""
    if not (span > 0 and math.isfinite(span)):
        return 1.0
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1.0, 2.0, 5.0):
        if raw <= factor * power * (1 + 1e-9):
            return factor * power
    return 10.0 * power


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return round positions within [low, high]: about ``count`` of them, and at least one."""
    for more in (1, 2, 4, 8):
        step = nice_step(high - low, count * more)
        first = math.ceil(low / step - 1e-9)
        last = math.floor(high / step + 1e-9)
        if first <= last:
            return [index * step for index in range(first, min(last, first + 4 * count + 4) + 1)]
    return [(low + high) / 2]


def whole(values: list[float]) -> list[float]:
    """Return those that are whole numbers; a count has no others."""
    return [value for value in values if abs(value - round(value)) < 1e-9]


def label(value: float, step: float, width: int = LABEL_WIDTH) -> str:
    """Return the value in at most ``width`` characters, right-aligned to exactly that width."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    text = f"{value + 0.0:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    if len(text) > width:
        text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    if len(text) > width:
        for digits in (2, 1, 0):
            mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
            text = f"{mantissa}e{int(exponent)}"
            if len(text) <= width:
                break
    return text[:width].rjust(width)


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Return log10 of round values within [low, high] (exponents): at least one of them.

    Decades where they are enough, else also 2 and 5 times a decade, else evenly spaced values.
    """
    decades = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1,), (1, 2, 5), tuple(range(1, 10))):
        found = sorted(d + math.log10(f) for d in decades for f in factors)
        inside = [place for place in found if low - 1e-9 <= place <= high + 1e-9]
        if len(inside) >= min(count, 3):
            return inside[:: max(1, -(-len(inside) // (2 * count)))]
    values = ticks(10.0**low, 10.0**high, count)
    return [math.log10(value) for value in values if value > 0] or [(low + high) / 2]


def own_step(value: float) -> float:
    """Return the power of ten that shows a value without losing a digit (at most three)."""
    if not (value > 0 and math.isfinite(value)):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    for digits in (1.0, 0.1, 0.01):
        scaled = value / (power * digits)
        if abs(scaled - round(scaled)) < 1e-6 * scaled:
            return power * digits
    return power * 0.01
