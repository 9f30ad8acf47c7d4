"""The data sets of the catalog, prepared by the protocol as tensors that stay in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.catalog import DatasetInfo
from engine.errors import UsageError
from engine.work.datasets.cifar import ARCHIVES, read_archive
from engine.work.datasets.files import cache_of, download_all, locate
from engine.work.datasets.idx import read_images, read_labels
from engine.work.datasets.resize import resized

SIDE = 32

# Train images, train labels, test images, test labels.
Raw = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set in memory.

    Attributes:
        train_images: float32 (N, channels, size, size), normalised.
        train_labels: int64 (N,).
        test_images: float32 (M, channels, size, size), normalised.
        test_labels: int64 (M,).
        classes: How many classes there are.
        digest: Names the content: images, labels and preparation.
        black: Where train images are to be cropped and mirrored, what a black pixel is in each
            channel after normalisation, (channels,); None where they are taken as they are.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    digest: str
    black: Tensor | None = None

    def to(self, device: torch.device) -> Self:
        """Returns the same data on a device."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
            black=None if self.black is None else self.black.to(device),
        )

    @property
    def augmented(self) -> bool:
        """Whether train images are cropped and mirrored at random."""
        return self.black is not None

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Returns images and labels of "train" or "test"."""
        if name == "train":
            return self.train_images, self.train_labels
        if name == "test":
            return self.test_images, self.test_labels
        raise ValueError(f"{name!r} is no split; train and test are")


def load_dataset(
    info: DatasetInfo,
    *,
    size: int = SIDE,
    channels: int = 1,
    download: bool = True,
    progress: Callable[[str], None] | None = None,
) -> ImageData:
    """Loads a data set, prepared as the protocol says: resized, scaled, normalised.

    Args:
        info: The set's facts.
        size: Height and width that the model takes.
        channels: Channels that the model takes; grey images are repeated in each.
        download: Whether it may be downloaded when it is not on this machine.
        progress: Called with lines about a download; may raise to break it off.

    Raises:
        UsageError: The set is not here and cannot be had, or its files are damaged.
    """
    say = progress or (lambda line: None)
    files = locate(info, download=download, say=say)
    try:
        raw = _read(info, files)
    except UsageError:
        if not download or files[0].parent != cache_of(info):
            raise
        # What the cache holds can be had again; a second damaged copy is an error.
        say(f"{info.title} is damaged in the cache; downloading it again")
        download_all(info, say)
        return load_dataset(info, size=size, channels=channels, download=False)
    return prepare(info, *raw, size=size, channels=channels)


def _read(info: DatasetInfo, files: Sequence[Path]) -> Raw:
    """Returns train images, train labels, test images and test labels; raises UsageError."""
    if (archive := ARCHIVES.get(info.name)) is not None:
        train, test = read_archive(files[0], archive, info)
        return (*train, *test)
    return (
        read_images(files[0], info.train_images),
        read_labels(files[1], info.train_images, info.classes),
        read_images(files[2], info.test_images),
        read_labels(files[3], info.test_images, info.classes),
    )


def prepare(
    info: DatasetInfo,
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    *,
    size: int = SIDE,
    channels: int = 1,
) -> ImageData:
    """Returns prepared data from images and their labels.

    Grey images are (N, height, width), coloured ones (N, 3, height, width).

    Equal to torchvision's Resize(size) on PIL images, ToTensor and Normalize, bit for bit. The
    channels of a grey image are views of one.

    Raises:
        UsageError: The prepared images do not fit into memory.
    """
    _check_memory(info, len(train_images) + len(test_images), size)
    preparation = (size, info.mean, info.std) + ((channels,) if channels > 1 else ())
    digest = hashlib.blake2b(repr(preparation).encode(), digest_size=16)
    for array in (train_images, train_labels, test_images, test_labels):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return ImageData(
        _normalised(train_images, info, size, channels),
        torch.from_numpy(train_labels),
        _normalised(test_images, info, size, channels),
        torch.from_numpy(test_labels),
        info.classes,
        digest.hexdigest(),
        _table(info)[:, 0] if info.augmented else None,
    )


def _normalised(images: NDArray[np.uint8], info: DatasetInfo, size: int, channels: int) -> Tensor:
    """Looks every value up: there are only 256 of them."""
    table = _table(info).numpy()
    if images.ndim == 3:
        grey = torch.from_numpy(table[0].take(resized(images, size))).unsqueeze(1)
        return grey.expand(-1, channels, -1, -1)
    prepared = np.empty((*images.shape[:2], size, size), np.float32)
    for channel, values in enumerate(table):
        prepared[:, channel] = values.take(resized(images[:, channel], size))
    return torch.from_numpy(prepared)


def _table(info: DatasetInfo) -> Tensor:
    """Returns what each of the 256 values is after normalisation, (channels, 256)."""
    values = torch.arange(256, dtype=torch.uint8).to(torch.float32).div(255)
    mean, std = torch.tensor(info.mean), torch.tensor(info.std)
    return values.sub(mean[:, None]).div(std[:, None])


def _check_memory(info: DatasetInfo, images: int, size: int) -> None:
    needed = images * info.channels * size * size * 4
    free = psutil.virtual_memory().available
    if needed > 0.8 * free:
        raise UsageError(
            f"{info.title} at {size} x {size} pixels takes {needed / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free; choose a smaller input size, for example @64 behind "
            "the model's name."
        )


__all__ = ["SIDE", "ImageData", "load_dataset", "prepare"]
