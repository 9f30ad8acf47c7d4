"""Bilinear enlargement of grey images in a batch, equal to Pillow's to the last bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Pillow's fixed-point arithmetic for 8-bit images (src/libImaging/Resample.c).
_PRECISION_BITS = 32 - 8 - 2
# Few enough images at a time that the 32-bit intermediates stay in a core's cache.
_AT_A_TIME = 256


def resized(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Returns (N, size, size) images from (N, height, width) ones, as Pillow resizes them."""
    if max(images.shape[1:]) <= size:
        return enlarge(images, size)
    from PIL import Image

    smaller = np.empty((len(images), size, size), np.uint8)
    for place, image in enumerate(images):
        whole = Image.fromarray(image)
        smaller[place] = np.asarray(whole.resize((size, size), Image.Resampling.BILINEAR))
    return smaller


def enlarge(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Returns (N, size, size) images from (N, height, width) ones that are not larger.

    The protocol resizes PIL images before anything else. Pillow weighs in fixed point, first along
    rows and then along columns, rounding to 8 bits after each; so does this.
    """
    if max(images.shape[1:]) > size:
        raise ValueError(f"images of {images.shape[1:]} cannot be enlarged to {size}")
    if images.shape[1:] == (size, size):
        return images
    enlarged = np.empty((len(images), size, size), np.uint8)
    for start in range(0, len(images), _AT_A_TIME):
        part = images[start : start + _AT_A_TIME]
        rows = _along(part, size, axis=2)
        enlarged[start : start + len(part)] = _along(rows, size, axis=1)
    return enlarged


def _along(images: NDArray[np.uint8], size: int, axis: int) -> NDArray[np.uint8]:
    first, second, weight_first, weight_second = _taps(images.shape[axis], size)
    shape = [1, 1, 1]
    shape[axis] = size
    total = images.take(first, axis).astype(np.int32)
    total *= weight_first.reshape(shape)
    other = images.take(second, axis).astype(np.int32)
    other *= weight_second.reshape(shape)
    total += other
    total += 1 << (_PRECISION_BITS - 1)
    total >>= _PRECISION_BITS
    return total.astype(np.uint8)


def _taps(
    before: int, after: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32], NDArray[np.int32]]:
    """Returns the two neighbours of each output pixel, and their weights in fixed point.

    The triangle filter has a support of one input pixel, so at an edge, where one neighbour is
    outside the image, the other has all the weight.
    """
    scale = before / after
    centers = (np.arange(after) + 0.5) * scale - 0.5
    first = np.floor(centers).astype(np.intp)
    fraction = centers - first
    inside = (first >= 0) & (first + 1 < before)
    weights = np.where(inside, fraction, (first < 0).astype(float))
    scaled = 1 << _PRECISION_BITS
    return (
        np.maximum(first, 0),
        np.minimum(first + 1, before - 1),
        (0.5 + (1 - weights) * scaled).astype(np.int32),
        (0.5 + weights * scaled).astype(np.int32),
    )
