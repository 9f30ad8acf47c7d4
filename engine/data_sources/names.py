"""How data sets outside the catalog are named: where they are, and choices behind an @."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from engine.described import split_file
from engine.errors import UsageError

# What may stand behind the @, for each kind.
OPTIONS = {
    "folder": ("classes", "images", "test", "seed", "augment", "channels"),
    "imagenet": ("classes", "images", "seed", "augment"),
    "npz": ("augment",),
    "file": (),
    "llava": (),
}
_OPTION = r"[a-z]+=[A-Za-z0-9.]+"
_WITH_OPTIONS = re.compile(rf"(?P<base>.+?)@(?P<options>{_OPTION}(?:,{_OPTION})*)")
_DEFAULTS = {"seed": "0", "augment": "", "channels": "3"}
_LONGEST = 240


@dataclass(frozen=True, slots=True)
class DataName:
    """A parsed name.

    Attributes:
        kind: "folder", "imagenet", "npz", "file" (a class in a person's Python file) or "llava"
            (dialogues about images).
        path: Where it is; None for an ImageNet that is looked for.
        attribute: The class in the file, or the folder of the images that dialogues are about; ""
            for other kinds.
        options: What stands behind the @.
    """

    kind: str
    path: Path | None
    attribute: str = ""
    options: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Returns the name in full: absolute path, options in one order, no defaults."""
        prefix = {"folder": "folder:", "imagenet": "imagenet:", "llava": "llava:"}.get(
            self.kind, ""
        )
        base = "imagenet" if self.path is None else f"{prefix}{self.path}"
        base += f":{self.attribute}" if self.attribute else ""
        told = [
            f"{name}={self.options[name]}"
            for name in OPTIONS[self.kind]
            if name in self.options and self.options[name] != _DEFAULTS.get(name)
        ]
        return f"{base}@{','.join(told)}" if told else base

    def integer(self, option: str, least: int) -> int | None:
        """Returns an option that is a whole number, or None where it is not given.

        Raises:
            UsageError: It is no whole number, or too small.
        """
        text = self.options.get(option)
        if text is None:
            return None
        if not text.isdecimal() or not least <= int(text) < 1 << 31:
            raise UsageError(f"{option}= takes a whole number from {least}, not {text!r}.")
        return int(text)

    @property
    def seed(self) -> int:
        """What classes, images and the split are drawn with."""
        return self.integer("seed", 0) or 0

    def with_option(self, name: str, value: str) -> DataName:
        """Returns the name with one more option, for what was chosen without being asked for."""
        return DataName(self.kind, self.path, self.attribute, {**self.options, name: value})


def is_outside(name: str) -> bool:
    """Whether a name is written as those of data sets outside the catalog are."""
    base = _base(name.strip())
    return (
        base.lower().startswith(("folder:", "imagenet:", "llava:"))
        or (base.lower() == "imagenet" and base != name.strip())
        or base.lower().endswith(".npz")
        or split_file(base) is not None
    )


def parse(name: str) -> DataName:
    """Reads a name for which `is_outside` holds.

    Raises:
        UsageError: An option is unknown, or the name is too long.
    """
    name = name.strip()
    found = _WITH_OPTIONS.fullmatch(name)
    base = found["base"] if found else name
    options: dict[str, str] = {}
    for part in found["options"].split(",") if found else ():
        key, _, value = part.partition("=")
        if key in options:
            raise UsageError(f"{key}= is given twice in {name!r}.")
        options[key] = value
    file = split_file(base)
    prefix, _, rest = base.partition(":")
    if prefix.lower() == "llava":
        parsed = _dialogues(rest)
    elif file is not None:
        parsed = DataName("file", file[0], file[1], options)
    elif prefix.lower() in ("folder", "imagenet"):
        path = Path(rest.strip()).expanduser().absolute() if rest.strip() else None
        if path is None and prefix.lower() == "folder":
            raise UsageError("Name the folder behind folder:, for example folder:/data/flowers.")
        parsed = DataName(prefix.lower(), path, "", options)
    else:
        parsed = DataName("npz", Path(base).expanduser().absolute(), "", options)
    for key in options:
        if key not in OPTIONS[parsed.kind]:
            known = ", ".join(f"{each}=" for each in OPTIONS[parsed.kind]) or "nothing"
            raise UsageError(f"{base} takes {known} behind the @, and no {key}=.")
    if len(str(parsed)) > _LONGEST or not str(parsed).isprintable():
        raise UsageError(
            f"The name of the data set, {str(parsed)[:60]!r}..., is too long or not printable; "
            "link to it from a shorter path."
        )
    return parsed


def _dialogues(rest: str) -> DataName:
    """Reads `FILE.json` or `FILE.json:FOLDER`."""
    end = rest.lower().find(".json:")
    file, folder = (rest, "") if end < 0 else (rest[: end + 5], rest[end + 6 :])
    if not file.strip():
        raise UsageError("Name the file behind llava:, for example llava:train.json:images.")
    images = str(Path(folder.strip()).expanduser().absolute()) if folder.strip() else ""
    return DataName("llava", Path(file.strip()).expanduser().absolute(), images)


def _base(name: str) -> str:
    found = _WITH_OPTIONS.fullmatch(name)
    return found["base"] if found else name
