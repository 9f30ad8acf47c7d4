"""The first 5,000 train and 1,000 test images of Fashion-MNIST, from its own four files.

Debian's package dataset-fashion-mnist puts the files where they are looked for; FASHION_MNIST names
another folder.
"""

import gzip
import os
from pathlib import Path

import numpy as np

FOLDER = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def read(name, count):
    """Returns the first entries of a file of the set; the header says the shape."""
    data = gzip.decompress((FOLDER / name).read_bytes())
    sizes = np.frombuffer(data, ">i4", data[3], 4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(sizes)
    return values[:count]


class Fashion5k:
    """Ten kinds of clothes; small enough for a study of many retrainings on a CPU."""

    title = "Fashion-MNIST, 5,000 images"

    def load(self):
        """Returns train images and labels, then test images and labels."""
        return (
            read("train-images-idx3-ubyte.gz", 5_000),
            read("train-labels-idx1-ubyte.gz", 5_000),
            read("t10k-images-idx3-ubyte.gz", 1_000),
            read("t10k-labels-idx1-ubyte.gz", 1_000),
        )
