"""252 candidates of LeNet5-Mini (conv1, ratio .5) on a CPU."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks import images, plain
from benchmarks.rounds import Row, compare
from engine.work.tiny_cnn import FusedPack, pruned_losses, warm_up

TRANSFORMS = "DataLoader with transforms, one model at a time"
PRELOADED = "torch, one model at a time, data preloaded"


@dataclass(frozen=True)
class Amount:
    """How much is measured: rounds, candidates, and samples for each side."""

    rounds: int
    candidates: int
    engine: int
    preloaded: int
    transforms: int
    scored: int


FULL = Amount(7, 16, 5120, 5120, 1536, 4096)
QUICK = Amount(3, 4, 2048, 2048, 512, 1024)


def measure(amount: Amount, threads: int) -> list[Row]:
    """All rows of this file: CPU time of one thread, or wall time of several on both sides."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.manual_seed(0)
    grey = images.load(max(amount.engine, amount.preloaded, amount.scored))
    pixels = grey.normalised()
    slim = [plain.LeNet5Mini(5) for _ in range(amount.candidates)]
    base = plain.LeNet5Mini().arrays()
    warm_up(slim[0].arrays())
    warm_up(base)

    count = amount.engine
    test = count // 6
    pack = FusedPack(
        [model.arrays() for model in slim],
        pixels[:count],
        grey.labels[:count],
        pixels[:test],
        grey.labels[:test],
        batch_size=plain.BATCH,
        momentum=plain.MOMENTUM,
        weight_decay=plain.DECAY,
        threads=threads,
    )
    rng = np.random.default_rng(0)

    def engine_train() -> int:
        pack.train(rng.permutation(count), plain.RATE)
        return pack.size * count

    def engine_epoch() -> int:
        engine_train()
        pack.evaluate("train")
        pack.evaluate("test")
        return pack.size * count

    few = images.Grey(grey.pixels[: amount.transforms], grey.labels[: amount.transforms], "")
    few_test = images.Grey(
        few.pixels[: len(few.labels) // 6], few.labels[: len(few.labels) // 6], ""
    )
    x = torch.tensor(pixels[: amount.preloaded])[:, None]
    y = torch.tensor(grey.labels[: amount.preloaded])
    part = len(y) // 6
    model = slim[0]
    optimiser = plain.sgd(model)

    def transforms_train() -> int:
        return plain.train(model, optimiser, plain.loader(few, shuffle=True))

    def transforms_epoch() -> int:
        samples = transforms_train()
        plain.evaluate(model, plain.loader(few, shuffle=False))
        plain.evaluate(model, plain.loader(few_test, shuffle=False))
        return samples

    def preloaded_train() -> int:
        return plain.train(model, optimiser, plain.Preloaded(x, y, shuffle=True))

    def preloaded_epoch() -> int:
        samples = preloaded_train()
        plain.evaluate(model, plain.Preloaded(x, y, shuffle=False))
        plain.evaluate(model, plain.Preloaded(x[:part], y[:part], shuffle=False))
        return samples

    kept = list(itertools.combinations(range(10), 5))

    def engine_score() -> int:
        n = amount.scored
        pruned_losses(base, "conv1", kept, pixels[:n], grey.labels[:n], threads=threads)
        return len(kept) * n

    def preloaded_score() -> int:
        return plain.evaluate(model, plain.Preloaded(x, y, shuffle=False))

    rounds = amount.rounds
    return [
        *compare(
            "training",
            engine_train,
            {TRANSFORMS: (transforms_train, 25, 45), PRELOADED: (preloaded_train, 10, 18)},
            rounds,
            clock,
        ),
        *compare(
            "retraining epoch with its evaluations",
            engine_epoch,
            {TRANSFORMS: (transforms_epoch, 28, 50), PRELOADED: (preloaded_epoch, 9, 16)},
            rounds,
            clock,
        ),
        *compare(
            "scoring all 252 candidates",
            engine_score,
            {PRELOADED: (preloaded_score, 100, 230)},
            rounds,
            clock,
        ),
        _memory(min(rounds, 3)),
    ]


def _memory(rounds: int) -> Row:
    """Peak memory of 252 candidates over that of one, each in a process of its own."""
    values = []
    for _ in range(rounds):
        peaks = []
        for candidates in (1, 252):
            command = [sys.executable, "-m", "benchmarks.memory", str(candidates)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks.append(json.loads(done.stdout)["peak_mb"])
        values.append(peaks[1] - peaks[0])
    return Row("peak memory of 252 candidates", "one candidate", "MB", tuple(values), 200, 50)
