"""Fashion-QA: generated questions about real Fashion-MNIST images, the same ones every time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.catalog import DatasetInfo, find_dataset
from engine.errors import UsageError
from engine.folders import shipped_folder
from engine.seeds import derive_seed
from engine.work.datasets.files import Say, locate
from engine.work.datasets.idx import read_images, read_labels
from engine.work.mllm.dialogues import Dialogue, Split

# Part of what the data set is: other seeds would ask other questions.
_SEED = 0
_YES_OR_NO = "yes or no"


@dataclass(frozen=True, slots=True)
class GreyImages:
    """Grey images, shown as red, green and blue of equal value."""

    grey: NDArray[np.uint8]

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self.grey)

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        """Returns one image, (height, width, 3)."""
        return np.repeat(self.grey[place][:, :, None], 3, axis=2)


@cache
def questions_file() -> dict[str, Any]:
    """Returns what can be asked and answered; raises UsageError where the file is damaged."""
    path = shipped_folder() / "fashion-qa" / "questions.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if len(content["items"]) != 10 or not content["questions"]:
            raise ValueError("it does not name ten items and some questions")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"The questions of Fashion-QA, {path}, are damaged ({error}); "
            "install the package again."
        ) from error
    return content


def vocabulary() -> list[str]:
    """Returns every word of the questions and answers, in a fixed order."""
    content = questions_file()
    words: dict[str, None] = {}
    for text in (*content["items"], "user : assistant : yes no", *_all_texts(content)):
        words |= dict.fromkeys(text.replace("{item}", "").split())
    return list(words)


def fashion_splits(info: DatasetInfo, *, download: bool, say: Say) -> tuple[Split, Split]:
    """Returns the train and test set: one question about each of the first images.

    Raises:
        UsageError: Fashion-MNIST is not here and cannot be had.
    """
    source = find_dataset("fashion-mnist")
    files = locate(source, download=download, say=say)
    found = []
    for part, (name, whole, count) in enumerate(
        (
            ("train", source.train_images, info.train_images),
            ("test", source.test_images, info.test_images),
        )
    ):
        images = read_images(files[2 * part], whole)[:count]
        labels = read_labels(files[2 * part + 1], whole, source.classes)[:count]
        found.append(Split(GreyImages(images), tuple(ask(labels, name))))
    return found[0], found[1]


def ask(labels: NDArray[np.int64], purpose: str) -> Iterator[Dialogue]:
    """Yields one question about each image, drawn by the shares that the questions file gives.

    Args:
        labels: (n,) what each image shows.
        purpose: Part of the seed, so that train and test set are drawn apart.
    """
    content = questions_file()
    kinds, items = content["questions"], content["items"]
    shares = np.array([kind["share"] for kind in kinds], np.float64)
    random = np.random.default_rng(derive_seed(_SEED, "fashion-qa", purpose))
    chosen = random.choice(len(kinds), size=len(labels), p=shares / shares.sum())
    wordings = random.integers(0, 1 << 16, size=len(labels))
    # Half of the items asked about by name are the right ones.
    others = (labels + random.integers(1, len(items), size=len(labels))) % len(items)
    named = np.where(random.random(len(labels)) < 0.5, labels, others)
    for place, label in enumerate(labels.tolist()):
        kind = kinds[chosen[place]]
        question = kind["ask"][wordings[place] % len(kind["ask"])]
        if kind["answers"] == _YES_OR_NO:
            answer = "yes" if named[place] == label else "no"
        else:
            answer = kind["answers"][label]
        yield Dialogue(place, ((question.replace("{item}", items[named[place]]), answer),))


def _all_texts(content: dict[str, Any]) -> Iterator[str]:
    for kind in content["questions"]:
        yield from kind["ask"]
        if kind["answers"] != _YES_OR_NO:
            yield from kind["answers"]
