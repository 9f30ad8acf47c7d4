"""Image files decoded, scaled and cropped by torchvision's transforms, many at a time."""

from __future__ import annotations

import contextlib
import math
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import UsageError
from engine.work.vision_ops import declare_vision_ops

# What is scaled to this many pixels for each 224 of the crop, as torchvision's weights expect.
_RESIZE, _CROP = 256, 224
# torchvision's RandomResizedCrop: shares of the area, and width by height.
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10


class BrokenImage(UsageError):
    """An image file that cannot be decoded."""


def evaluated(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Returns an image as it is evaluated, (channels, size, size).

    Its shorter side is scaled to 256 for each 224 pixels of the size (bilinear, antialiased), and
    the middle is cut out.
    """
    functional = _functional()
    with _opened(path, channels) as image:
        scaled = functional.resize(image, [round(size * _RESIZE / _CROP)], antialias=True)
        return _pixels(functional.center_crop(scaled, [size, size]))


def cropped(path: Path, size: int, channels: int, seed: int, mirrored: bool) -> NDArray[np.uint8]:
    """Returns a random part of an image, as RandomResizedCrop takes it, (channels, size, size).

    Args:
        path: The image.
        size: Height and width of what is returned.
        channels: 3, or 1 for grey.
        seed: The part follows from it and the image's size alone.
        mirrored: Whether it is mirrored left to right.
    """
    functional = _functional()
    with _opened(path, channels) as image:
        box = crop_box(image.height, image.width, seed)
        part = functional.resized_crop(image, *box, [size, size], antialias=True)
        return _pixels(functional.horizontal_flip(part) if mirrored else part)


def crop_box(height: int, width: int, seed: int) -> tuple[int, int, int, int]:
    """Returns top, left, height and width of a random part, drawn as torchvision draws it."""
    drawn = random.Random(seed)
    area = height * width
    for _ in range(_TRIES):
        target = area * (_AREA[0] + (_AREA[1] - _AREA[0]) * drawn.random())
        low, high = map(math.log, _ASPECT)
        aspect = math.exp(low + (high - low) * drawn.random())
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        top, left = drawn.random(), drawn.random()
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    h, w = height, width
    if width / height < _ASPECT[0]:
        h = round(width / _ASPECT[0])
    elif width / height > _ASPECT[1]:
        w = round(height * _ASPECT[1])
    return (height - h) // 2, (width - w) // 2, h, w


class Decoders:
    """Threads that decode: Pillow leaves them free of each other while it works."""

    def __init__(self) -> None:
        """Makes as many as there are processors for this process."""
        self.count = len(os.sched_getaffinity(0))
        self._pool = ThreadPoolExecutor(self.count, "decode")

    def run(
        self, tasks: Sequence[Callable[[], NDArray[np.uint8]]]
    ) -> Iterator[NDArray[np.uint8] | BrokenImage]:
        """Yields, in order, the images or what is wrong with them."""
        return self._pool.map(_tried, tasks)

    def batch(self, tasks: Sequence[Callable[[], NDArray[np.uint8]]]) -> NDArray[np.uint8]:
        """Returns the images as one array; raises BrokenImage for the first that is."""
        images = []
        for found in self.run(tasks):
            if isinstance(found, BrokenImage):
                raise found
            images.append(found)
        return np.stack(images)

    def evaluated(self, paths: Sequence[Path], size: int, channels: int) -> NDArray[np.uint8]:
        """Returns images as they are evaluated; see `evaluated`."""
        return self.batch([partial(evaluated, path, size, channels) for path in paths])


def _tried(task: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8] | BrokenImage:
    try:
        return task()
    except BrokenImage as error:
        return error


@contextlib.contextmanager
def _opened(path: Path, channels: int) -> Iterator[Image.Image]:
    """Opens and decodes a file; raises BrokenImage whatever a decoder raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata of an image that decodes all the same
            with Image.open(path) as image:
                decoded = image.convert("RGB" if channels == 3 else "L")
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they like on a damaged file
        raise BrokenImage(
            f"The image {path} cannot be read ({str(error)[:200]}); replace it or remove it."
        ) from error
    yield decoded


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _functional() -> Any:
    declare_vision_ops()
    from torchvision.transforms.v2 import functional

    return functional
