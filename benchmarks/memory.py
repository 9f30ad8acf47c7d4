"""Peak memory of a process that trains and evaluates K candidates: `python -m benchmarks.memory K`.

A suite starts it twice and takes the difference.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from engine.work.tiny_cnn import FusedPack

SAMPLES = 60_000


def main() -> None:
    """Print the peak resident size in MB as JSON."""
    candidates = int(sys.argv[1])
    rng = np.random.default_rng(0)
    shapes = {
        "conv1": (5, 1, 5, 5),
        "conv2": (10, 5, 5, 5),
        "conv3": (10, 10, 5, 5),
        "fc1": (10, 10),
        "fc2": (10, 10),
    }
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = rng.normal(scale=0.1, size=shape).astype(np.float32)
        state[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    images = np.zeros((SAMPLES, 32, 32), np.float32)
    images[:] = rng.normal(size=(32, 32))
    labels = rng.integers(0, 10, SAMPLES)
    pack = FusedPack(
        [state] * candidates,
        images,
        labels,
        images[:1000],
        labels[:1000],
        batch_size=256,
        momentum=0.9,
        weight_decay=1e-4,
        threads=2,
    )
    pack.train(rng.permutation(SAMPLES)[:2048], 0.001)
    pack.evaluate("test")
    print(json.dumps({"candidates": candidates, "peak_mb": _peak()}))


def _peak() -> float:
    # getrusage's figure would begin with the size of the process that started this one
    with open("/proc/self/status", encoding="utf-8") as file:
        (line,) = [line for line in file if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
