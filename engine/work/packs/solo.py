"""The reference way: every candidate trained by itself with torch's own modules and optimiser."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.work.datasets import ImageData
from engine.work.models import Network, build_model
from engine.work.packs.base import MOMENTUM, Evaluation, repeatable
from engine.work.surgery import take_network

# Part of the result: another piece length could round the sums differently.
IMAGES_AT_A_TIME = 1_000


class SoloPack:
    """K networks, one after another; works for every model and device."""

    def __init__(
        self, info: ModelInfo, states: Mapping[str, Tensor], data: ImageData, recipe: Recipe
    ) -> None:
        """Builds the networks.

        Args:
            info: The model they were pruned from.
            states: Their states, stacked (K, ...).
            data: The data, on the device to train on.
            recipe: Batch size, momentum and weight decay.
        """
        self._data, self._recipe = data, recipe
        device = data.train_images.device
        size = len(next(iter(states.values())))
        self._networks = [
            slim_network(info, data.classes, take_network(states, place)).to(device)
            for place in range(size)
        ]
        self._optimisers = [
            torch.optim.SGD(
                network.parameters(),
                lr=recipe.learning_rate,
                momentum=recipe.momentum,
                weight_decay=recipe.weight_decay,
            )
            for network in self._networks
        ]

    @property
    def size(self) -> int:
        """K, how many candidates there are."""
        return len(self._networks)

    def train(self, order: NDArray[np.int64], rate: float) -> None:
        """Takes one SGD step per batch; see `Pack.train`."""
        images, labels = self._data.split("train")
        batches = torch.split(torch.from_numpy(order).to(images.device), self._recipe.batch_size)
        with repeatable():
            for network, optimiser in zip(self._networks, self._optimisers, strict=True):
                network.train()
                for group in optimiser.param_groups:
                    group["lr"] = rate
                for batch in batches:
                    loss = functional.cross_entropy(network(images[batch]), labels[batch])
                    optimiser.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimiser.step()

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on a whole split."""
        images, labels = self._data.split(split)
        results = [evaluate_network(network, images, labels) for network in self._networks]
        loss, accuracy = np.array(results, np.float64).T
        return Evaluation(loss, accuracy)

    def state(self) -> dict[str, Tensor]:
        """Returns parameters, buffers and momentum; see `Pack.state`."""
        everything: list[dict[str, Tensor]] = []
        for network, optimiser in zip(self._networks, self._optimisers, strict=True):
            state = dict(network.state_dict())
            for name, parameter in network.named_parameters():
                # torch makes the momentum with the first step; before, it is as good as zero.
                buffer = optimiser.state[parameter].get("momentum_buffer")
                state[MOMENTUM + name] = torch.zeros_like(parameter) if buffer is None else buffer
            everything.append(state)
        return {
            name: torch.stack([state[name].detach().cpu() for state in everything])
            for name in everything[0]
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        for place, network in enumerate(self._networks):
            own = {name: state[name][place] for name in network.state_dict()}
            network.load_state_dict(own)
            optimiser = self._optimisers[place]
            for name, parameter in network.named_parameters():
                buffer = state[MOMENTUM + name][place].to(parameter.device, copy=True)
                optimiser.state[parameter]["momentum_buffer"] = buffer


def slim_network(info: ModelInfo, classes: int, state: Mapping[str, Tensor]) -> Network:
    """Returns a network of the shape that a state has, with that state."""
    kept = {layer.name: len(state[f"{layer.name}.weight"]) for layer in info.layers}
    network = build_model(info, classes, kept)
    network.load_state_dict(dict(state))
    return network


def evaluate_network(network: Network, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Returns mean cross-entropy and accuracy of one network over all images, in eval mode."""
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    right = torch.zeros((), dtype=torch.int64, device=images.device)
    with torch.no_grad(), repeatable():
        for start in range(0, len(images), IMAGES_AT_A_TIME):
            piece = slice(start, start + IMAGES_AT_A_TIME)
            more_loss, more_right = tally(network(images[piece]), labels[piece])
            loss += more_loss
            right += more_right
    return loss.item() / len(images), right.item() / len(images)


def tally(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the summed cross-entropy (float64) and how many are right, of logits (n, classes)."""
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.double().sum(), (logits.argmax(1) == labels).sum()
