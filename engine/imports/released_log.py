"""Logs of the paper's released code.

It writes three lines about a candidate, `[i/n]` being its place in the log: the removed filters,
the loss before and the outcomes after retraining. Merged logs hold the repeats one after another,
and several engines' logs come as several files; what belongs together is told by the removed
filters, never by the place.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import UsageError
from engine.imports.lines import Line, read_lines
from engine.imports.measurements import MAX_MEASUREMENTS, Measurement, Pruned, number, short
from engine.store.layout import MAX_LAYERS

_PROBE_LINES = 20_000
_MAX_TOTAL = MAX_MEASUREMENTS
_SAID = re.compile(
    r"\[(\d{1,9})/(\d{1,9})\]:?\s+"
    r"(pruned_index_pair|pruned_train_loss|final_train_loss|last5_train_loss)\s+(.*)"
)
_FINAL = re.compile(r"(\S+)\s+final_test_loss\s+(\S+)\s+final_test_acc\s+(\S+)")
_LAST5 = re.compile(r"(\S+)\s+last5_test_loss\s+(\S+)\s+last5_test_acc\s+(\S+)\s+\(mean\)")
_LAYER_NAME = re.compile(r"""(['"])[\w.]{1,100}\1\s*:|\b(?:array|tensor)\b""")
_NESTED = re.compile(r"[\d\s,()\[\]]*")
_INNERMOST = re.compile(r"[(\[]([\d\s,]*)[)\]]")


@dataclass(slots=True)
class _Candidate:
    """What a log has said of one retraining so far."""

    line: Line
    pruned: Pruned
    score: float | None = None
    outcomes: dict[str, float] = field(default_factory=dict)


def is_released_log(path: Path) -> bool:
    """Whether a file's first lines hold one of such a log; raises UsageError as reading does."""
    return any(_SAID.search(line.text) for line in itertools.islice(read_lines(path), _PROBE_LINES))


def read_released_log(paths: Sequence[Path]) -> tuple[list[Measurement], int]:
    """Reads logs as one study.

    Args:
        paths: The files; a file holds a part of the candidates, a repeat, or several.

    Returns:
        The measurements in the order of the logs, and how many candidates the logs say there are.

    Raises:
        UsageError: A file cannot be read, or does not say these things in this order.
    """
    found: list[Measurement] = []
    total = 0
    for path in paths:
        one, said = _read_one(path)
        if not one:
            raise UsageError(
                f"{path.name} has no lines such as `[1/252] pruned_index_pair {{((0, 1),)}}`."
            )
        found += one
        total = max(total, said)
        if len(found) > MAX_MEASUREMENTS:
            raise UsageError(f"More than {MAX_MEASUREMENTS:,} retrainings cannot be imported.")
    layers = {len(one.pruned or ()) for one in found}
    if len(layers) > 1:
        few, many = min(layers), max(layers)
        odd = next(one for one in found if len(one.pruned or ()) == few)
        raise UsageError(
            f"The candidate in {odd.place} has filters of {few} layers, others of {many}; these "
            "are logs of different studies."
        )
    return found, total


def _read_one(path: Path) -> tuple[list[Measurement], int]:
    candidates: list[_Candidate] = []
    current: dict[int, _Candidate] = {}
    total = 0
    for line, place, of, what, rest in _statements(path):
        total = max(total, of)
        if what == "pruned_index_pair":
            current[place] = _Candidate(line, _removed(rest, line))
            candidates.append(current[place])
            continue
        candidate = current.get(place)
        if candidate is None:
            raise UsageError(
                f"The {line.place} tells {what} of candidate {place}, but no pruned_index_pair "
                "before it says which filters that one lost."
            )
        if what == "pruned_train_loss":
            candidate.score = number((rest.split() or [""])[0], what, line)
        else:
            candidate.outcomes.update(_outcomes(what, rest, line))
    return [
        Measurement(one.line.place, one.pruned, None, one.score, one.outcomes, one.pruned)
        for one in candidates
        if one.score is not None
    ], total


def _statements(path: Path) -> Iterator[tuple[Line, int, int, str, str]]:
    """Yields what a log says of candidates: line, place, number of candidates, name, rest."""
    for line in read_lines(path):
        match = _SAID.search(line.text)
        if match is None:
            continue
        place, of, what, rest = match.groups()
        if int(of) > _MAX_TOTAL:
            raise UsageError(
                f"The {line.place} speaks of {int(of):,} candidates; at most {_MAX_TOTAL:,} can "
                "be imported."
            )
        yield line, int(place), int(of), what, rest


def _outcomes(what: str, rest: str, line: Line) -> dict[str, float]:
    if what == "final_train_loss":
        match = _FINAL.match(rest)
        if match is None:
            raise UsageError(
                f"The {line.place} should say final_train_loss, final_test_loss and "
                f"final_test_acc, not {short(line.text)!r}."
            )
        names = ("final_train_loss", "best_test_loss", "best_test_acc")
    else:
        match = _LAST5.match(rest)
        if match is None:  # the line with the deviations
            return {}
        names = ("last5_train_loss", "last5_test_loss", "last5_test_acc")
    values = (number(text, name, line) for name, text in zip(names, match.groups(), strict=True))
    # A run has no column for the mean train loss of the last five epochs.
    return {
        name: value for name, value in zip(names, values, strict=True) if name != "last5_train_loss"
    }


def _removed(text: str, line: Line) -> Pruned:
    """Reads `{((0, 1), (3, 4))}`, one innermost group a layer; `{'conv1': [0, 1]}` is read too."""
    opening, _, inner = text.strip().partition("{")
    inner, closing, _ = inner.rpartition("}")
    plain = _LAYER_NAME.sub("", inner)
    layers = _INNERMOST.findall(plain) if _NESTED.fullmatch(plain) else []
    if opening or not closing or not 0 < len(layers) <= MAX_LAYERS:
        raise UsageError(
            f"The removed filters in {line.place} should be such as {{((0, 1), (3, 4))}}, not "
            f"{short(text)!r}."
        )
    return tuple(tuple(sorted(_index(part, line) for part in layer.replace(",", " ").split()))
                 for layer in layers)  # fmt: skip


def _index(text: str, line: Line) -> int:
    if len(text) > 5 or int(text) > 0xFFFF:
        raise UsageError(f"The filter {short(text)} in {line.place} is beyond 65535.")
    return int(text)
