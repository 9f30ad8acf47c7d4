"""Where a base network's weights come from when it is not trained from scratch. No torch."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engine.errors import UsageError

PRETRAINED = "pretrained"
# Families of models whose libraries offer weights by name.
_OFFERED = frozenset({"torchvision", "timm"})
_TAG = re.compile(rf"{PRETRAINED}(?::([A-Za-z0-9_.-]{{1,64}}))?\Z")
_DIGEST = re.compile(r"[0-9a-f]{32}\Z")
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Weights:
    """Given weights of a base network.

    Attributes:
        source: A file's absolute path, or "pretrained" (or "pretrained:TAG") for the library's.
        digest: Names the content of the file; "" for the library's.
        tuned: Whether the base network is trained on from them, by the pretraining recipe. Its
            classifier may then be a new one; otherwise the weights are taken as they are.
    """

    source: str
    digest: str = ""
    tuned: bool = False

    def __post_init__(self) -> None:
        """Checks the form; raises UsageError."""
        if len(self.source) > _LONGEST:
            raise UsageError(f"The path of the weights is longer than {_LONGEST} characters.")
        if self.of_library:
            if self.digest:
                raise UsageError("Weights of a library have no digest in a spec.")
        elif not Path(self.source).is_absolute() or not _DIGEST.match(self.digest):
            raise UsageError(f"{self.source[:80]!r} does not name weights; give a file.")

    @property
    def of_library(self) -> bool:
        """Whether they come from torchvision or timm."""
        return _TAG.match(self.source) is not None

    @property
    def tag(self) -> str:
        """Which of a library's weights; "" for the usual ones."""
        found = _TAG.match(self.source)
        return (found[1] or "") if found else ""

    def check(self) -> None:
        """Raises UsageError where a file is there that is not the one the study was made with."""
        if not self.of_library and Path(self.source).exists():
            self.check_digest(digest_of_weights(Path(self.source)))

    def check_digest(self, digest: str) -> None:
        """Raises UsageError where a content of that digest is not the study's."""
        if digest != self.digest:
            raise UsageError(
                f"{self.source} is not what it was when this run was made; put the old file "
                "back, or make a new run."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the weights as a JSON object."""
        return {"source": self.source, "digest": self.digest, "tuned": self.tuned}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; raises UsageError."""
        try:
            given = dict(data)
            source, digest = given.pop("source"), given.pop("digest", "")
            tuned = given.pop("tuned", False)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"These are no weights: {error!r}.") from error
        if given or not (
            isinstance(source, str) and isinstance(digest, str) and isinstance(tuned, bool)
        ):
            raise UsageError("Weights have a source, a digest and tuned (true or false) only.")
        return cls(source, digest, tuned)


def read_weights(text: str, *, tuned: bool = False) -> Weights | None:
    """Returns the weights a person named: a file, `pretrained[:TAG]`, or None for `none`.

    Raises:
        UsageError: There is no such file, or it cannot be read.
    """
    if text.lower() == "none":
        return None
    if _TAG.match(text):
        return Weights(text, tuned=tuned)
    path = Path(text).expanduser().absolute()
    return Weights(str(path), digest_of_weights(path), tuned)


def digest_of_weights(path: Path) -> str:
    """Returns a name for the content of a file of weights; raises UsageError."""
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(f"The weights {path} are not a regular file.")
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise UsageError(f"The weights {path} cannot be read: {error.strerror}.") from error


def require_offered(family: str, title: str) -> None:
    """Raises UsageError where no library offers weights of a model by name."""
    if family not in _OFFERED:
        raise UsageError(
            f"No library has pretrained weights of {title}; give a file of them, or none."
        )
