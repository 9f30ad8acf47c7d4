"""Folders of images as data: decoded once into a file of bytes, and cropped from the originals."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data_sources.folder import Listing, list_folder
from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import DataName, is_outside, parse
from engine.data_sources.places import IMAGENET
from engine.errors import UsageError
from engine.folders import cache_folder, ensure_private
from engine.work.datasets.decoding import BrokenImage, Decoders, cropped, evaluated
from engine.work.datasets.stored import Read, SharedBatches, normalised

# Raise it when a change of code changes how images are prepared.
_VERSION = 1
# Images are decoded for the file so many at a time, so that a stop is obeyed soon.
_AT_A_TIME = 256
# Room on the disk that the file of decoded images leaves to others.
_LEFT_FREE = 0.1
# Train batches that are kept for the other candidates of a pack.
SHARED_BYTES = 1 << 30
_BROKEN_TOLD = 1_000

Say = Callable[[str], None]
Count = Callable[[int, int], None]


class FileCrops:
    """Train batches of random parts of the original images, made once for all candidates."""

    def __init__(
        self, paths: Sequence[Path], size: int, channels: int, table: Tensor, decoders: Decoders
    ) -> None:
        """Takes the train images and what a crop of one is to be.

        Args:
            paths: The images.
            size: Height and width of a crop.
            channels: Channels that the model takes; grey ones are repeated.
            table: (channels of the images, 256), what each value is after normalisation.
            decoders: Who decodes.
        """
        self._paths, self._size, self._channels, self._table = paths, size, channels, table
        self._decoders = decoders
        self._shared = SharedBatches(SHARED_BYTES)

    def to(self, device: torch.device) -> FileCrops:
        """Returns the same, given out on another device."""
        table = self._table.to(device)
        return FileCrops(self._paths, self._size, self._channels, table, self._decoders)

    def batch(
        self, places: NDArray[np.int64], seeds: NDArray[np.int64], mirrored: NDArray[np.bool_]
    ) -> Tensor:
        """Returns normalised crops (n, channels, size, size) of the images at some places.

        Args:
            places: (n,) which images.
            seeds: (n,) what each crop follows from.
            mirrored: (n,) whether it is mirrored.
        """
        key = (places.tobytes(), seeds.tobytes(), mirrored.tobytes())
        images = self._shared.get(key, lambda: self._decoders.batch(
            [
                partial(cropped, self._paths[place], self._size, len(self._table), seed, flip)
                for place, seed, flip in zip(
                    places.tolist(), seeds.tolist(), mirrored.tolist(), strict=True
                )
            ]
        ))  # fmt: skip
        return normalised(images, self._table, self._channels)


class FolderImages:
    """A folder's images as they are evaluated, out of the decoded file or decoded each time."""

    def __init__(self, info: DatasetInfo, size: int, say: Say, count: Count) -> None:
        """Lists the folder and decodes it into the cache where that has room and has it not yet.

        Raises:
            UsageError: The folder is not what it was when the study was made, an image is broken,
                or what `list_folder` raises.
        """
        listing = _listing(info)
        self.decoders = Decoders()
        self._info, self._size = info, size
        self.train_paths = [listing.root / path for path, _ in listing.train]
        self._test_paths = [listing.root / path for path, _ in listing.test]
        self.train_labels, self.test_labels = (
            np.array([label for _, label in split], np.int64)
            for split in (listing.train, listing.test)
        )
        sizes = _stamps([*self.train_paths, *self._test_paths])
        preparation = (_VERSION, size, info.channels, info.mean, info.std, info.crops)
        digest = hashlib.blake2b(f"{listing.digest}{preparation}".encode(), digest_size=16)
        digest.update(sizes[0].tobytes())
        self.digest = digest.hexdigest()
        digest.update(sizes[1].tobytes())
        self._decoded = self._open(digest.hexdigest(), say, count)

    def crops(self, table: Tensor, channels: int) -> FileCrops:
        """Returns who makes train batches of random parts of the images."""
        return FileCrops(self.train_paths, self._size, channels, table, self.decoders)

    def reader(self, split: str) -> Read:
        """Returns how images of "train" or "test" are read at some places of the split."""
        paths = self.train_paths if split == "train" else self._test_paths
        decoded, first = self._decoded, 0 if split == "train" else len(self.train_paths)

        def read(places: NDArray[np.int64]) -> NDArray[np.uint8]:
            if decoded is None:
                wanted = [paths[place] for place in places.tolist()]
                return self.decoders.evaluated(wanted, self._size, self._info.channels)
            # A slice of a memory map is read in one go, and places one by one.
            whole = len(places) and places[-1] - places[0] == len(places) - 1
            if whole and bool((np.diff(places) == 1).all()):
                start = first + int(places[0])
                return np.array(decoded[start : start + len(places)])
            return np.asarray(decoded[first + places])

        return read

    def _open(self, key: str, say: Say, count: Count) -> NDArray[np.uint8] | None:
        """Returns the decoded file as a memory map; None where the disk has no room for it."""
        folder = cache_folder() / "datasets" / "decoded"
        path = folder / f"{key}.u8"
        total = len(self.train_paths) + len(self._test_paths)
        shape = (total, self._info.channels, self._size, self._size)
        needed = int(np.prod(shape, dtype=np.int64))
        if not (path.is_file() and path.stat().st_size == needed):
            try:
                ensure_private(folder)
                free = shutil.disk_usage(folder).free
            except (OSError, UsageError) as error:
                say(f"no decoded images are kept ({error}); they are decoded each time")
                return None
            if needed > (1 - _LEFT_FREE) * free:
                say(
                    f"decoded, {self._info.title} takes {needed / 1e9:.1f} GB and {folder} has "
                    f"{free / 1e9:.1f} GB free; images are decoded each time they are read"
                )
                return None
            try:
                self._decode(path, shape, count)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                say(f"{folder} is full; images are decoded each time they are read")
                return None
        return np.memmap(path, np.uint8, "r", shape=shape)

    def _decode(self, path: Path, shape: tuple[int, ...], count: Count) -> None:
        """Writes the decoded file, whole or not at all.

        Raises:
            UsageError: Images cannot be decoded; all of them are listed in a file.
        """
        temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        paths = [*self.train_paths, *self._test_paths]
        broken: list[BrokenImage] = []
        try:
            with temporary.open("wb") as file:
                for start in range(0, len(paths), _AT_A_TIME):
                    tasks = [
                        partial(evaluated, one, self._size, shape[1])
                        for one in paths[start : start + _AT_A_TIME]
                    ]
                    for image in self.decoders.run(tasks):
                        if isinstance(image, BrokenImage):
                            broken.append(image)
                        elif not broken:
                            file.write(image.data)
                    count(min(start + _AT_A_TIME, len(paths)), len(paths))
                file.flush()
                os.fsync(file.fileno())
            if broken:
                raise UsageError(_told(broken, path))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _told(broken: Sequence[BrokenImage], path: Path) -> str:
    """Returns one sentence about the images that cannot be decoded."""
    if len(broken) == 1:
        return str(broken[0])
    listed = path.with_suffix(".broken.txt")
    lines = [str(each) for each in broken[:_BROKEN_TOLD]]
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
    first = str(broken[0]).removesuffix("; replace it or remove it.")
    return (
        f"{first}, and {len(broken) - 1:,} more cannot either; replace or remove those that "
        f"{listed} lists."
    )


def _listing(info: DatasetInfo) -> Listing:
    """Returns the folder's list, which must be the one that the study was made with."""
    if is_outside(info.name):
        listing = list_folder(parse(info.name))
        if info.digest and listing.digest != info.digest:
            raise UsageError(
                f"The images in {listing.root} are not those this study was made with; make a new "
                "study."
            )
        return listing
    listing = list_folder(DataName(IMAGENET, None))
    found = len(listing.train), len(listing.test)
    if found != (info.train_images, info.test_images):
        raise UsageError(
            f"{listing.root} holds {found[0]:,} train and {found[1]:,} test images, and "
            f"{info.title} {info.train_images:,} and {info.test_images:,}; unpack the rest, or "
            f"study it as folder:{listing.root}."
        )
    return listing


def _stamps(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Returns (2, n): sizes of the files, and when they were changed; raises UsageError."""
    found = np.empty((2, len(paths)), np.int64)
    for place, path in enumerate(paths):
        try:
            status = os.stat(path)
        except OSError as error:
            raise UsageError(
                f"The image {path} cannot be read ({error.strerror}); replace it or remove it."
            ) from error
        found[:, place] = status.st_size, status.st_mtime_ns
    return found
