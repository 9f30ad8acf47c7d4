"""Reads CIFAR-10 and CIFAR-100 out of their authors' binary archives, trusting nothing in them.

A record is one or two label bytes and then 32x32 red, green and blue values. The archives hold no
pickle, and nothing of them is unpacked onto the disk.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.catalog import DatasetInfo
from engine.errors import UsageError

_SIDE, _CHANNELS = 32, 3
_PIXELS = _SIDE * _SIDE * _CHANNELS
# The archives have 8 and 5 entries; one that goes on and on is not read to its end.
_MOST_ENTRIES = 64
# What is passed over (a readme, class names) is a few hundred bytes.
_LARGEST_OTHER = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """A set's archive.

    Attributes:
        name: Its file name.
        md5: Its MD5 sum, as its authors give it.
        train: The members that hold the train set, in order.
        test: The member that holds the test set.
        label_bytes: Bytes before the pixels of a record; the last of them is the class.
    """

    name: str
    md5: str
    train: tuple[str, ...]
    test: str
    label_bytes: int


class Split(NamedTuple):
    """uint8 images (N, 3, 32, 32) and their int64 labels (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)
# https://www.cs.toronto.edu/~kriz/cifar.html
ARCHIVES: Mapping[str, Archive] = {
    "cifar10": Archive(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
        "cifar-10-batches-bin/test_batch.bin",
        1,
    ),
    "cifar100": Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        ("cifar-100-binary/train.bin",),
        "cifar-100-binary/test.bin",
        2,
    ),
}


def read_archive(path: Path, archive: Archive, info: DatasetInfo) -> tuple[Split, Split]:
    """Returns the train and the test set of an archive.

    Args:
        path: The archive.
        archive: What it should hold.
        info: The set's facts; other numbers of images or classes are an error.

    Raises:
        UsageError: The archive cannot be read, is damaged, or holds something else.
    """
    record = archive.label_bytes + _PIXELS
    each = info.train_images // len(archive.train)
    sizes = dict.fromkeys(archive.train, each * record)
    sizes[archive.test] = info.test_images * record
    try:
        contents = _members(path, sizes)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UsageError(
            f"{path} cannot be read ({error}); remove the file to get it again."
        ) from error
    missing = [name for name in sizes if name not in contents]
    if missing:
        raise UsageError(f"{path} lacks {missing[0]}; remove the file to get it again.")
    train = b"".join(contents[name] for name in archive.train)
    return (
        _split(path, train, archive, info),
        _split(path, contents[archive.test], archive, info),
    )


def _members(path: Path, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Returns the members that are wanted: plain files of exactly the size they must have."""
    contents: dict[str, bytes] = {}
    with tarfile.open(path, "r|gz") as tar:
        for count, member in enumerate(tar):
            if count >= _MOST_ENTRIES:
                raise UsageError(
                    f"{path} has more than {_MOST_ENTRIES} entries; "
                    "remove the file to get it again."
                )
            if member.name not in sizes:
                if member.size > _LARGEST_OTHER:
                    raise UsageError(
                        f"{path} holds {member.size:,} bytes that are not the set's; "
                        "remove the file to get it again."
                    )
                continue
            if not member.isreg() or member.size != sizes[member.name]:
                raise UsageError(
                    f"{member.name} in {path} is not a file of {sizes[member.name]:,} bytes; "
                    "remove the file to get it again."
                )
            if member.name in contents:
                raise UsageError(
                    f"{path} holds {member.name} twice; remove the file to get it again."
                )
            file = tar.extractfile(member)
            content = b"" if file is None else file.read()
            if len(content) != member.size:
                raise UsageError(
                    f"{member.name} in {path} is cut short; remove the file to get it again."
                )
            contents[member.name] = content
            if len(contents) == len(sizes):
                break
    return contents


def _split(path: Path, content: bytes, archive: Archive, info: DatasetInfo) -> Split:
    records = np.frombuffer(content, np.uint8).reshape(-1, archive.label_bytes + _PIXELS)
    labels = records[:, archive.label_bytes - 1].astype(np.int64)
    if int(labels.max()) >= info.classes:
        raise UsageError(
            f"{path} has the label {int(labels.max())}, but there are {info.classes} classes; "
            "remove the file to get it again."
        )
    images = records[:, archive.label_bytes :].reshape(-1, _CHANNELS, _SIDE, _SIDE)
    return Split(np.ascontiguousarray(images), labels)
