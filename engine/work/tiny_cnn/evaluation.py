"""Mean loss and accuracy of many networks of one architecture over a split, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.work.tiny_cnn.architecture import Architecture, Floats
from engine.work.tiny_cnn.feed import Images, Packed
from engine.work.tiny_cnn.kernels.network import evaluate
from engine.work.tiny_cnn.program import Program, aligned, program

Doubles = NDArray[np.float64]
Tasks = Iterable[tuple[Callable[..., None], tuple[Any, ...]]]

# Samples of one task. Fixed, because it decides the order in which losses are added.
CHUNK = 512


def mean_over_chunks(
    split: Images,
    candidates: int,
    threads: int,
    parts: int,
    space: int,
    work: Callable[[Packed, Floats, Doubles, int, int], None],
) -> tuple[Doubles, Doubles]:
    """Run `work` on every chunk of a split and average what it finds.

    Args:
        split: the images.
        candidates: number of candidates.
        threads: number of threads.
        parts: ranges of candidates to make of each chunk.
        space: numbers of work space that `work` needs.
        work: called with a packed chunk, work space, the chunk's zeroed totals ``[candidates, 2]``
            (sums of loss and hits) and a range of candidates.

    Returns:
        (mean loss, accuracy) of each candidate.
    """
    starts = range(0, len(split), CHUNK)
    totals = np.zeros((len(starts), candidates, 2))
    rooms: SimpleQueue[tuple[Packed, Floats]] = SimpleQueue()
    for _ in range(threads):
        rooms.put((Packed.room(1, min(CHUNK, len(split))), aligned(space)))

    def chunk(index: int, first: int, end: int) -> None:
        packed, own = rooms.get()
        try:
            indices = np.arange(starts[index], min(starts[index] + CHUNK, len(split)))
            packed.fill(split, [indices])
            work(packed, own, totals[index], first, end)
        finally:
            rooms.put((packed, own))

    with ThreadPoolExecutor(threads) as pool:
        run_all(
            pool,
            (
                (chunk, (index, first, end))
                for index in range(len(starts))
                for first, end in ranges(candidates, parts)
            ),
        )
    # np.sum would choose an order of its own
    sums = np.add.accumulate(totals, axis=0)[-1]
    return sums[:, 0] / len(split), sums[:, 1] / len(split)


def evaluate_parameters(
    own: Program, parameters: Floats, split: Images, threads: int
) -> tuple[Doubles, Doubles]:
    """Mean cross-entropy and accuracy of flat parameters ``[K, padded]`` over a split."""
    kernel = evaluate()
    chunks = -(-len(split) // CHUNK)
    # few chunks and many threads: share out the candidates of a chunk, too
    parts = -(-3 * threads // chunks) if threads > 1 else 1

    def work(packed: Packed, space: Floats, totals: Doubles, first: int, end: int) -> None:
        kernel.call(
            own.table.ctypes.data,
            packed.images.ctypes.data,
            packed.labels.ctypes.data,
            packed.groups_of(0),
            parameters.ctypes.data,
            first,
            end,
            totals.ctypes.data,
            space.ctypes.data,
        )

    return mean_over_chunks(split, len(parameters), threads, parts, own.space_size, work)


def evaluate_networks(
    states: Sequence[Mapping[str, Any]],
    images: Floats,
    labels: NDArray[Any],
    *,
    threads: int,
) -> tuple[Doubles, Doubles]:
    """Mean cross-entropy and accuracy of networks of the same shapes.

    Args:
        states: their state dicts.
        images: normalised float32 ``[N, 32, 32]``.
        labels: integers ``[N]``.
        threads: number of threads.

    Returns:
        (loss, accuracy), each float64 ``[len(states)]``, the same as `FusedPack.evaluate` gives.

    Raises:
        UsageError: shapes or labels do not fit.
    """
    architecture = Architecture.of(states[0])
    own = program(architecture, False)
    parameters = architecture.flatten(states, own.parameters)
    split = Images.of(images, labels, architecture.classes)
    return evaluate_parameters(own, parameters, split, threads)


def ranges(count: int, parts: int) -> list[tuple[int, int]]:
    """`count` things in `parts` ranges of nearly equal length, empty ones left out."""
    bounds = [count * i // parts for i in range(parts + 1)]
    return [(a, b) for a, b in pairwise(bounds) if a < b]


def run_all(pool: ThreadPoolExecutor, tasks: Tasks) -> None:
    """Run all tasks and wait; the first error is raised."""
    for future in [pool.submit(function, *arguments) for function, arguments in tasks]:
        future.result()
