"""The batches of an epoch, cut from the device's images; cropped and mirrored where that is wanted.

What is drawn comes from a CPU generator seeded by (study's seed, repeat, epoch), so that every
device and every pack sees the same images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.seeds import derive_seed
from engine.work.datasets import ImageData
from engine.work.datasets.folder import FileCrops

# The protocol's crop: as large as the image, from one with this border on every side.
PADDING = 4


@dataclass(frozen=True, slots=True)
class Draws:
    """How the images of an order are moved and mirrored, one entry for each.

    Attributes:
        down: (m,) int64, first row of the crop in the padded image, 0 to 2 * PADDING.
        right: (m,) int64, its first column.
        mirrored: (m,) bool, whether the crop is mirrored left to right.
        parts: (m,) int64, what the random part of an original image follows from, for data sets
            whose train images are such parts.
    """

    down: NDArray[np.int64]
    right: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    parts: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Returns m, for how many images this was drawn."""
        return len(self.down)

    def part(self, start: int, stop: int) -> Self:
        """Returns the draws of a piece of the order."""
        piece = slice(start, stop)
        parts = None if self.parts is None else self.parts[piece]
        return type(self)(self.down[piece], self.right[piece], self.mirrored[piece], parts)

    def to(self, device: torch.device) -> DeviceDraws:
        """Returns the same draws on a device."""
        parts = (self.down, self.right, self.mirrored)
        return DeviceDraws(*(torch.from_numpy(part).to(device) for part in parts))


@dataclass(frozen=True, slots=True)
class DeviceDraws:
    """Draws on a device; see `Draws`."""

    down: Tensor
    right: Tensor
    mirrored: Tensor

    def split(self, size: int) -> list[DeviceDraws]:
        """Returns the draws of consecutive batches."""
        parts = (torch.split(part, size) for part in (self.down, self.right, self.mirrored))
        return [DeviceDraws(*batch) for batch in zip(*parts, strict=True)]


def batch_draws(seed: int, repeat: int, epoch: int, count: int) -> Draws:
    """Returns the draws for one epoch of one repeat; entry i belongs to the order's entry i."""
    return seeded_draws(derive_seed(seed, "augment", repeat, epoch), count)


def pretrain_draws(seed: int, epoch: int, count: int) -> Draws:
    """Returns the draws for one epoch of pretraining."""
    return seeded_draws(derive_seed(seed, "pretrain", "augment", epoch), count)


def train_batches(
    data: ImageData, order: NDArray[np.int64], batch_size: int, draws: Draws | None
) -> Iterator[tuple[Any, Tensor]]:
    """Yields the images and labels of consecutive batches, on the data's device.

    Args:
        data: The data.
        order: (m,) indices into the train set.
        batch_size: Images in a batch; the last may have fewer.
        draws: How they are cropped and mirrored; needed just where the data wants it.
    """
    if (draws is None) == data.augmented:
        raise ValueError("draws are for data that is augmented, and for no other")
    images, labels = data.split("train")
    if data.crops is not None and draws is not None:
        yield from _cropped_batches(data.crops, labels, order, batch_size, draws)
        return
    batches = torch.split(torch.from_numpy(order).to(images.device), batch_size)
    if draws is None or data.black is None:
        for batch in batches:
            yield data.taken("train", batch)
        return
    if len(draws) != len(order):
        raise ValueError(f"{len(order)} images need as many draws, not {len(draws)}")
    moved = draws.to(images.device).split(batch_size)
    for batch, own in zip(batches, moved, strict=True):
        yield crop_and_flip(images[batch], own, data.black), labels[batch]


def _cropped_batches(
    crops: FileCrops, labels: Tensor, order: NDArray[np.int64], batch_size: int, draws: Draws
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields batches of random parts of the original images."""
    if draws.parts is None or len(draws) != len(order):
        raise ValueError(f"{len(order)} images need as many draws of parts")
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        own = draws.part(start, start + batch_size)
        assert own.parts is not None
        images = crops.batch(batch, own.parts, own.mirrored)
        yield images, labels[torch.from_numpy(batch).to(labels.device)]


def crop_and_flip(images: Tensor, draws: DeviceDraws, black: Tensor) -> Tensor:
    """Returns the images moved by up to PADDING pixels, some of them mirrored.

    Equal to torchvision's RandomCrop(size, padding=4) and RandomHorizontalFlip before ToTensor and
    Normalize, given the same draws.

    Args:
        images: (batch, channels, height, width), normalised.
        draws: One entry for each image.
        black: (channels,), what a black pixel is after normalisation: the border.
    """
    height, width = images.shape[2:]
    border = (PADDING,) * 4
    inner = functional.pad(images, border)
    blank = functional.pad(torch.ones_like(images[:1, :1], dtype=torch.bool), border)
    padded = torch.where(blank, inner, black.view(1, -1, 1, 1))
    rows = draws.down[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), -1)
    columns = torch.where(draws.mirrored[:, None], width - 1 - columns, columns)
    columns = columns + draws.right[:, None]
    place = torch.arange(len(images), device=images.device)[:, None, None]
    # Indexing with the channels' slice between puts the channels last.
    cropped = padded[place, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2).contiguous()


def seeded_draws(seed: int, count: int) -> Draws:
    """Returns draws for so many images, from one seed."""
    generator = torch.Generator().manual_seed(seed)
    moves = torch.randint(0, 2 * PADDING + 1, (2, count), generator=generator).numpy()
    mirrored = torch.rand(count, generator=generator) < 0.5
    parts = torch.randint(0, 1 << 62, (count,), generator=generator)
    return Draws(moves[0], moves[1], mirrored.numpy(), parts.numpy())
