"""Reads the idx files of the MNIST family, trusting nothing in them."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError

# The networks of this family take 32x32; a header that asks for more is not believed.
MAX_SIDE = 32
_UNSIGNED_BYTES = 0x08


def read_images(path: Path, count: int) -> NDArray[np.uint8]:
    """Returns the grey images of an idx3 file, gzipped or not, (count, height, width).

    Args:
        path: The file.
        count: How many images the set has; any other number is an error.

    Raises:
        UsageError: The file cannot be read, is damaged, or holds something else.
    """
    return _read(path, 3, count)


def read_labels(path: Path, count: int, classes: int) -> NDArray[np.int64]:
    """Returns the labels of an idx1 file, gzipped or not, (count,), each below `classes`.

    Raises:
        UsageError: The file cannot be read, is damaged, or holds something else.
    """
    labels = _read(path, 1, count)
    if labels.size and int(labels.max()) >= classes:
        raise UsageError(
            f"{path} has the label {int(labels.max())}, but there are {classes} classes; "
            "remove the file to get it again."
        )
    return labels.astype(np.int64)


def _read(path: Path, dimensions: int, count: int) -> NDArray[np.uint8]:
    try:
        with _open(path) as file:
            shape = _shape(path, file, dimensions, count)
            size = math.prod(shape)
            # One byte more than announced: enough to see that a file goes on, and no bomb.
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(
            f"{path} cannot be read ({error}); remove the file to get it again."
        ) from error
    if len(content) != size:
        state = "is cut short" if len(content) < size else "goes on after its last item"
        raise UsageError(f"{path} {state}; remove the file to get it again.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _shape(
    path: Path, file: BinaryIO | gzip.GzipFile, dimensions: int, count: int
) -> tuple[int, ...]:
    """Reads the header: two zeros, the element type, the number of dimensions, each big endian."""
    header = file.read(4 + 4 * dimensions)
    magic = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if len(header) < 4 + 4 * dimensions or header[:4] != magic:
        raise UsageError(
            f"{path} is not an idx file of {dimensions} dimension(s) of bytes; "
            "remove the file to get it again."
        )
    shape = tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))
    if not all(1 <= side <= MAX_SIDE for side in shape[1:]):
        raise UsageError(
            f"{path} announces images of {shape[1:]} pixels, not 1 to {MAX_SIDE} a side; "
            "remove the file to get it again."
        )
    if shape[0] != count:
        raise UsageError(
            f"{path} holds {shape[0]:,} items where the set has {count:,}; "
            "remove the file to get it again."
        )
    return shape
