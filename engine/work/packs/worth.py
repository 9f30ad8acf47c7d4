"""Whether code that must be compiled first pays within a run: plain numbers, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What compiling a network's step is taken to cost, and how much quicker the step is hoped to get,
# before either is measured: measuring costs as much as compiling.
EXPECTED_SECONDS = 120.0
HOPED_SPEEDUP = 1.3


@dataclass(frozen=True, slots=True)
class Measured:
    """What a short measurement of one kind of pack found.

    Attributes:
        rate: Candidate-samples trained a second.
        seconds: What making it ready took, once in each process that trains.
    """

    rate: float
    seconds: float = 0.0

    def seconds_for(self, samples: float) -> float:
        """Returns how long so many candidate-samples take, getting ready included."""
        return self.seconds + samples / self.rate


def worth_compiling(rate: float, samples: float) -> bool:
    """Tells whether compiling may pay, so that it is worth measuring.

    Args:
        rate: Candidate-samples a second of the quickest kind without it.
        samples: Candidate-samples that are left to train.
    """
    return Measured(rate * HOPED_SPEEDUP, EXPECTED_SECONDS).seconds_for(samples) < samples / rate


def quickest(found: Mapping[str, Measured], samples: float | None = None) -> str:
    """Returns the kind that is done first with so many candidate-samples.

    What was already spent on measuring counts, too: every worker and every resume pays it again.

    Args:
        found: By kind, at least one.
        samples: Candidate-samples to train; None for so many that getting ready does not matter.
    """
    if samples is None:
        return max(found, key=lambda kind: found[kind].rate)
    return min(found, key=lambda kind: found[kind].seconds_for(samples))
