"""How a vision-language model is scored and retrained beside its recipe, as data in the spec."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from engine.errors import UsageError

MAX_RANK = 1_024


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is trained, and on what losses are measured.

    Attributes:
        lora: Rank of the low-rank updates that are trained in place of the weights; 0 for the
            weights themselves.
        alpha: Scale of the updates, divided by the rank, as LoRA defines it.
        checkpointing: Whether activations are computed again in the backward pass, which takes
            less memory and more time and changes no number beyond rounding.
        scored: How many of the train set's dialogues the scores and train losses are measured on,
            the first of a seeded order; 0 for all.
    """

    lora: int = 0
    alpha: float = 16.0
    checkpointing: bool = False
    scored: int = 0

    def __post_init__(self) -> None:
        """Checks every value; raises UsageError with one sentence."""
        if not 0 <= self.lora <= MAX_RANK:
            raise UsageError(f"lora must be a rank from 0 to {MAX_RANK:,}, not {self.lora}.")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise UsageError(f"alpha must be finite and above 0, not {self.alpha}.")
        if not 0 <= self.scored <= 1 << 28:
            raise UsageError(f"scored must be 0 (for all) or a count, not {self.scored}.")

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; raises UsageError."""
        try:
            told = dict(data)
            found = cls(
                lora=int(told.pop("lora", 0)),
                alpha=float(told.pop("alpha", 16.0)),
                checkpointing=bool(told.pop("checkpointing", False)),
                scored=int(told.pop("scored", 0)),
            )
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(f"This is no tuning: {error!r}.") from error
        if told:
            raise UsageError(f"A tuning has no field named {sorted(told)[0]!r}.")
        return found

    def __str__(self) -> str:
        """Returns it as a person types it: `lora=8,checkpointing`; empty where all is usual."""
        parts = [
            name if value is True else f"{name}={value:g}"
            for name, value in asdict(self).items()
            if value != getattr(FULL, name)
        ]
        return ",".join(parts)


# All weights, scored on the whole train set.
FULL = Tuning()


def read_tuning(text: str) -> Tuning:
    """Reads what a person typed: `full`, `lora=8,alpha=16,checkpointing,scored=2000`.

    Raises:
        UsageError: There is no such setting, or its value is none.
    """
    told: dict[str, Any] = {}
    known = [field.name for field in fields(Tuning)]
    for part in filter(None, (part.strip().lower() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name == "full" and not value:
            continue
        if name not in known:
            raise UsageError(f"There is no tuning named {name!r}; choose full, {', '.join(known)}.")
        if name in told:
            raise UsageError(f"{name} is given twice in {text!r}.")
        if name == "checkpointing":
            if value:
                raise UsageError("checkpointing takes no value; leave it out to do without.")
            told[name] = True
            continue
        try:
            told[name] = float(value) if name == "alpha" else int(value)
        except ValueError:
            raise UsageError(f"{name} takes a number, not {value!r}; {name}=16.") from None
    return Tuning(**told)
