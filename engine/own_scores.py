"""A researcher's own scores: files and installed packages, looked at without running them.

What they say of themselves is read from the text or from the package's metadata; their code runs
only in the engine process (`engine.work.criteria.own`).
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import UsageError
from engine.scores import column_of, find_score, is_well_formed

ENTRY_POINTS = "oracle_tui.scores"
FUNCTION = "score"
_MAX_BYTES = 1 << 20

Value = TypeVar("Value", str, bool)


@dataclass(frozen=True, slots=True)
class CriterionFile:
    """A file that defines a score.

    Attributes:
        name: Its column: the file's name without `.py`.
        path: Where it is, absolute.
        digest: Twelve hex digits of its content.
        title: How it is shown.
        low_is_good: Whether a low value should mean a good network after retraining.
    """

    name: str
    path: Path
    digest: str
    title: str
    low_is_good: bool

    @property
    def score(self) -> str:
        """The score as a spec names it: `name@digest`, for another content is another study."""
        return f"{self.name}@{self.digest}"

    def to_json(self) -> dict[str, Any]:
        """Returns what a run's config records."""
        return {
            "path": str(self.path),
            "digest": self.digest,
            "title": self.title,
            "low_is_good": self.low_is_good,
        }


def read_criterion(path: Path) -> CriterionFile:
    """Looks at a criterion's file without running it.

    Raises:
        UsageError: It cannot be read, is not Python, or defines no function named `score`.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"The criterion {path} cannot be read: {error.strerror}.") from error
    if len(source) > _MAX_BYTES:
        raise UsageError(f"The criterion {path} is larger than {_MAX_BYTES:,} bytes.")
    name = path.stem
    if not is_well_formed(name) or "@" in name:
        raise UsageError(
            f"The file's name is its score's name, so {path.name} must be letters, digits and "
            "underscores before `.py`."
        )
    if find_score(name) is not None:
        raise UsageError(f"{name} is a score already; give {path.name} another name.")
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or str(error)
        raise UsageError(f"{path}, line {line}: {reason}.") from error
    if not any(isinstance(part, ast.FunctionDef) and part.name == FUNCTION for part in tree.body):
        raise UsageError(f"{path} defines no function `{FUNCTION}(subject, candidates)`.")
    title = _stated(tree, "title", str, f"{path}: title is a text in quotes.")
    # A direction that is only known by running the file would turn its rank round unseen.
    low = _stated(tree, "low_is_good", bool, f"{path}: low_is_good is True or False, written out.")
    return CriterionFile(
        name=name,
        path=path.resolve(),
        digest=content_digest(source),
        title=title or name,
        low_is_good=low is not False,
    )


def content_digest(source: bytes) -> str:
    """Returns the twelve hex digits that name a file's content."""
    return hashlib.blake2b(source, digest_size=6).hexdigest()


def installed_scores() -> dict[str, importlib.metadata.EntryPoint]:
    """Returns the scores that installed packages offer, by name, without loading them."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: point for point in found if is_usable(point.name)}


def is_usable(name: str) -> bool:
    """Tells whether a package's score can have this name."""
    return is_well_formed(name) and column_of(name) == name and find_score(name) is None


def _stated(tree: ast.Module, wanted: str, kind: type[Value], refusal: str) -> Value | None:
    """Returns the plain value that a module's top level gives to a name last; None if it does not.

    Raises:
        UsageError: It gives something else; the refusal says what is wanted.
    """
    found: Value | None = None
    for part in tree.body:
        targets = part.targets if isinstance(part, ast.Assign) else []
        if isinstance(part, ast.AnnAssign) and part.value is not None:
            targets = [part.target]
        if any(isinstance(target, ast.Name) and target.id == wanted for target in targets):
            value = getattr(getattr(part, "value", None), "value", None)
            if not isinstance(value, kind):
                raise UsageError(refusal)
            found = value
    return found
