"""A sweep: a TOML file whose entries may be lists, and the studies of all their combinations."""

from __future__ import annotations

import difflib
import itertools
import tomllib
from dataclasses import dataclass
from typing import Any

from engine.devices import check_device
from engine.entries import FIELDS, read_entries
from engine.errors import UsageError
from engine.placement import check_executor
from engine.presets import find_preset
from engine.spec import StudySpec

MAX_STUDIES = 10_000
_ELSEWHERE = ("preset", "device", "executor")


@dataclass(frozen=True, slots=True)
class Sweep:
    """Studies, and where they are all to be worked on.

    Attributes:
        studies: Each spec once, in the order of the file's axes, the last one fastest.
        device: Where they compute.
        executor: Who retrains their candidates.
    """

    studies: tuple[StudySpec, ...]
    device: str
    executor: str


def read_sweep(text: str) -> Sweep:
    """Returns the studies that a sweep's file describes.

    Its keys are the entries of a new run (`model`, `ratio`, `seed`, ...), `preset`, `device` and
    `executor`. A key that is a list is an axis of the grid; layers that belong together stand in
    one text, as in `layers = ["conv1", "conv1,conv2"]`.

    Raises:
        UsageError: It is no such file, or one of the studies cannot be; it says which.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The sweep is not TOML: {error}.") from error
    known = (*FIELDS, *_ELSEWHERE)
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}."
            raise UsageError(f"A sweep has no entry named {key!r}; {hint}")
    device = check_device(_one(document, "device", "auto"))
    executor = check_executor(_one(document, "executor", "inline"))
    axes = {key: _texts(key, document[key]) for key in document if key not in _ELSEWHERE[1:]}
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MAX_STUDIES:
        raise UsageError(f"The sweep has {count:,} studies; at most {MAX_STUDIES:,} are possible.")
    studies: dict[StudySpec, None] = {}
    for point in itertools.product(*axes.values()):
        entries: dict[str, str | None] = dict(zip(axes, point, strict=True))
        preset = entries.pop("preset", None)
        try:
            # A preset may be a set of studies, and then each of them is at this point of the grid.
            presets = find_preset(preset).each() if preset else (None,)
            specs = [read_entries(entries, single) for single in presets]
        except UsageError as error:
            what = ", ".join(f"{key} {value}" for key, value in zip(axes, point, strict=True))
            raise UsageError(f"The study with {what} cannot be: {error}") from error
        studies |= dict.fromkeys(specs)
    return Sweep(tuple(studies), device, executor)


def _one(document: dict[str, Any], key: str, default: str) -> str:
    value = document.get(key, default)
    if not isinstance(value, str):
        raise UsageError(f"{key} of a sweep is one text for all its studies, not {value!r}.")
    return value


def _texts(key: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UsageError(f"{key} is an empty list; leave it out, or name what to study.")
    for item in values:
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise UsageError(f"{key} holds {item!r}; it takes texts and numbers, or lists of them.")
    return [item if isinstance(item, str) else repr(item) for item in values]
