"""A researcher's own criteria: files and installed packages, run in the engine process only.

Whatever goes wrong in one becomes one sentence that names its file and line.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from engine.errors import RunFailure
from engine.own_scores import ENTRY_POINTS, FUNCTION, content_digest, installed_scores
from engine.work.bench import Pruned
from engine.work.criteria.subject import Scores, Subject, Tell

Measure = Callable[[Subject, Sequence[Pruned], Tell], Scores]


def file_criterion(name: str, recorded: Mapping[str, Any] | None) -> Measure:
    """Returns the criterion that a file defines.

    Args:
        name: Its score.
        recorded: What the run's config says of the file.

    Raises:
        RunFailure: The file is not there, is not the one that the run was made with, or fails.
    """
    path = Path(str((recorded or {}).get("path") or ""))
    try:
        source = path.read_bytes()
    except OSError as error:
        raise RunFailure(
            f"The criterion {name} cannot be read from {path}: {error.strerror}."
        ) from error
    if content_digest(source) != (recorded or {}).get("digest"):
        raise RunFailure(
            f"{path} is not what it was when this run was made; put the old file back, or make a "
            "new run."
        )
    names: dict[str, Any] = {"__name__": name, "__file__": str(path)}

    def load() -> None:
        code: CodeType = compile(source, str(path), "exec")
        exec(code, names)

    _guarded(load, str(path))
    return _criterion(name, names[FUNCTION], str(path))


def installed_criterion(name: str) -> tuple[Measure, dict[str, Any]]:
    """Returns the criterion of an installed package, and what a run's config records of it.

    Raises:
        RunFailure: No package offers it, or it cannot be loaded.
    """
    point = installed_scores().get(name)
    if point is None:
        raise RunFailure(
            f"No installed package offers the score {name} (entry points of {ENTRY_POINTS}); "
            "install it, or make a run without it."
        )
    where = f"{point.value} (score {name})"
    holder = _guarded(point.load, where)
    function = holder if callable(holder) else getattr(holder, FUNCTION, None)
    if not callable(function):
        raise RunFailure(f"{where} is neither a function nor a module with one named {FUNCTION}.")
    package = point.dist
    return _criterion(name, function, where), {
        "package": package.name if package else "",
        "version": package.version if package else "",
        "title": str(getattr(holder, "title", name)),
        "low_is_good": bool(getattr(holder, "low_is_good", True)),
    }


def _criterion(name: str, function: Callable[..., Any], where: str) -> Measure:
    code = getattr(function, "__code__", None)
    source = code.co_filename if code else where

    def measure(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
        values = _guarded(
            lambda: np.asarray(function(subject, candidates), dtype=np.float64), source
        )
        if values.shape != (len(candidates),):
            raise RunFailure(
                f"{source}: {FUNCTION} gave values of shape {values.shape} for "
                f"{len(candidates)} candidates; it must give one number for each."
            )
        return {name: values}

    return measure


def _guarded(call: Callable[[], Any], source: str) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as error:  # anything may happen in somebody else's code
        raise RunFailure(_sentence(error, source)) from error


def _sentence(error: BaseException, source: str) -> str:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == source]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    if lines:
        line = lines[-1]
    where = f"{source}, line {line}" if line else source
    said = " ".join(str(error).split())[:300].rstrip(".")
    return f"{where}: {type(error).__name__}{f': {said}' if said else ''}."
