"""Images that do not stay in memory: read, prepared and normalised a batch at a time.

They stand where a tensor of all images stands, for those who only ask for its length, shape and
device, and index it by slices and by tensors of places.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# uint8 (n, channels, size, size) of the images at some places.
Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


class StoredImages:
    """A split of a data set as `Read` gives it, normalised on the device that asks for it."""

    def __init__(
        self, read: Read, shape: tuple[int, int, int, int], table: Tensor, device: torch.device
    ) -> None:
        """Takes how images are read.

        Args:
            read: Gives prepared uint8 images; of one channel where `shape` repeats grey ones.
            shape: (images, channels, height, width) of what is given out.
            table: (channels of what is read, 256), what each value is after normalisation.
            device: Where images are given out.
        """
        self._read, self._table = read, table.to(device)
        self.shape, self.device = torch.Size(shape), device
        self.is_cuda = device.type == "cuda"
        self.dtype = torch.float32

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: slice | Tensor) -> Tensor:
        if isinstance(places, slice):
            index = np.arange(*places.indices(len(self)), dtype=np.int64)
        else:
            index = places.cpu().numpy()
        return normalised(self._read(index), self._table, self.shape[1])

    def to(self, device: torch.device) -> Tensor:
        """Returns the same images, given out on another device."""
        return StoredImages(self._read, cast(tuple[int, int, int, int], tuple(self.shape)),
                            self._table, device).as_tensor()  # fmt: skip

    def as_tensor(self) -> Tensor:
        """Returns itself under the type whose place it takes."""
        return cast(Tensor, self)


def normalised(images: NDArray[np.uint8], table: Tensor, channels: int) -> Tensor:
    """Returns float32 images (n, channels, h, w) on the table's device, by looking values up.

    Bytes are sent, not floats, from pinned memory where that is a GPU's: a quarter of the way.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    if table.is_cuda:
        pixels = pixels.pin_memory().to(table.device, non_blocking=True)
    parts = [values[pixels[:, channel].int()] for channel, values in enumerate(table)]
    whole = torch.stack(parts, 1)
    return whole.expand(-1, channels, -1, -1) if len(table) < channels else whole


class SharedBatches:
    """Batches that many ask for and one makes: the candidates of a pack see the same images.

    Keeps the latest, up to so many bytes. Any number of threads may ask.
    """

    def __init__(self, most_bytes: int) -> None:
        """Takes how much is kept."""
        self._most = most_bytes
        self._bytes = 0
        self._guard = threading.Lock()
        self._kept: OrderedDict[Hashable, Future[NDArray[np.uint8]]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Returns what `make` gave for this key; raises what it raised."""
        with self._guard:
            kept = self._kept.get(key)
            mine = kept is None
            if kept is None:
                kept = self._kept[key] = Future()
            else:
                self._kept.move_to_end(key)
        if not mine:
            return kept.result()
        try:
            made = make()
        except BaseException as error:
            with self._guard:
                del self._kept[key]
            kept.set_exception(error)
            raise
        kept.set_result(made)
        with self._guard:
            self._bytes += made.nbytes
            for old, future in list(self._kept.items()):
                if self._bytes <= self._most:
                    break
                if old != key and future.done():
                    del self._kept[old]
                    self._bytes -= future.result().nbytes
        return made


__all__ = ["Read", "SharedBatches", "StoredImages", "normalised"]
