"""The reference way: every candidate trained by itself with torch's own modules and optimiser.

Candidates share nothing, so as many are worked on at a time as there are threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.work.augment import Draws, train_batches
from engine.work.datasets import ImageData
from engine.work.models import network_of
from engine.work.packs.base import MOMENTUM, Evaluation
from engine.work.packs.workers import Workers
from engine.work.surgery import take_network


class SoloPack:
    """K networks, one after another; works for every model and device."""

    def __init__(
        self,
        info: ModelInfo,
        states: Mapping[str, Tensor],
        data: ImageData,
        recipe: Recipe,
        threads: int = 1,
        torch_threads: int = 1,
        precision: str = "float32",
    ) -> None:
        """Builds the networks.

        Args:
            info: The model they were pruned from.
            states: Their states, stacked (K, ...).
            data: The data, on the device to train on.
            recipe: Batch size, momentum and weight decay.
            threads: How many networks are worked on at a time on a CPU.
            torch_threads: How many of torch's threads share each network; part of the result.
            precision: "bf16" trains with autocast to bfloat16 and channels last; parameters,
                optimiser and evaluations stay float32 all the same.
        """
        self._data, self._recipe, self._precision = data, recipe, precision
        self._at_a_time = images_at_a_time(info)
        device = data.train_images.device
        self._workers = Workers(threads if device.type == "cpu" else 1, torch_threads)
        size = len(next(iter(states.values())))
        self._networks = [
            laid_out(info, network_of(info, data.classes, take_network(states, place)), device)
            for place in range(size)
        ]
        if precision == "bf16":
            for network in self._networks:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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

    def train(self, order: NDArray[np.int64], rate: float, draws: Draws | None = None) -> None:
        """Takes one SGD step per batch; see `Pack.train`."""
        self._workers.run(
            [partial(self._train_one, i, order, rate, draws) for i in range(self.size)]
        )

    def _train_one(
        self, place: int, order: NDArray[np.int64], rate: float, draws: Draws | None
    ) -> None:
        network, optimiser = self._networks[place], self._optimisers[place]
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = rate
        for images, labels in train_batches(self._data, order, self._recipe.batch_size, draws):
            with self._casting():
                loss = functional.cross_entropy(network(images), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    def _casting(self) -> torch.autocast:
        device = self._data.train_images.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self._precision == "bf16")

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on a whole split."""
        images, labels = self._data.split(split)
        results = self._workers.run(
            [
                partial(evaluate_network, network, images, labels, self._at_a_time)
                for network in self._networks
            ]
        )
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


def evaluate_network(
    network: nn.Module, images: Tensor, labels: Tensor, at_a_time: int
) -> tuple[float, float]:
    """Returns mean cross-entropy and accuracy of one network over all images, in eval mode.

    Args:
        network: The network.
        images: All images.
        labels: Their labels.
        at_a_time: How many are evaluated at a time; see `images_at_a_time`.
    """
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    right = torch.zeros((), dtype=torch.int64, device=images.device)
    with torch.no_grad():
        for start in range(0, len(images), at_a_time):
            piece = slice(start, start + at_a_time)
            more_loss, more_right = tally(network(images[piece]), labels[piece])
            loss += more_loss
            right += more_right
    return loss.item() / len(images), right.item() / len(images)


def images_at_a_time(info: ModelInfo) -> int:
    """Returns how many images of a model's size are evaluated at a time.

    It depends on the model alone, because it is part of the result: another number could round
    the sums differently. Maps of 16 images of 224 pixels take a few hundred MB in large networks.
    """
    if info.family == "lenet":
        return 1_000
    return max(16, min(256, (256 << 10) // info.size**2))


def laid_out(info: ModelInfo, network: nn.Module, device: torch.device) -> nn.Module:
    """Returns the network on a device, its weights in the order in memory that suits it.

    On CPUs convolutional networks train 10 to 25 % faster with channels last.
    """
    network = network.to(device)
    if device.type == "cpu" and info.family != "lenet":
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def tally(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the summed cross-entropy (float64) and how many are right, of logits (n, classes)."""
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.double().sum(), (logits.argmax(1) == labels).sum()
