"""Pruned losses of many candidates of one layer, with all that they share computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.work.tiny_cnn.architecture import Architecture, Floats
from engine.work.tiny_cnn.evaluation import Doubles, mean_over_chunks
from engine.work.tiny_cnn.feed import Images, Packed
from engine.work.tiny_cnn.kernels import scoring as kernels
from engine.work.tiny_cnn.kernels.vectors import LANES
from engine.work.tiny_cnn.program import program
from engine.work.tiny_cnn.sharing import SharingPlan

# The fully connected layer that a pruned layer's filters feed; conv1's feed conv2 instead.
_NEXT_DENSE = {"conv2": 0, "conv3": 1}
# Candidates of one task at most: their sums are kept in memory.
_TOGETHER = 1024


def pruned_losses(
    base_state: Mapping[str, Any],
    layer: str,
    kept: Sequence[Sequence[int]] | NDArray[Any],
    images: Floats,
    labels: NDArray[Any],
    *,
    threads: int,
    wiring_inputs: Sequence[int] | NDArray[Any] | None = None,
) -> tuple[Doubles, Doubles]:
    """Cross-entropy and accuracy of the base network with one layer pruned in many ways.

    Args:
        base_state: the base network's state dict.
        layer: "conv1", "conv2" or "conv3".
        kept: for each candidate the filters of that layer that stay.
        images: normalised float32 ``[N, 32, 32]``.
        labels: integers ``[N]``.
        threads: number of threads.
        wiring_inputs: None for correct wiring: each kept filter feeds its own input channel of the
            next layer. Otherwise the input channels that the next layer keeps whatever the
            candidate: the kept filters feed them in ascending order (released wiring).

    Returns:
        (mean loss, accuracy), each float64 ``[len(kept)]``. A candidate's numbers do not depend on
        the others nor on the number of threads.

    Raises:
        UsageError: the network, layer or an index set does not fit.
    """
    architecture = Architecture.of(base_state)
    if layer not in ("conv1", *_NEXT_DENSE):
        raise UsageError(f"There is no prunable layer {layer!r}: take conv1, conv2 or conv3.")
    filters = int(getattr(architecture, layer))
    consumers = None if wiring_inputs is None else _ascending(wiring_inputs, filters)
    sets = [_ascending(own, filters) for own in kept]
    if consumers is not None and any(len(own) != len(consumers) for own in sets):
        raise UsageError(
            f"In released wiring every candidate must keep {len(consumers)} filters of {layer}, "
            "as many as the next layer keeps inputs."
        )
    split = Images.of(images, labels, architecture.classes)
    results = [
        _losses(base_state, architecture, layer, sets[i : i + _TOGETHER], split, threads, consumers)
        for i in range(0, len(sets), _TOGETHER)
    ]
    return (
        np.concatenate([np.zeros(0), *(loss for loss, _ in results)]),
        np.concatenate([np.zeros(0), *(accuracy for _, accuracy in results)]),
    )


def _losses(
    base_state: Mapping[str, Any],
    architecture: Architecture,
    layer: str,
    sets: list[list[int]],
    split: Images,
    threads: int,
    consumers: list[int] | None,
) -> tuple[Doubles, Doubles]:
    own, finish = program(architecture, False), kernels.finish()
    parameters = architecture.flatten([base_state], own.parameters)
    plan = SharingPlan.of(int(getattr(architecture, layer)), sets, consumers)
    pairs, entries, (candidates, terms) = len(plan.pairs), len(plan.entries), plan.terms.shape
    kernel, extra = kernels.score_dense(), [_NEXT_DENSE.get(layer, 0)]
    if layer == "conv1":
        kernel, extra = kernels.score_conv1(), []
        room = (pairs + entries) * 20 + candidates * architecture.conv3
    else:
        values = architecture.layers()[_NEXT_DENSE[layer]][1]
        room = (pairs + entries + candidates) * values

    def work(packed: Packed, space: Floats, totals: Doubles, _first: int, _end: int) -> None:
        kernel.call(
            own.table.ctypes.data,
            packed.images.ctypes.data,
            packed.labels.ctypes.data,
            packed.groups_of(0),
            parameters.ctypes.data,
            plan.pairs.ctypes.data,
            pairs,
            plan.entries.ctypes.data,
            entries,
            plan.terms.ctypes.data,
            candidates,
            terms,
            totals.ctypes.data,
            space.ctypes.data,
            space[own.space_size :].ctypes.data,
            finish.address,
            *extra,
        )

    size = own.space_size + room * LANES
    return mean_over_chunks(split, candidates, threads, 1, size, work)


def _ascending(indices: Sequence[int] | NDArray[Any], filters: int) -> list[int]:
    """A set of filter indices, checked, in ascending order."""
    values = sorted(int(i) for i in indices)
    if not values or values[0] < 0 or values[-1] >= filters or len(set(values)) != len(values):
        raise UsageError(
            f"{values} is not a set of filters: take some of 0..{filters - 1}, each once."
        )
    return values
