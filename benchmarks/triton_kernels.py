"""Each launch of a step of the Triton pack by itself: its time, its share, and what it achieves.

Importing this needs Triton.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.recipe import Recipe
from engine.work.datasets import ImageData
from engine.work.packs.flat import rows
from engine.work.tiny_cnn.architecture import Architecture
from engine.work.tiny_cnn_gpu.program import DEFAULT_TILES, Program, Tiles

# Pooled cells of the two convolutions, and the positions behind each.
_CELLS1, _CELLS2, _UNDER = 14 * 14, 5 * 5, 4
_TAPS, _PIXELS = 25, 32 * 32
# A float, and which position a max-pool took.
_FLOAT, _WINNER = 4, 1


@dataclass(frozen=True)
class Work:
    """What a launch has to do at least.

    Attributes:
        multiply_adds: Of the layer as it is defined; what is multiplied by zero counts.
        moved: Bytes, of every array once.
    """

    multiply_adds: float
    moved: float


def least_work(network: Architecture, size: int, batch: int, slice_: int) -> dict[str, Work]:
    """Returns by launch what a step of so many candidates has to do.

    Args:
        network: The candidates' architecture.
        size: K.
        batch: Images in a step.
        slice_: Samples whose gradients one program adds up.
    """
    samples, slices = size * batch, -(-batch // slice_)
    first, second = network.conv1, network.conv2
    conv1 = samples * _CELLS1 * _UNDER * _TAPS * first
    conv2 = samples * _CELLS2 * _UNDER * _TAPS * first * second
    dense = samples * sum(inputs * outputs for inputs, outputs in network.layers())
    pixels = batch * _PIXELS * _FLOAT
    maps1, maps2 = samples * _CELLS1 * first, samples * _CELLS2 * second
    values = samples * sum(outputs for _, outputs in network.layers()) * _FLOAT
    weights1, weights2 = (_TAPS + 1) * first, (_TAPS * first + 1) * second
    partial = size * slices * _FLOAT
    of_a_map = _FLOAT + _WINNER
    return {
        "pixels": Work(0, 2 * pixels),
        "conv1": Work(conv1, pixels + maps1 * of_a_map),
        "conv2": Work(conv2, maps1 * _FLOAT + maps2 * of_a_map),
        "head": Work(dense, maps2 * _FLOAT + values),
        "head backward": Work(
            2 * dense,
            2 * maps2 * _FLOAT + values + partial * (network.size - weights1 - weights2),
        ),
        "conv2 weights": Work(conv2, maps1 * _FLOAT + maps2 * of_a_map + partial * weights2),
        "conv2 input": Work(conv2, maps2 * of_a_map + maps1 * _FLOAT),
        "conv1 weights": Work(conv1, pixels + maps1 * of_a_map + partial * weights1),
        "descent": Work(0, network.size * (partial + 4 * size * _FLOAT)),
    }


def measure(
    states: Mapping[str, Tensor],
    data: ImageData,
    recipe: Recipe,
    *,
    tiles: Tiles = DEFAULT_TILES,
    repeats: int = 20,
) -> list[dict[str, Any]]:
    """Returns a row for each launch of a step, in their order: each is repeated by itself.

    Args:
        states: The candidates' states, stacked (K, ...).
        data: The data, on the device.
        recipe: Batch size, momentum and weight decay.
        tiles: How work is cut up.
        repeats: How often a launch runs while it is timed.
    """
    network = Architecture.of({name: tensor[0] for name, tensor in states.items()})
    device = data.train_images.device
    parameters = rows(states, network.shapes()).to(device, torch.float32, copy=True)
    program = Program(network, parameters, recipe.batch_size, tiles)
    images, labels = data.split("train")
    batch = torch.arange(min(recipe.batch_size, len(labels)), device=device)
    # Nothing is learnt, so that numbers stay what they are however often a launch is repeated.
    rate = torch.zeros((), device=device)
    launches = program.launches(images, labels, batch, rate, recipe.momentum, 0.0)
    for launch in launches.values():
        launch()
    seconds = {name: _seconds(launch, repeats, device) for name, launch in launches.items()}
    whole = sum(seconds.values())
    work = least_work(network, len(parameters), len(batch), tiles.slice)
    return [
        {
            "launch": name,
            "microseconds": 1e6 * taken,
            "share": taken / whole,
            "gflops": 2e-9 * work[name].multiply_adds / taken,
            "gbytes_per_second": 1e-9 * work[name].moved / taken,
        }
        for name, taken in seconds.items()
    ]


def _seconds(launch: Callable[[], None], repeats: int, device: torch.device) -> float:
    """Returns what a launch takes on the device; Python's part of it is recorded away."""
    if device.type != "cuda":
        began = time.perf_counter()
        for _ in range(repeats):
            launch()
        return (time.perf_counter() - began) / repeats
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize(device)
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            launch()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    graph.replay()
    first.record()
    graph.replay()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1e3 / repeats
