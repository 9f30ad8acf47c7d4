"""A sweep: a TOML file whose entries may be lists, and the studies of all their combinations."""

from __future__ import annotations

import difflib
import tomllib
from typing import Any

from engine.errors import UsageError
from engine.orders import AXES, Order, read_order

_ELSEWHERE = ("device", "executor")


def read_sweep(text: str) -> Order:
    """Returns the runs that a sweep's file describes.

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
    known = (*AXES, *_ELSEWHERE)
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(known)}."
            raise UsageError(f"A sweep has no entry named {key!r}; {hint}")
    return read_order(
        {key: _texts(key, document[key]) for key in document if key not in _ELSEWHERE},
        device=_one(document, "device", "auto"),
        executor=_one(document, "executor", "inline"),
    )


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
        if key == "tune" and isinstance(item, bool):
            continue
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise UsageError(f"{key} holds {item!r}; it takes texts and numbers, or lists of them.")
    return [_text(item) for item in values]


def _text(item: str | bool | float) -> str:
    if isinstance(item, bool):
        return "yes" if item else "no"
    return item if isinstance(item, str) else repr(item)
