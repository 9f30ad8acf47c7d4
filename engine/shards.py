"""Shards: a study's candidates shared out over runs that know nothing of each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.spec import StudySpec
from engine.study_rules import SpecError

Shard = tuple[int, int]


def read_shard(text: str) -> Shard:
    """Returns (i, n) of a shard `i/n`.

    Raises:
        SpecError: It is none; `field` is `shard`.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if match is None or not index < count:
        raise SpecError(
            "shard", f"A shard is i/n with i from 0 to n - 1, for example 0/4, not {text!r}."
        )
    return index, count


def shard_of(config: Mapping[str, Any]) -> Shard | None:
    """Returns the shard that a run is, or None where it is a whole study."""
    shard = config.get("shard")
    return None if shard is None else (int(shard[0]), int(shard[1]))


def rows_of(spec: StudySpec, config: Mapping[str, Any]) -> int:
    """Returns how many rows a finished run of this spec and config has.

    Raises:
        SpecError: The config names a shard that there cannot be.
    """
    try:
        shard = shard_of(config)
        return len(share(range(len(spec.space)), shard)) * spec.repeats if shard else spec.rows
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise SpecError("shard", "The run's shard is not one of a study.") from error


def share(order: Sequence[int], shard: Shard | None) -> list[int]:
    """Returns a shard's candidates out of the order of work: every n-th, beginning with the i-th.

    As the order is random, so is each shard: its statistics are those of a random sample.
    """
    if shard is None:
        return list(order)
    index, count = shard
    return list(order[index::count])
