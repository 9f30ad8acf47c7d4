"""Data sets, prepared by the protocol: tensors in memory, or images read batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data_sources.arrays import digest_of_arrays
from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import is_outside, parse
from engine.data_sources.npz import read_npz
from engine.data_sources.places import IMAGENET
from engine.errors import UsageError
from engine.work.datasets.cifar import ARCHIVES, read_archive
from engine.work.datasets.file_class import arrays_of_class
from engine.work.datasets.files import cache_of, download_all, locate
from engine.work.datasets.folder import FileCrops, FolderImages
from engine.work.datasets.idx import read_images, read_labels
from engine.work.datasets.resize import resized
from engine.work.datasets.stored import Read, StoredImages

SIDE = 32

# Prepared images stay in memory up to this share of what is free, and those of a folder up to so
# many bytes; beyond, they are prepared anew for each batch. No number depends on it.
_SHARE_OF_MEMORY = 0.5
FOLDER_BYTES = 4 << 30
_AT_A_TIME = 256

# Train images, train labels, test images, test labels.
Raw = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set, in memory or read batch by batch.

    Images that do not fit into memory are `StoredImages` under a tensor's type: they have a length,
    a shape and a device, and can be indexed.

    Attributes:
        train_images: float32 (N, channels, size, size), normalised.
        train_labels: int64 (N,).
        test_images: float32 (M, channels, size, size), normalised.
        test_labels: int64 (M,).
        classes: How many classes there are.
        digest: Names the content: images, labels and preparation.
        black: Where train images are to be cropped and mirrored, what a black pixel is in each
            channel after normalisation, (channels,); None where they are taken as they are.
        crops: Where train batches are to be random parts of the original images, who makes them.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    digest: str
    black: Tensor | None = None
    crops: FileCrops | None = None

    def to(self, device: torch.device) -> Self:
        """Returns the same data on a device."""
        return replace(
            self,
            train_images=_moved(self.train_images, device),
            train_labels=self.train_labels.to(device),
            test_images=_moved(self.test_images, device),
            test_labels=self.test_labels.to(device),
            black=None if self.black is None else self.black.to(device),
            crops=None if self.crops is None else self.crops.to(device),
        )

    @property
    def augmented(self) -> bool:
        """Whether train images are cropped and mirrored at random."""
        return self.black is not None or self.crops is not None

    @property
    def in_memory(self) -> bool:
        """Whether all of it is tensors."""
        images = self.train_images, self.test_images
        return self.crops is None and all(isinstance(each, Tensor) for each in images)

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Returns images and labels of "train" or "test"."""
        if name == "train":
            return self.train_images, self.train_labels
        if name == "test":
            return self.test_images, self.test_labels
        raise ValueError(f"{name!r} is no split; train and test are")

    def taken(self, split: str, index: Tensor) -> tuple[Any, Tensor]:
        """Returns what a network reads of some samples of a split, and what it should answer."""
        images, labels = self.split(split)
        return images[index], labels[index]


def _moved(images: Tensor, device: torch.device) -> Tensor:
    """Returns images on a device; the channels of grey ones are views of one there, too."""
    if isinstance(images, Tensor) and images.shape[1] > 1 and images.stride(1) == 0:
        return images[:, :1].to(device).expand(images.shape)
    return images.to(device)


def load_dataset(
    info: DatasetInfo,
    *,
    size: int = SIDE,
    channels: int = 1,
    download: bool = True,
    progress: Callable[[str], None] | None = None,
    count: Callable[[int, int], None] | None = None,
    room: int | None = None,
) -> ImageData:
    """Loads a data set, prepared as the protocol says: resized, scaled, normalised.

    Args:
        info: The set's facts.
        size: Height and width that the model takes.
        channels: Channels that the model takes; grey images are repeated in each.
        download: Whether it may be downloaded when it is not on this machine.
        progress: Called with lines about a download; may raise to break it off.
        count: Called with (images decoded, images in all) while a folder is read; may raise, too.
        room: Bytes that prepared images may take; beyond it they are prepared for each batch. Half
            of the free memory where it is not given.

    Raises:
        UsageError: The set is not here and cannot be had, or its files are damaged.
    """
    say = progress or (lambda line: None)
    if info.name == IMAGENET or (is_outside(info.name) and parse(info.name).kind in _FOLDERS):
        return _from_folder(
            info, size, channels, say, count or (lambda done, total: None), _room(room)
        )
    if is_outside(info.name):
        return prepare(info, *_own_arrays(info), size=size, channels=channels, room=room)
    files = locate(info, download=download, say=say)
    try:
        raw = _read(info, files)
    except UsageError:
        if not download or files[0].parent != cache_of(info):
            raise
        # What the cache holds can be had again; a second damaged copy is an error.
        say(f"{info.title} is damaged in the cache; downloading it again")
        download_all(info, say)
        return load_dataset(info, size=size, channels=channels, download=False, room=room)
    return prepare(info, *raw, size=size, channels=channels, room=room)


