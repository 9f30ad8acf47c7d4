"""Applies a slice plan to a state: a gather per tensor and dimension, one network or K at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.work.surgery.plan import Slice, SlicePlan

State = Mapping[str, Tensor]
Kept = Mapping[str, Sequence[int]]


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
    one = {layer: [list(filters)] for layer, filters in kept.items()}
    readers = {layer: [list(filters)] for layer, filters in (consumer_kept or kept).items()}
    slim = dict(state)
    for (name, dim), parts in _by_dimension(plan, one, readers).items():
        index = _remaining(slim[name].shape[dim], parts)[0].to(slim[name].device)
        slim[name] = slim[name].index_select(dim, index)
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
    readers = _transposed(consumer_kept or kept)
    for (name, dim), parts in _by_dimension(plan, _transposed(kept), readers).items():
        source = stacked[name]
        index = _remaining(source.shape[dim + 1], parts).to(source.device)
        shape = [1] * source.ndim
        shape[0], shape[dim + 1] = index.shape
        stacked[name] = source.take_along_dim(index.view(shape), dim + 1)
    return {name: tensor.contiguous() for name, tensor in stacked.items()}


def take_network(stacked: State, place: int) -> dict[str, Tensor]:
    """Returns a copy of one network's state out of K stacked ones."""
    return {name: tensor[place].clone() for name, tensor in stacked.items()}


# The filters that stay of one layer, per network: (K, n).
_Stay = Sequence[Sequence[int]]


def _by_dimension(
    plan: SlicePlan, own: Mapping[str, _Stay], following: Mapping[str, _Stay]
) -> dict[tuple[str, int], list[tuple[Slice, int, _Stay]]]:
    """Collects, per tensor and dimension, the slices that index it, their filters, and what stays.

    Several layers can own parts of one dimension: those whose maps are concatenated.
    """
    found: dict[tuple[str, int], list[tuple[Slice, int, _Stay]]] = {}
    for name in own:
        layer = plan[name]
        for parts, stay in ((layer.own, own[name]), (layer.following, following[name])):
            for part in parts:
                found.setdefault((part.tensor, part.dim), []).append((part, layer.filters, stay))
    return found


def _remaining(size: int, parts: list[tuple[Slice, int, _Stay]]) -> Tensor:
    """Returns the indices of a dimension that stay, (K, n), in rising order."""
    count = len(parts[0][2])
    stays = torch.ones(count, size, dtype=torch.bool)
    for part, filters, stay in parts:
        stays[:, part.offset : part.offset + filters * part.block] = False
        index = part.offset + torch.as_tensor(stay).unsqueeze(-1) * part.block
        stays.scatter_(1, (index + torch.arange(part.block)).flatten(1), True)
    return stays.nonzero()[:, 1].view(count, -1)


def _transposed(kept: Sequence[Kept]) -> dict[str, list[list[int]]]:
    return {layer: [list(one[layer]) for one in kept] for layer in kept[0]}
