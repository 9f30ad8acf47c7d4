"""What a candidate lost, in words: the same in the app and in reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import UsageError
from engine.masks import MAGNITUDE, told

# Indices of one layer that are named one by one.
_NAMED = 24


def lost_lines(config: Mapping[str, Any], pruned: Sequence[Sequence[int]]) -> list[str]:
    """Returns a line for each layer of a candidate; none where a run does not say what went.

    Args:
        config: The run's config.
        pruned: What the run holds of the candidate, layer by layer: indices of filters, or the
            words of a mask's record where the study is one of single weights.
    """
    masked = (config.get("spec") or {}).get("granularity") == "weights"
    say = _mask if masked else _filters
    layers = zip(config.get("layers", ()), pruned, strict=False)
    return [f"{layer} {say(indices)}" for layer, indices in layers if indices]


def _filters(indices: Sequence[int]) -> str:
    named = ",".join(map(str, indices[:_NAMED]))
    more = len(indices) - _NAMED
    return f"without {named}{f' and {more:,} more' if more > 0 else ''}"


def _mask(record: Sequence[int]) -> str:
    try:
        mask = told(record)
    except UsageError:
        return "by a mask that cannot be read"
    drawn = f"of seed {mask['seed']}"
    origin = "of the smallest weights" if mask["seed"] == MAGNITUDE else drawn
    return f"by a mask {origin}, checksum {mask['checksum']}"