_FOLDERS = ("folder", "imagenet")


def _own_arrays(info: DatasetInfo) -> Raw:
    """Returns the arrays of a person's file; raises UsageError where they are others by now."""
    name = parse(info.name)
    assert name.path is not None
    arrays = read_npz(name.path) if name.kind == "npz" else arrays_of_class(name)
    if info.digest and digest_of_arrays(arrays) != info.digest:
        raise UsageError(
            f"What {info.source.removeprefix('the ')} holds has changed since this study was made; "
            "make a new study."
        )
    return arrays


def _from_folder(
    info: DatasetInfo,
    size: int,
    channels: int,
    say: Callable[[str], None],
    count: Callable[[int, int], None],
    room: int,
) -> ImageData:
    room = min(room, FOLDER_BYTES)
    folder = FolderImages(info, size, say, count)
    table = _table(info)
    return ImageData(
        _given_out(folder.reader("train"), len(folder.train_labels), size, channels, table, room),
        torch.from_numpy(folder.train_labels),
        _given_out(folder.reader("test"), len(folder.test_labels), size, channels, table, room),
        torch.from_numpy(folder.test_labels),
        info.classes,
        folder.digest if channels == info.channels else f"{folder.digest}-{channels}",
        crops=folder.crops(table, channels) if info.crops else None,
    )


def _given_out(
    read: Read, count: int, size: int, channels: int, table: Tensor, room: int
) -> Tensor:
    """Returns images as a tensor where that is small, else read for each batch."""
    shape = (count, channels, size, size)
    stored = StoredImages(read, shape, table, torch.device("cpu"))
    if count * len(table) * size * size * 4 > room:
        return stored.as_tensor()
    whole = torch.empty(count, len(table), size, size)
    for start in range(0, count, _AT_A_TIME):
        piece = slice(start, start + _AT_A_TIME)
        whole[piece] = stored[piece][:, : len(table)]
    return whole.expand(-1, channels, -1, -1) if len(table) < channels else whole


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
    room: int | None = None,
) -> ImageData:
    """Returns prepared data from images and their labels.

    Grey images are (N, height, width), coloured ones (N, 3, height, width).

    Equal to torchvision's Resize(size) on PIL images, ToTensor and Normalize, bit for bit. The
    channels of a grey image are views of one.

    Where the prepared images do not fit into memory they are prepared anew for each batch.
    """
    preparation = (size, info.mean, info.std) + ((channels,) if channels > 1 else ())
    digest = hashlib.blake2b(repr(preparation).encode(), digest_size=16)
    for array in (train_images, train_labels, test_images, test_labels):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return ImageData(
        _prepared(train_images, info, size, channels, _room(room)),
        torch.from_numpy(train_labels),
        _prepared(test_images, info, size, channels, _room(room)),
        torch.from_numpy(test_labels),
        info.classes,
        digest.hexdigest(),
        _table(info)[:, 0] if info.augmented else None,
    )


def _room(given: int | None) -> int:
    return int(_SHARE_OF_MEMORY * psutil.virtual_memory().available) if given is None else given


def _prepared(
    images: NDArray[np.uint8], info: DatasetInfo, size: int, channels: int, room: int
) -> Tensor:
    if len(images) * info.channels * size * size * 4 <= room:
        return _normalised(images, info, size, channels)

    def read(places: NDArray[np.int64]) -> NDArray[np.uint8]:
        some = images[places]
        if some.ndim == 3:
            return resized(some, size)[:, None]
        return np.stack([resized(np.ascontiguousarray(c), size) for c in some.swapaxes(0, 1)], 1)

    shape = (len(images), channels, size, size)
    return StoredImages(read, shape, _table(info), torch.device("cpu")).as_tensor()


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


__all__ = ["SIDE", "ImageData", "load_dataset", "prepare"]
