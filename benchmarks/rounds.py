"""Paired, interleaved rounds: both sides in turn in one process, compared round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], int]


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        name: what was measured.
        against: what the engine is compared with.
        unit: what the values are.
        values: one value for each round.
        bar: what the median must reach (or, for memory, must not exceed).
        aim: what it is meant to reach.
        rates: median candidate-samples per second of (engine, other); empty for memory.
    """

    name: str
    against: str
    unit: str
    values: tuple[float, ...]
    bar: float
    aim: float
    rates: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def passed(self) -> bool:
        return self.median <= self.bar if self.unit == "MB" else self.median >= self.bar

    def as_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "against": self.against,
            "unit": self.unit,
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
            "rounds": len(self.values),
            "bar": self.bar,
            "aim": self.aim,
            "passed": self.passed,
            "rates": list(self.rates),
        }


def compare(
    name: str,
    engine: Work,
    others: dict[str, tuple[Work, float, float]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> list[Row]:
    """Measure the engine against others in interleaved rounds.

    Args:
        name: what is measured.
        engine: does some work and returns how many candidate-samples it was.
        others: by name: the same for another way, bar and aim of the ratio.
        rounds: number of rounds; one more before them is not counted.
        clock: CPU time of this process, or wall time where both sides use several threads.

    Returns:
        One row per other way: ratios of candidate-samples per second of the clock.
    """
    own: list[float] = []
    rates: dict[str, list[float]] = {other: [] for other in others}
    for i in range(rounds + 1):
        measured = {other: _rate(o[0], clock) for other, o in others.items()}
        measured[""] = _rate(engine, clock)
        if i:
            own.append(measured[""])
            for other, values in rates.items():
                values.append(measured[other])
    return [
        Row(
            name,
            other,
            "x",
            tuple(a / b for a, b in zip(own, rates[other], strict=True)),
            bar,
            aim,
            (statistics.median(own), statistics.median(rates[other])),
        )
        for other, (_, bar, aim) in others.items()
    ]


def _rate(work: Work, clock: Callable[[], float]) -> float:
    started = clock()
    amount = work()
    return amount / (clock() - started)
