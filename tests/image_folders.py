"""Small folders of real image files, for tests of whoever reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n01440764", "n01443537", "n01484850")


def write_image(path: Path, label: int, seed: int) -> None:
    """Writes a picture of uneven size whose stripes tell its class."""
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(30, 60, 2))
    rows, columns = np.mgrid[:height, :width]
    stripes = [rows, columns, rows + columns][label % 3] // 4 % 2 * 160
    pixels = np.stack([stripes, stripes // 2, 255 - stripes], 2)
    pixels = pixels + generator.integers(0, 60, pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def imagenet_like(
    root: Path, train: int = 12, test: int = 4, classes: tuple[str, ...] = WNIDS
) -> Path:
    """Writes train/<class>/*.JPEG and val/<class>/*.JPEG; returns the folder."""
    for split, count in (("train", train), ("val", test)):
        for label, name in enumerate(classes):
            for place in range(count):
                seed = 1_000 * label + place + (500 if split == "val" else 0)
                write_image(root / split / name / f"{name}_{place}.JPEG", label, seed)
    return root
