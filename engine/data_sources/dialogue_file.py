"""A person's own questions about images: a JSON file as LLaVA's, beside a folder of images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import DataName
from engine.errors import UsageError

MAX_BYTES = 1 << 30
MAX_DIALOGUES = 5_000_000
MAX_TURNS = 100
MAX_CHARACTERS = 50_000
# Of so many images one is held out, with all that is asked about it: the test set.
_HELD_OUT = 10
_SIGN = "<image>"
_SHOWN = 40

_known: dict[str, tuple[tuple[int, int], DatasetInfo]] = {}


@dataclass(frozen=True, slots=True)
class Record:
    """One dialogue.

    Attributes:
        image: The image's path within the folder.
        turns: (question, answer) pairs.
    """

    image: str
    turns: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DialogueFile:
    """What a file holds.

    Attributes:
        train: Dialogues to train on.
        test: Dialogues about the images that are held out.
        without: How many dialogues were left out because they have no image.
        digest: Names the content of the file; images are not read for it.
    """

    train: tuple[Record, ...]
    test: tuple[Record, ...]
    without: int
    digest: str


def describe_dialogues(name: DataName) -> DatasetInfo:
    """Returns the facts of `llava:FILE.json`; a file that has not changed is not read again.

    Raises:
        UsageError: It cannot be read, or is no file of dialogues.
    """
    path = name.path
    assert path is not None
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(
            f"The file of dialogues {path} cannot be read ({error.strerror}); name one that is "
            "there."
        ) from error
    stamp = status.st_mtime_ns, status.st_size
    known = _known.get(str(name))
    if known is not None and known[0] == stamp:
        return known[1]
    found = read_dialogues(path)
    first = images_folder(name) / found.train[0].image
    if not first.is_file():
        raise UsageError(
            f"The image {first} is missing; write the folder of the images behind the file, "
            "llava:FILE.json:FOLDER."
        )
    facts = DatasetInfo(
        str(name),
        path.stem[:60],
        2,
        3,
        len(found.train),
        len(found.test),
        (0.5,) * 3,
        (0.5,) * 3,
        f"the file {path}"[:256],
        digest=found.digest,
        asks=True,
    )
    _known[str(name)] = stamp, facts
    return facts


def images_folder(name: DataName) -> Path:
    """Returns the folder of the images: the one that is named, else the file's own."""
    assert name.path is not None
    return Path(name.attribute) if name.attribute else name.path.parent


def read_dialogues(path: Path) -> DialogueFile:
    """Reads a list of `{"image": ..., "conversations": [{"from": "human", "value": ...}, ...]}`.

    Raises:
        UsageError: It is too large, no JSON, or holds something else; the sentence says where.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(
                f"{path} is larger than {MAX_BYTES >> 20:,} MB; split it into several files."
            )
        content = path.read_bytes()
        entries = json.loads(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON ({str(error)[:100]}); save it again.") from error
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_DIALOGUES:
        raise UsageError(f"{path} must hold a list of 1 to {MAX_DIALOGUES:,} dialogues.")
    records = [
        _record(entry, f"Dialogue {place} of {path}")
        for place, entry in enumerate(entries, start=1)
        if not (isinstance(entry, dict) and entry.get("image") is None)
    ]
    train, test = _held_out(records)
    if not train or not test:
        raise UsageError(
            f"{path} has dialogues about {len({one.image for one in records})} images; at least 2 "
            "are needed, because a part of them is the test set."
        )
    digest = hashlib.blake2b(content, digest_size=12).hexdigest()
    return DialogueFile(train, test, len(entries) - len(records), digest)


def _held_out(records: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Splits by image, in the order of the file, so that no test image is trained on."""
    places = {image: place for place, image in enumerate(dict.fromkeys(r.image for r in records))}
    every = min(_HELD_OUT, max(2, len(places)))
    held = [places[record.image] % every == every - 1 for record in records]
    train = tuple(record for record, out in zip(records, held, strict=True) if not out)
    return train, tuple(record for record, out in zip(records, held, strict=True) if out)


def _record(entry: Any, what: str) -> Record:
    if not isinstance(entry, dict):
        raise UsageError(f"{what} is no object with an image and conversations.")
    image, said = entry.get("image"), entry.get("conversations")
    if not isinstance(image, str) or not 0 < len(image) < 1_000:
        raise UsageError(f"{what} must name one image, as a path within the folder of images.")
    inside = PurePosixPath(image)
    if inside.is_absolute() or ".." in inside.parts or not image.isprintable():
        raise UsageError(f"{what} names the image {image[:_SHOWN]!r}, which is outside the folder.")
    if not isinstance(said, list) or not 2 <= len(said) <= 2 * MAX_TURNS or len(said) % 2:
        raise UsageError(f"{what} must have 1 to {MAX_TURNS} questions, each with its answer.")
    texts = [_text(one, ("human", "gpt")[place % 2], what) for place, one in enumerate(said)]
    return Record(image, tuple(zip(texts[::2], texts[1::2], strict=True)))


def _text(said: Any, who: str, what: str) -> str:
    value = said.get("value") if isinstance(said, dict) else None
    if not isinstance(value, str) or said.get("from") != who:
        raise UsageError(f"{what} must alternate between human and gpt, each with a text as value.")
    text = " ".join(value.replace(_SIGN, " ").split()) if who == "human" else value.strip()
    if _SIGN in text or not 0 < len(text) <= MAX_CHARACTERS:
        raise UsageError(
            f"{what} has a text that is empty, longer than {MAX_CHARACTERS:,} characters, or an "
            "answer with an image in it."
        )
    return text
