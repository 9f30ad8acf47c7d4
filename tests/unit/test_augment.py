"""Crops and flips on the device against torchvision's own transforms on the same draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from engine.catalog import find_dataset
from engine.work.augment import (
    PADDING,
    Draws,
    batch_draws,
    crop_and_flip,
    pretrain_draws,
    train_batches,
)
from engine.work.datasets import ImageData, prepare
from engine.work.vision_ops import declare_vision_ops

torch.set_num_threads(1)

CIFAR = replace(find_dataset("cifar10"), title="Tiny", train_images=60, test_images=10)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (60, 3, 32, 32)).astype(np.uint8)


@pytest.fixture(scope="module")
def data(pixels: np.ndarray) -> ImageData:
    labels = np.arange(60, dtype=np.int64) % 10
    return prepare(CIFAR, pixels, labels, pixels[:10], labels[:10])


def test_batches_are_torchvisions_crops_and_flips_to_the_bit(
    pixels: np.ndarray, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_vision_ops()
    from torchvision import transforms

    draws = batch_draws(0, 0, 0, 60)
    order = np.random.default_rng(2).permutation(60)
    batches = list(train_batches(data, order, 25, draws))
    assert [len(labels) for _, labels in batches] == [25, 25, 10]
    found = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    assert torch.equal(labels, data.train_labels[torch.from_numpy(order)])
    crop = transforms.RandomCrop(32, padding=PADDING)
    flips = {chance: transforms.RandomHorizontalFlip(p=chance) for chance in (0.0, 1.0)}
    rest = transforms.Compose([transforms.ToTensor(), transforms.Normalize(CIFAR.mean, CIFAR.std)])
    for place, image in enumerate(order):
        corner = (int(draws.down[place]), int(draws.right[place]), 32, 32)
        monkeypatch.setattr(crop, "get_params", lambda *_, corner=corner: corner)
        whole = Image.fromarray(pixels[image].transpose(1, 2, 0))
        moved = flips[float(draws.mirrored[place])](crop(whole))
        assert torch.equal(found[place], rest(moved))


def test_a_piece_of_an_epoch_sees_the_same_images(data: ImageData) -> None:
    draws, order = batch_draws(3, 1, 2, 60), np.arange(60)
    whole = torch.cat([images for images, _ in train_batches(data, order, 20, draws)])
    part = torch.cat(
        [images for images, _ in train_batches(data, order[20:], 20, draws.part(20, 60))]
    )
    assert torch.equal(whole[20:], part)


def test_draws_follow_from_seed_repeat_and_epoch_alone() -> None:
    def same(one: Draws, other: Draws) -> bool:
        parts = ("down", "right", "mirrored")
        return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in parts)

    draws = batch_draws(7, 1, 2, 5_000)
    torch.manual_seed(0)
    assert same(draws, batch_draws(7, 1, 2, 5_000))
    others = [batch_draws(8, 1, 2, 5_000), batch_draws(7, 0, 2, 5_000), pretrain_draws(7, 2, 5_000)]
    assert not any(same(draws, other) for other in others)
    # Every corner equally often, mirrored half of the time.
    for moves in (draws.down, draws.right):
        counts = np.bincount(moves, minlength=2 * PADDING + 1)
        assert len(counts) == 2 * PADDING + 1
        assert counts.min() > 0.8 * 5_000 / 9
    assert abs(draws.mirrored.mean() - 0.5) < 0.05
    assert abs(np.corrcoef(draws.down, draws.right)[0, 1]) < 0.05


def test_the_middle_crop_unmirrored_is_the_image(data: ImageData) -> None:
    middle = np.full(60, PADDING)
    draws = Draws(middle, middle, np.zeros(60, bool)).to(torch.device("cpu"))
    assert data.black is not None
    assert torch.equal(crop_and_flip(data.train_images, draws, data.black), data.train_images)


def test_draws_and_data_must_fit(data: ImageData) -> None:
    order, draws = np.arange(60), batch_draws(0, 0, 0, 60)
    with pytest.raises(ValueError, match="augmented"):
        next(train_batches(data, order, 20, None))
    with pytest.raises(ValueError, match="augmented"):
        next(train_batches(replace(data, black=None), order, 20, draws))
    with pytest.raises(ValueError, match="60 images"):
        next(train_batches(data, order, 20, draws.part(0, 59)))
