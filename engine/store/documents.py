"""JSON documents with a size limit, both ways. Nothing about runs may enter."""

from __future__ import annotations

import json
import math
from typing import Any

from engine.errors import RunFileError
from engine.store.text import printable, printable_json

MAX_DEPTH = 64
MAX_NUMBER_DIGITS = 1000


def parse_document(data: bytes, what: str, limit: int, *, raw: bool = False) -> dict[str, Any]:
    """Parse one JSON object of at most `limit` bytes.

    Args:
        data: the JSON text.
        what: names the document in the error.
        limit: the most bytes it may have.
        raw: leave its strings as they are; else control characters in them are written out.

    Raises:
        RunFileError: it is too long, too deep, not JSON, or not an object.
    """
    what = printable(what)
    if len(data) > limit:
        raise RunFileError(f"{what} is longer than {limit} bytes, so it was not read.")
    try:
        value = json.loads(data.decode("utf-8"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"{what} is not readable JSON ({printable(str(error))}).") from error
    if not isinstance(value, dict):
        raise RunFileError(f"{what} is not a JSON object.")
    if _deeper_than(value, MAX_DEPTH):
        raise RunFileError(f"{what} is nested deeper than {MAX_DEPTH} levels.")
    return value if raw else {printable(key): printable_json(item) for key, item in value.items()}


def dump_document(value: dict[str, Any]) -> bytes:
    """Write `value` as compact ASCII JSON; numbers that are not finite become null.

    Raises:
        ValueError: something in it has no place in JSON.
    """
    try:
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a JSON document ({error})") from error


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_DIGITS:
        raise ValueError("a number has too many digits")
    return int(digits)


def _deeper_than(value: object, levels: int) -> bool:
    # Level by level, not recursively: the document may be as deep as its author liked.
    layer: list[object] = [value]
    for _ in range(levels):
        layer = [
            child
            for item in layer
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not layer:
            return False
    return True


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):  # a NumPy scalar
        return _finite(value.item())
    return value
