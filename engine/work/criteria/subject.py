"""What a criterion looks at: the base network, the data, and any pruned network it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.seeds import derive_seed
from engine.work.bench import Bench, Pruned
from engine.work.criteria.filters import Importance, per_filter, removed_importance
from engine.work.masking import Masking
from engine.work.models import network_of
from engine.work.packs import Evaluation
from engine.work.packs.solo import laid_out
from engine.work.surgery import Slice, State, take_network

Result = TypeVar("Result")

# Called between steps with how many candidates' worth of work is done; may raise to break off.
Tell = Callable[[int], None]
Scores = Mapping[str, NDArray[np.float64]]


class Subject:
    """A study as a criterion sees it. What is computed once for all candidates it remembers."""

    def __init__(self, bench: Bench) -> None:
        """Takes the bench of the study."""
        self.bench = bench
        self._remembered: dict[Any, Any] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the pruned layers; a candidate holds one tuple of filters for each."""
        return self.bench.spec.layers

    @property
    def train_images(self) -> Tensor:
        """float32 (N, channels, height, width), normalised, on the device."""
        return self.bench.data.train_images

    @property
    def train_labels(self) -> Tensor:
        """int64 (N,), on the device."""
        return self.bench.data.train_labels

    @cached_property
    def masking(self) -> Masking | None:
        """What makes masks of candidates; None where they lose filters."""
        return self.bench.masking

    def single_weights(self, tensors: State, layer: str) -> Tensor:
        """Returns a layer's numbers in the order of its masks, float64 (weights, 1), on the CPU."""
        assert self.masking is not None
        return self.masking.flat(tensors, layer).to("cpu", torch.float64).unsqueeze(1)

    def removed(self, importance: Importance, candidates: Sequence[Pruned]) -> NDArray[np.float64]:
        """Returns, per candidate, the summed importance of what it loses.

        Args:
            importance: Per layer, float64[filters]; or float64[weights], in the order of the masks.
            candidates: The candidates.
        """
        if self.masking is None:
            return removed_importance(importance, self.layers, candidates)
        return np.array(
            [
                sum(
                    float(importance[layer][gone].sum())
                    for layer, gone in zip(self.layers, self.masking.gone(candidate), strict=True)
                )
                for candidate in candidates
            ],
            dtype=np.float64,
        )

    @cached_property
    def network(self) -> nn.Module:
        """The base network in eval mode, on the device; leave its parameters as they are."""
        state = self.bench.base.state
        own = {name: tensor.clone() for name, tensor in state.items()}
        return self._ready(own)

    def weight(self, layer: str) -> Tensor:
        """The base network's weight of a layer, (filters, ...), float64 on the CPU.

        Where a filter is made by several weights (layers pruned together, attention heads), their
        numbers are one row: (filters, numbers). Where single weights are pruned each is a row of
        its own: (weights, 1).
        """
        if self.masking is not None:
            return self.single_weights(self.bench.base.state, layer)
        plan, state = self.bench.plan[layer], self.bench.base.state
        weights = [part for part in plan.own if state[part.tensor].ndim > 1]
        if len(weights) == 1 and weights[0] == Slice(f"{layer}.weight", 0):
            return state[f"{layer}.weight"].detach().to("cpu", torch.float64)
        return per_filter(state, weights, plan.filters)

    def pruned_network(self, candidate: Pruned) -> nn.Module:
        """A candidate's own network, wired as the study says, in eval mode, on the device."""
        states, _ = self.bench.states([candidate])
        return self._ready(take_network(states, 0))

    def _ready(self, state: State) -> nn.Module:
        info = self.bench.spec.model_info
        network = network_of(info, self.bench.data.classes, state)
        return laid_out(info, network, self.bench.device).eval()

    def seed(self, *purpose: str | int) -> int:
        """A seed for one purpose; the same one gives the same seed."""
        return derive_seed(self.bench.spec.seed, "scores", *purpose)

    def train_sample(self, count: int, purpose: str) -> tuple[Tensor, Tensor]:
        """Images and labels of at most `count` train images, drawn by the study's seed."""
        generator = torch.Generator().manual_seed(self.seed(purpose))
        chosen = torch.randperm(len(self.train_labels), generator=generator)[:count]
        index = chosen.to(self.train_labels.device)
        return self.train_images[index], self.train_labels[index]

    def evaluation(self, candidates: Sequence[Pruned], tell: Tell) -> Evaluation:
        """Pruned train loss and accuracy; those of the last call are remembered."""
        key, found = self._remembered.get("evaluation", (None, None))
        if key != tuple(candidates):
            found = self.bench.score(candidates, tell)
            self._remembered["evaluation"] = tuple(candidates), found
        return cast(Evaluation, found)

    def remember(self, what: str, compute: Callable[[], Result]) -> Result:
        """Returns what `compute` gave the first time it was asked for under this name."""
        if what not in self._remembered:
            self._remembered[what] = compute()
        return cast(Result, self._remembered[what])
