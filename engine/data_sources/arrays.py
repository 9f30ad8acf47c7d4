"""Four arrays as a data set: shapes, types and labels are checked, and nothing is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data_sources.info import MAX_CLASSES, DatasetInfo
from engine.errors import UsageError

NAMES = ("x_train", "y_train", "x_test", "y_test")
# Train images, train labels, test images, test labels.
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]
_LARGEST_SIDE = 4_096


def checked(arrays: Sequence[Any], what: str) -> Arrays:
    """Returns the arrays as the data sets of the catalog come: grey (N, h, w), else (N, 3, h, w).

    Args:
        arrays: Train images, train labels, test images, test labels. Images are uint8, (N, h, w)
            or with 1 or 3 channels, first or last; labels whole numbers, (N,) or (N, 1).
        what: Whose they are, for sentences.

    Raises:
        UsageError: They are no images with labels, or train and test do not fit together.
    """
    if len(arrays) != len(NAMES) or not all(hasattr(array, "shape") for array in arrays):
        raise UsageError(f"{what} must give the four arrays {', '.join(NAMES)}.")
    x_train, y_train, x_test, y_test = (np.asarray(array) for array in arrays)
    train, test = (_images(x, f"{name} of {what}")
                   for x, name in ((x_train, "x_train"), (x_test, "x_test")))  # fmt: skip
    if train.shape[1:] != test.shape[1:]:
        raise UsageError(
            f"x_train and x_test of {what} hold images of different shapes, {train.shape[1:]} and "
            f"{test.shape[1:]}; give both one shape."
        )
    train_labels = _labels(y_train, len(train), f"y_train of {what}")
    test_labels = _labels(y_test, len(test), f"y_test of {what}")
    classes = int(train_labels.max()) + 1
    if not 2 <= classes <= MAX_CLASSES:
        raise UsageError(f"y_train of {what} has {classes:,} classes; labels count from 0.")
    missing = np.flatnonzero(np.bincount(train_labels, minlength=classes) == 0)
    if len(missing):
        raise UsageError(
            f"y_train of {what} has no image of class {missing[0]} but some of {classes - 1}; "
            "count the classes from 0 without gaps."
        )
    if int(test_labels.max()) >= classes:
        raise UsageError(
            f"y_test of {what} has the label {int(test_labels.max())}, which y_train lacks; "
            f"its labels go to {classes - 1}."
        )
    return train, train_labels, test, test_labels


def facts_of(arrays: Arrays, name: str, title: str, source: str) -> DatasetInfo:
    """Returns the facts of four checked arrays; mean and deviation are the train images' own."""
    train, train_labels, test, _ = arrays
    channels = 1 if train.ndim == 3 else train.shape[1]
    counts = [
        np.bincount((train if train.ndim == 3 else train[:, channel]).reshape(-1), minlength=256)
        for channel in range(channels)
    ]
    values = np.arange(256) / 255
    means = [float(count @ values / count.sum()) for count in counts]
    deviations = [
        max(1e-3, float(np.sqrt(count @ (values - mean) ** 2 / count.sum())))
        for count, mean in zip(counts, means, strict=True)
    ]
    return DatasetInfo(
        name,
        title,
        int(train_labels.max()) + 1,
        channels,
        len(train),
        len(test),
        tuple(round(mean, 4) for mean in means),
        tuple(round(deviation, 4) for deviation in deviations),
        source,
        size=train.shape[-1],
        digest=digest_of_arrays(arrays),
    )


def digest_of_arrays(arrays: Arrays) -> str:
    """Names the content of the arrays."""
    digest = hashlib.blake2b(digest_size=12)
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _images(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise UsageError(
            f"{what} holds {array.dtype}, not uint8; convert its values to 0..255 with "
            ".astype('uint8')."
        )
    if array.ndim not in (3, 4) or 0 in array.shape or len(array) >= 1 << 28:
        raise UsageError(f"{what} has the shape {array.shape}; images are (N, height, width, 3).")
    if array.ndim == 4:
        if array.shape[-1] in (1, 3):
            array = np.moveaxis(array, -1, 1)
        elif array.shape[1] not in (1, 3):
            raise UsageError(f"{what} has the shape {array.shape}; images have 1 or 3 channels.")
        array = array[:, 0] if array.shape[1] == 1 else array
    height, width = array.shape[-2:]
    if height != width or height > _LARGEST_SIDE:
        raise UsageError(
            f"{what} holds images of {height} x {width} pixels; crop or pad them to squares of at "
            f"most {_LARGEST_SIDE:,}."
        )
    return np.ascontiguousarray(array)


def _labels(array: NDArray[Any], count: int, what: str) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,) or array.dtype.kind not in "iu":
        raise UsageError(
            f"{what} is {array.dtype} of shape {array.shape}; {count:,} whole numbers are wanted, "
            "one for each image."
        )
    if int(array.min()) < 0 or int(array.max()) >= MAX_CLASSES:
        raise UsageError(f"{what} has labels outside 0 to {MAX_CLASSES - 1:,}; count from 0.")
    return array.astype(np.int64)
