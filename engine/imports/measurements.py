"""What an importer reads, whatever the file: one measured retraining after another."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from engine.errors import UsageError
from engine.imports.lines import Line
from engine.store.text import printable

MAX_MEASUREMENTS = 1_000_000
MAX_REPEAT = 65_535
MAX_CANDIDATE = 2**32 - 1
ACCURACY_UNITS = ("auto", "fraction", "percent")

Pruned = tuple[tuple[int, ...], ...]
NAN = math.nan


@dataclass(frozen=True, slots=True)
class Measurement:
    """One retraining of one candidate, as a file tells it.

    Attributes:
        place: Where it stands, for sentences about it.
        candidate: What names the candidate; equal for its repeats.
        repeat: Its number, or None to count the candidate's rows in the order read.
        score: Pruned train loss; NaN where not known.
        outcomes: Columns of a run's rows by name, such as `best_test_acc`; NaN where not known.
        pruned: Indices of the removed filters, per layer, or None.
        diverged: Whether the file says that the retraining met a loss that is not finite.
    """

    place: str
    candidate: Hashable
    repeat: int | None
    score: float
    outcomes: dict[str, float] = field(default_factory=dict)
    pruned: Pruned | None = None
    diverged: bool = False

    @property
    def retrained(self) -> bool:
        """Whether there is an outcome at all."""
        return self.diverged or any(not math.isnan(value) for value in self.outcomes.values())


def number(text: str, what: str, line: Line) -> float:
    """Reads one number; an empty text, `nan` and the like are NaN.

    Raises:
        UsageError: It is no number.
    """
    text = text.strip()
    if text.lower() in ("", "na", "n/a", "none", "null", "-"):
        return NAN
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"The {what} in {line.place} should be a number, not {short(text)!r}."
        ) from None


def whole(text: str, what: str, line: Line, most: int) -> int:
    """Reads a whole number from 0 to `most`; `3.0` is one too. Raises UsageError."""
    value = number(text, what, line)
    if not (math.isfinite(value) and value == int(value) and 0 <= value <= most):
        raise UsageError(
            f"The {what} in {line.place} should be a whole number from 0 to {most}, "
            f"not {short(text)!r}."
        )
    return int(value)


def short(text: str) -> str:
    """Returns a stranger's text, short and printable, for a sentence."""
    shown = printable(text[:60])
    return shown if len(text) <= 60 else f"{shown}..."


def with_accuracies_as_fractions(
    measurements: Sequence[Measurement], unit: str
) -> tuple[list[Measurement], str]:
    """Returns the measurements with accuracies from 0 to 1, and the unit they were in.

    With `auto`, accuracies are percentages if any of them is above 1.

    Raises:
        UsageError: One is neither; the sentence names its place.
    """

    def accuracies(one: Measurement) -> list[float]:
        return [value for name, value in one.outcomes.items() if name.endswith("_acc")]

    if unit == "auto":
        above = any(value > 1 for one in measurements for value in accuracies(one))
        unit = "percent" if above else "fraction"
    most = 100.0 if unit == "percent" else 1.0
    found = []
    for one in measurements:
        for value in accuracies(one):
            if not math.isnan(value) and not 0 <= value <= most:
                raise UsageError(
                    f"The accuracy {value:g} in {one.place} is no {unit}"
                    f"{' from 0 to 1' if unit == 'fraction' else 'age from 0 to 100'}."
                )
        if unit == "percent":
            scaled = {
                name: value / 100 if name.endswith("_acc") else value
                for name, value in one.outcomes.items()
            }
            one = replace(one, outcomes=scaled)
        found.append(one)
    return found, unit
