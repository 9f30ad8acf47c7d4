"""From an importance of every filter to the score of a candidate that loses some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.work.bench import Pruned
from engine.work.surgery import LayerPlan, Slice

Importance = Mapping[str, NDArray[np.float64]]


def removed_importance(
    importance: Importance, layers: Sequence[str], candidates: Sequence[Pruned]
) -> NDArray[np.float64]:
    """Returns, per candidate, the summed importance of the filters it loses.

    Args:
        importance: Per layer, float64[filters].
        layers: The pruned layers.
        candidates: Per candidate, the filters it loses of each of those layers.
    """
    return np.array(
        [
            sum(
                float(importance[layer][list(gone)].sum())
                for layer, gone in zip(layers, candidate, strict=True)
            )
            for candidate in candidates
        ],
        dtype=np.float64,
    )


def in_average_filters(importance: Importance) -> dict[str, NDArray[np.float64]]:
    """Returns importances divided by their layer's mean, so that layers can be added up.

    A layer without any importance stays at zero.
    """
    means = {layer: float(values.mean()) for layer, values in importance.items()}
    return {
        layer: values / means[layer] if means[layer] != 0 else values
        for layer, values in importance.items()
    }


def per_filter(tensors: Mapping[str, Tensor], slices: Iterable[Slice], filters: int) -> Tensor:
    """Returns the numbers that belong to each filter, float64 (filters, numbers), on the CPU.

    Args:
        tensors: Tensors of the shapes of the state's, weights or their gradients.
        slices: Which dimension of which tensor the filters index; tensors not given are left out.
        filters: How many there are.
    """
    parts = [
        tensors[part.tensor]
        .detach()
        .to("cpu", torch.float64)
        .movedim(part.dim, 0)
        .narrow(0, part.offset, filters * part.block)
        .reshape(filters, -1)
        for part in slices
        if part.tensor in tensors
    ]
    return torch.cat(parts, dim=1) if parts else torch.zeros(filters, 0, dtype=torch.float64)


def gates(plan: LayerPlan, parameters: Mapping[str, Tensor]) -> tuple[Slice, ...]:
    """Returns the slices of the parameters whose zeroing silences a layer's filters.

    The scale and shift of the norm that follows, where there is one: a norm would undo a zeroed
    weight. Else the layer's own weight and bias.
    """
    norm = tuple(p for p in plan.following if p.dim == 0 and p.tensor in parameters)
    return norm or tuple(p for p in plan.own if p.tensor in parameters)
