"""Applies a slice plan to a state: a gather per tensor and dimension, one network or K at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from engine.work.surgery.plan import Slice, SlicePlan

State = Mapping[str, Tensor]
Kept = Mapping[str, Sequence[int]]

Filters = TypeVar("Filters")


def slim_state(
    state: State, plan: SlicePlan, kept: Kept, consumer_kept: Kept | None = None
) -> dict[str, Tensor]:
    """Returns the state of the pruned network.

    Args:
        state: State of the whole network.
        plan: Its slice plan.
        kept: The filters that stay, per pruned layer; layers not named keep all.
        consumer_kept: The filters whose channels the following norm and the consumers keep, where
            that is not the same set (released wiring).

    Returns:
        The same names; tensors that no slice touches are the ones given, not copies.
    """
    slim = dict(state)
    for part, filters in _slices(plan, kept, consumer_kept or kept):
        index = _indices(torch.as_tensor(filters), part.block).to(slim[part.tensor].device)
        slim[part.tensor] = slim[part.tensor].index_select(part.dim, index)
    return slim


def stack_states(
    state: State, plan: SlicePlan, kept: Sequence[Kept], consumer_kept: Sequence[Kept] | None = None
) -> dict[str, Tensor]:
    """Returns the states of K pruned networks, stacked along a new first dimension.

    Args:
        state: State of the whole network.
        plan: Its slice plan.
        kept: Per network, the filters that stay; every network keeps equally many of each layer.
        consumer_kept: As in `slim_state`, per network.

    Returns:
        Tensors of shape (K, ...), each with memory of its own.
    """
    size = len(kept)
    stacked = {name: tensor.expand(size, *tensor.shape) for name, tensor in state.items()}
    for part, filters in _slices(plan, _transposed(kept), _transposed(consumer_kept or kept)):
        source = stacked[part.tensor]
        index = _indices(torch.as_tensor(filters), part.block).to(source.device)
        shape = [1] * source.ndim
        shape[0], shape[part.dim + 1] = index.shape
        stacked[part.tensor] = source.take_along_dim(index.view(shape), part.dim + 1)
    return {name: tensor.contiguous() for name, tensor in stacked.items()}


def take_network(stacked: State, place: int) -> dict[str, Tensor]:
    """Returns a copy of one network's state out of K stacked ones."""
    return {name: tensor[place].clone() for name, tensor in stacked.items()}


def _slices(
    plan: SlicePlan, own: Mapping[str, Filters], following: Mapping[str, Filters]
) -> Iterator[tuple[Slice, Filters]]:
    """Pairs every slice of the pruned layers with the filters that it keeps."""
    for layer in own:
        for part in plan[layer].own:
            yield part, own[layer]
        for part in plan[layer].following:
            yield part, following[layer]


def _indices(filters: Tensor, block: int) -> Tensor:
    """Widens filter indices (..., n) to the indices of their blocks, (..., n * block)."""
    if block == 1:
        return filters
    return (filters.unsqueeze(-1) * block + torch.arange(block)).flatten(-2)


def _transposed(kept: Sequence[Kept]) -> dict[str, list[list[int]]]:
    return {layer: [list(one[layer]) for one in kept] for layer in kept[0]}
