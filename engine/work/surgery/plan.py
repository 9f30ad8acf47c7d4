"""What a slice plan is: which part of which tensor belongs to a layer's filters. No tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.errors import UsageError


@dataclass(frozen=True, slots=True)
class Slice:
    """One dimension of one tensor of the state that is indexed by a layer's filters.

    Attributes:
        tensor: The tensor's name in the state_dict.
        dim: The dimension.
        block: Consecutive indices of each filter: filter f owns the `block` indices that begin at
            offset + f * block. More than 1 behind a flatten of feature maps, for an attention
            head, or for a group of a grouped convolution.
        offset: Where filter 0 begins. More than 0 behind a concatenation, and for the keys and
            values of attention, whose tensor holds those of the queries first. What of the
            dimension is before and behind the filters stays.
    """

    tensor: str
    dim: int
    block: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The slices of one prunable layer.

    Attributes:
        layer: The layer's name.
        filters: How many filters it has.
        own: Slices of the layer's own weight and bias.
        following: Slices of what reads its output: the following norm and the consumers' inputs.
            Told apart because released wiring indexes them by another set of filters.
        kind: What one filter is; see `LayerInfo`.
        members: Names of the other layers that lose their filters along with this one; `own` has
            their slices too.
    """

    layer: str
    filters: int
    own: tuple[Slice, ...]
    following: tuple[Slice, ...]
    kind: str = "filters"
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """The slices of every prunable layer of a model, in the order of the forward pass.

    Attributes:
        layers: The plans of the layers.
        refused: Layers that cannot be pruned, each with the reason in words.
    """

    layers: tuple[LayerPlan, ...]
    refused: tuple[tuple[str, str], ...] = ()

    def __iter__(self) -> Iterator[LayerPlan]:
        """Walks the layers in the order of the forward pass."""
        return iter(self.layers)

    def __getitem__(self, layer: str) -> LayerPlan:
        """Returns one layer's plan; raises UsageError naming the layers there are."""
        for plan in self.layers:
            if plan.layer == layer:
                return plan
        names = ", ".join(plan.layer for plan in self.layers)
        raise UsageError(f"There is no prunable layer named {layer!r}; choose from {names}.")


def kept_filters(filters: int, pruned: Sequence[int]) -> list[int]:
    """Returns the filters that stay when `pruned` go, in rising order.

    Raises:
        UsageError: An index is outside the layer or named twice, or nothing would stay.
    """
    gone = set(pruned)
    if len(gone) != len(pruned) or not gone <= set(range(filters)):
        raise UsageError(f"{sorted(pruned)} are not distinct filters of a layer of {filters}.")
    if len(gone) == filters:
        raise UsageError(f"All {filters} filters of a layer cannot be pruned; keep at least one.")
    return [index for index in range(filters) if index not in gone]
