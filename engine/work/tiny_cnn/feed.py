"""Images on their way to the kernels: checked once, then packed batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.work.tiny_cnn.architecture import Floats
from engine.work.tiny_cnn.kernels.packing import pack_images
from engine.work.tiny_cnn.kernels.vectors import LANES
from engine.work.tiny_cnn.program import Ints, Longs, aligned

PIXELS = 1024


@dataclass(frozen=True)
class Images:
    """A split: images ``[N, 1024]`` float32 and labels, shared by all candidates, not copied."""

    pixels: Floats
    labels: Ints

    @classmethod
    def of(cls, images: NDArray[Any], labels: NDArray[Any], classes: int) -> Images:
        """Check and flatten a split.

        Args:
            images: float32 ``[N, 32, 32]`` (or ``[N, 1, 32, 32]``).
            labels: integers ``[N]``, each below `classes`.
            classes: number of classes.

        Raises:
            UsageError: shapes or labels do not fit.
        """
        if images.size != len(images) * PIXELS or images.shape[-2:] != (32, 32):
            raise UsageError(f"The images are {images.shape}, but must be (N, 32, 32).")
        if labels.shape != (len(images),) or len(images) == 0:
            raise UsageError(f"There are {len(images)} images but labels of shape {labels.shape}.")
        if labels.min() < 0 or labels.max() >= classes:
            raise UsageError(f"Labels must lie in 0..{classes - 1}, the classes of the network.")
        pixels = np.ascontiguousarray(images, np.float32).reshape(len(images), PIXELS)
        return cls(pixels, np.ascontiguousarray(labels, np.int32))

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Packed:
    """One or more batches as the kernels read them, in buffers that are used again.

    Attributes:
        groups: groups of LANES samples in a full batch.
        images: ``[batches][groups][1024][LANES]``.
        labels: ``[batches][groups * LANES]``, -1 where there is no sample.
        sizes: samples in each batch.
    """

    groups: int
    images: Floats
    labels: Ints
    sizes: Longs

    @classmethod
    def room(cls, batches: int, batch_size: int) -> Packed:
        """Buffers for so many batches of at most `batch_size` samples."""
        groups = -(-batch_size // LANES)
        samples = groups * LANES
        return cls(
            groups,
            aligned(batches * samples * PIXELS),
            np.zeros((batches, samples), np.int32),
            np.zeros(batches, np.int64),
        )

    def groups_of(self, batch: int) -> int:
        """Groups that a batch really has."""
        return -(-int(self.sizes[batch]) // LANES)

    def fill(self, split: Images, batches: list[Longs]) -> None:
        """Pack these samples of a split; one array of sample indices per batch."""
        for b, indices in enumerate(batches):
            samples = len(indices)
            groups = -(-samples // LANES)
            starts = np.zeros(groups * LANES, np.int64)
            starts[:samples] = indices * PIXELS
            self.labels[b] = -1
            self.labels[b, :samples] = split.labels[indices]
            self.sizes[b] = samples
            pack_images().call(
                split.pixels.ctypes.data,
                starts.ctypes.data,
                groups,
                self.images[b * self.groups * LANES * PIXELS :].ctypes.data,
            )
