"""What is known of a data set without loading it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from engine.errors import UsageError

MAX_CLASSES = 1 << 20
MAX_IMAGES = 1 << 28
_MAX_TEXT = 256
_MAX_SIZE = 1 << 14


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A data set of the study.

    Attributes:
        name: What a person types.
        title: How it is shown.
        classes: Number of classes.
        channels: Image channels.
        train_images: Images in the train set.
        test_images: Images in the test set.
        mean: Per-channel mean that normalisation subtracts, on the scale 0..1.
        std: Per-channel deviation that normalisation divides by, on the scale 0..1.
        source: Where it is looked for, in words.
        augmented: Whether train images are cropped with a border and mirrored at random, as the
            protocol does with CIFAR.
        size: Height and width of its images; 0 where they differ.
        crops: Whether train images are random parts of the originals, resized and mirrored, as
            usual with ImageNet.
        asks: Whether it asks questions about its images; then images are counted as often as they
            are asked about.
        digest: Names the content of a set outside the catalog: its list of files, or its arrays.
    """

    name: str
    title: str
    classes: int
    channels: int
    train_images: int
    test_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    augmented: bool = False
    size: int = 0
    crops: bool = False
    digest: str = ""
    asks: bool = False

    @property
    def augmentation(self) -> str:
        """What is done to train images, in a word."""
        if self.crops:
            return "random resized crop, mirrored"
        return "crop with a border of 4, mirrored" if self.augmented else "none"

    def to_json(self) -> dict[str, Any]:
        """Returns the facts as a JSON object."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote, trusting nothing.

        Raises:
            UsageError: It is not the facts of a data set.
        """
        try:
            told = dict(data)
            unknown = set(told) - {field.name for field in fields(cls)}
            if unknown:
                raise ValueError(f"there is no field {sorted(unknown)[0]!r}")
            info = cls(
                name=_text(told["name"]),
                title=_text(told["title"]),
                classes=_count(told["classes"], 2, MAX_CLASSES),
                channels=_count(told["channels"], 1, 3),
                train_images=_count(told["train_images"], 1, MAX_IMAGES),
                test_images=_count(told["test_images"], 1, MAX_IMAGES),
                mean=tuple(map(_number, told["mean"])),
                std=tuple(map(_number, told["std"])),
                source=_text(told["source"]),
                augmented=_flag(told.get("augmented", False)),
                size=_count(told.get("size", 0), 0, _MAX_SIZE),
                crops=_flag(told.get("crops", False)),
                digest=_text(told.get("digest", "")),
                asks=_flag(told.get("asks", False)),
            )
            if not len(info.mean) == len(info.std) == info.channels or min(info.std) <= 0:
                raise ValueError("mean and std do not fit the channels")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"These are not the facts of a data set: {error!r}.") from error
        return info


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise ValueError(f"{str(value)[:40]!r} is no short text")
    return value


def _count(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} is no count from {least} to {most}")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 256:
        raise ValueError(f"{str(value)[:40]!r} is no share of 0..1")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{str(value)[:40]!r} is neither true nor false")
    return value
