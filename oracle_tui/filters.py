"""The filter of the list of runs: words, ``field:word``, and numbers such as ``tau<-0.2``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

from oracle_tui.views import RunRow

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_COMPARISON = re.compile(r"(\w+)(<=|>=|<|>|=)(.*)")

#: What may stand before a colon.
WORDS = ("id", "model", "dataset", "data", "layers", "ratio", "wiring", "status")

#: What may be compared with a number.
NUMBERS: Mapping[str, Callable[[RunRow], float | None]] = {
    "tau": lambda row: row.tau,
    "n": lambda row: float(row.n),
    "done": lambda row: float(row.n_done),
    "rows": lambda row: float(row.n_total),
    "ratio": lambda row: _number(row.ratio),
}

#: What can be typed, in two short lines.
FILTERS = (
    f"Words, also behind one of {': '.join(WORDS)}:\n"
    f"and {', '.join(NUMBERS)} with < > = and a number"
)


def matches(row: RunRow, text: str) -> bool:
    """Whether a run fits every term of a filter.

    A term that is still being typed (``tau<``) hides nothing; one that compares a field that is
    not there finds nothing, as does a run without that number.
    """
    return all(_fits(row, term) for term in text.lower().split())


def _fits(row: RunRow, term: str) -> bool:
    compared = _COMPARISON.fullmatch(term)
    if compared is not None and compared[1] in NUMBERS:
        field, sign, typed = compared.groups()
        wanted = _number(typed)
        if wanted is None:
            return typed in ("", "-", "+", ".", "-.", "+.")
        value = NUMBERS[field](row)
        return value is not None and _COMPARE[sign](value, wanted)
    name, colon, word = term.partition(":")
    if colon and name in WORDS:
        return word in str(getattr(row, "dataset" if name == "data" else name)).lower()
    return term in row.words


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
