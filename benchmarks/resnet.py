"""Candidates of ResNet20 (first convolutions of its blocks, ratio .5) on a CPU."""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks import images, plain
from benchmarks.rounds import Row, compare
from engine.catalog import find_model
from engine.recipe import Recipe
from engine.work.datasets import ImageData
from engine.work.models import build_model
from engine.work.packs import make_pack

BATCH = 128
PLAIN = "torch, one model at a time on all threads, data preloaded"


def measure(quick: bool, threads: int) -> list[Row]:
    """Training, and an epoch with its evaluations: CPU time of one thread, or wall time."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    rounds, count = (3, 2 * BATCH) if quick else (7, 4 * BATCH)
    torch.manual_seed(0)
    info = find_model("resnet20")
    kept = {layer.name: layer.filters // 2 for layer in info.layers}
    grey = images.load(count)
    x = torch.from_numpy(grey.normalised())[:, None].repeat(1, info.channels, 1, 1)
    y = torch.from_numpy(grey.labels.copy())
    test = count // 4
    data = ImageData(x, y, x[:test], y[:test], 10, "")
    networks = [build_model(info, 10, kept) for _ in range(threads)]
    states = {
        name: torch.stack([network.state_dict()[name] for network in networks])
        for name in networks[0].state_dict()
    }
    recipe = Recipe(
        1, plain.RATE, batch_size=BATCH, momentum=plain.MOMENTUM, weight_decay=plain.DECAY
    )
    pack = make_pack(info, states, data, recipe, threads=threads, kind="solo")
    rng = np.random.default_rng(0)

    def engine_train() -> int:
        pack.train(rng.permutation(count), plain.RATE)
        return pack.size * count

    def engine_epoch() -> int:
        samples = engine_train()
        pack.evaluate("train")
        pack.evaluate("test")
        return samples

    model = build_model(info, 10, kept)
    optimiser = plain.sgd(model)

    def plain_train() -> int:
        return plain.train(model, optimiser, plain.Preloaded(x, y, shuffle=True, batch=BATCH))

    def plain_epoch() -> int:
        samples = plain_train()
        plain.evaluate(model, plain.Preloaded(x, y, shuffle=False, batch=BATCH))
        plain.evaluate(model, plain.Preloaded(x[:test], y[:test], shuffle=False, batch=BATCH))
        return samples

    return [
        *compare("training", engine_train, {PLAIN: (plain_train, 1.3, 1.5)}, rounds, clock),
        *compare(
            "retraining epoch with its evaluations",
            engine_epoch,
            {PLAIN: (plain_epoch, 1.3, 1.5)},
            rounds,
            clock,
        ),
    ]
