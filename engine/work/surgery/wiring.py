"""Which channels a pruned layer's readers keep: the candidate's own, or the released code's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.errors import UsageError
from engine.study_rules import WIRINGS
from engine.work.surgery.gather import Kept, State, stack_states
from engine.work.surgery.plan import LayerPlan, Slice, SlicePlan, kept_filters

# A candidate: the filters it loses, one sequence per pruned layer.
Pruned = Sequence[Sequence[int]]


def l1_selection(state: State, layer: str | LayerPlan, count: int) -> list[int]:
    """Returns the filters that L1-norm pruning removes from a layer.

    Args:
        state: State of the whole network.
        layer: Name of a layer whose weight has its filters in dimension 0; or the plan of any
            layer, whose filters' norms are then summed over all weights that make them: of layers
            pruned together, of all; of an attention head, of its queries, keys and values.
        count: How many go.

    Returns:
        The `count` filters whose weights (without bias) have the smallest L1 norm, in rising order
        of index; of equal norms the lower index goes first.
    """
    if isinstance(layer, str):
        weight = state[f"{layer}.weight"]
        layer = LayerPlan(layer, len(weight), (Slice(f"{layer}.weight", 0),), ())
    norms = torch.zeros(layer.filters, dtype=torch.float64)
    for part in layer.own:
        tensor = state[part.tensor].detach()
        if tensor.ndim > 1:
            width = layer.filters * part.block
            rows = tensor.movedim(part.dim, 0).narrow(0, part.offset, width)
            norms += rows.double().abs().reshape(layer.filters, -1).sum(1).cpu()
    return sorted(torch.argsort(norms, stable=True)[:count].tolist())


def weight_tensors(layer: LayerPlan, state: State) -> tuple[str, ...]:
    """Returns the tensors of a layer, and its members, that single weights can be pruned of.

    They are the weights of convolutions, linear layers and attentions, whole; no biases, norms or
    embeddings of positions.
    """
    names = dict.fromkeys(part.tensor for part in layer.own)
    return tuple(name for name in names if state[name].ndim in (2, 4))


def candidate_states(
    state: State,
    plan: SlicePlan,
    layers: Sequence[str],
    candidates: Sequence[Pruned],
    wiring: str = "correct",
) -> dict[str, Tensor]:
    """Returns the states of K candidates, stacked along a new first dimension.

    Correct wiring: the pruned layer and its readers keep the same filters. Released wiring: the
    layer's own weight and bias keep the candidate's filters, but the following norm and the
    consumers keep the channels that L1-norm pruning of the base network would keep.

    Args:
        state: State of the base network.
        plan: Its slice plan.
        layers: Names of the pruned layers.
        candidates: Per candidate, the filters it loses of each of those layers; equally many for
            all candidates.
        wiring: "correct" or "released".

    Returns:
        Tensors of shape (K, ...), each with memory of its own.
    """
    kept = [kept_by_layer(plan, layers, candidate) for candidate in candidates]
    return stack_states(state, plan, kept, consumers_keep(state, plan, kept, wiring))


def kept_by_layer(plan: SlicePlan, layers: Sequence[str], pruned: Pruned) -> dict[str, list[int]]:
    """Returns the filters a candidate keeps, per pruned layer."""
    return {
        layer: kept_filters(plan[layer].filters, gone)
        for layer, gone in zip(layers, pruned, strict=True)
    }


def consumers_keep(
    state: State, plan: SlicePlan, kept: Sequence[Kept], wiring: str
) -> Sequence[Kept]:
    """Returns, per candidate, the filters whose channels its readers keep under a wiring."""
    if wiring == "correct":
        return kept
    if wiring != "released":
        raise UsageError(f"wiring is {' or '.join(WIRINGS)}, not {wiring!r}.")
    by_l1 = {
        layer: kept_filters(
            plan[layer].filters,
            l1_selection(state, plan[layer], plan[layer].filters - len(filters)),
        )
        for layer, filters in kept[0].items()
    }
    return [by_l1] * len(kept)
