"""Candidates of single weights as states: the base network's, with zeros where a mask says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import RunFailure, UsageError
from engine.masks import (
    MAGNITUDE,
    MaskSpace,
    Record,
    drawn,
    record_of,
    seed_of,
    smallest,
    split,
)
from engine.work.surgery import SlicePlan, State, weight_tensors

Mask = NDArray[np.bool_]


class Masking:
    """The masks of one study over one base network."""

    def __init__(
        self, space: MaskSpace, plan: SlicePlan, layers: Sequence[str], base: State
    ) -> None:
        """Takes the study's space, the model's plan, the pruned layers and the base network.

        Raises:
            UsageError: The model has other weights than its facts say.
        """
        self._space, self._base = space, base
        self.tensors = {layer: weight_tensors(plan[layer], base) for layer in layers}
        found = tuple(sum(base[n].numel() for n in self.tensors[layer]) for layer in layers)
        if found != space.weights:
            raise UsageError(
                f"The layers have {found} weights here, not {space.weights}; make the study again "
                "with the libraries installed now."
            )

    def flat(self, tensors: State, layer: str) -> Tensor:
        """Returns the numbers of a layer's weights, (weights,), in the order of its masks."""
        return torch.cat([tensors[name].detach().flatten() for name in self.tensors[layer]])

    def gone(self, candidate: Sequence[Record]) -> list[Mask]:
        """Returns the masks of a candidate, one a layer, True where a weight goes.

        Raises:
            RunFailure: What was kept of it regenerates other masks.
        """
        seeds = [seed_of(record) for record in candidate]
        if MAGNITUDE in seeds:
            masks = self._of_least_magnitude()
        else:
            masks = drawn(seeds, self._space.weights, self._space.pruned)
        for layer, seed, mask, record in zip(self.tensors, seeds, masks, candidate, strict=True):
            if record_of(seed, mask) != tuple(record):
                raise RunFailure(
                    f"The mask of {layer} that seed {seed} gives has another checksum than this "
                    "run holds; its file is damaged, or its base network is another one."
                )
        return masks

    def magnitude_pick(self) -> tuple[Record, ...]:
        """Returns the candidate that loses the weights of smallest magnitude, first on ties."""
        return tuple(record_of(MAGNITUDE, mask) for mask in self._of_least_magnitude())

    def states(
        self, candidates: Sequence[Sequence[Record]]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Returns the states of K candidates, stacked, and which weights are left of them.

        The masks are True where a weight is left, (K, ...), by the tensors' names.
        """
        masks: dict[str, list[Tensor]] = {}
        for candidate in candidates:
            for layer, mask in zip(self.tensors, self.gone(candidate), strict=True):
                parts = self.tensors[layer]
                sizes = [self._base[name].numel() for name in parts]
                for name, part in zip(parts, split(mask, sizes), strict=True):
                    left = torch.from_numpy(~part).reshape(self._base[name].shape)
                    masks.setdefault(name, []).append(left)
        stacked = {name: torch.stack(parts) for name, parts in masks.items()}
        states = {}
        for name, tensor in self._base.items():
            each = tensor.expand(len(candidates), *tensor.shape)
            states[name] = each.where(stacked[name], 0) if name in stacked else each.clone()
        return states, stacked

    def _of_least_magnitude(self) -> list[Mask]:
        values: list[NDArray[np.float32]] = [
            self.flat(self._base, layer).abs().cpu().numpy() for layer in self.tensors
        ]
        if len(self._space.pruned) == len(values):
            return [smallest(v, k) for v, k in zip(values, self._space.pruned, strict=True)]
        mask = smallest(np.concatenate(values), self._space.pruned[0])
        return split(mask, self._space.weights)
