"""A few real digits, and base networks whose candidates differ visibly: for tests that compute."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.catalog import ModelInfo, find_dataset
from engine.work.datasets import ImageData, load_dataset
from engine.work.models import build_model


def first_digits(train: int, test: int) -> ImageData:
    """Returns the first digits of the shipped sample."""
    whole = load_dataset(find_dataset("mnist-5k"), download=False)
    return ImageData(
        whole.train_images[:train],
        whole.train_labels[:train],
        whole.test_images[:test],
        whole.test_labels[:test],
        whole.classes,
        "part of the digits",
    )


def strong_state(info: ModelInfo, seed: int = 3) -> dict[str, Tensor]:
    """Returns random weights for ten classes, larger than torch's own by default.

    Those are so small that all candidates score alike, and a short training changes next to
    nothing.
    """
    torch.manual_seed(seed)
    state = build_model(info, 10).state_dict()
    return {name: t * 6**0.5 if name.endswith("weight") else t for name, t in state.items()}
