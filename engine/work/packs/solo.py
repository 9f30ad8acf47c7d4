"""The reference way: every candidate trained by itself with torch's own modules and optimiser.

Candidates share nothing, so as many are worked on at a time as there are threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.study_rules import ANSWERING
from engine.work import cpu_layers
from engine.work.augment import Draws, train_batches
from engine.work.datasets import ImageData
from engine.work.mixing import Mixes, mixed_batches, target_loss
from engine.work.models import network_of
from engine.work.packs.base import Evaluation
from engine.work.packs.folding import Pair, foldable, folded
from engine.work.packs.stepping import Masks, Trainer
from engine.work.packs.workers import Workers
from engine.work.surgery import take_network

# Networks of a person's own may do anything in Python, and something else in each step.
OWN_CODE = frozenset({"file", "installed"})


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
        masks: Masks | None = None,
    ) -> None:
        """Builds the networks.

        Args:
            info: The model they were pruned from.
            states: Their states, stacked (K, ...).
            data: The data, on the device to train on.
            recipe: What they are trained by.
            threads: How many networks are worked on at a time on a CPU.
            torch_threads: How many of torch's threads share each network; part of the result.
            precision: "bf16" trains with autocast to bfloat16 and channels last; parameters,
                optimiser and evaluations stay float32 all the same.
            masks: By parameter, (K, ...), True where a weight is left; the others stay zero.
        """
        self._data, self._recipe, self._precision = data, recipe, precision
        device = data.train_images.device
        self._at_a_time = images_at_a_time(info, device)
        self._workers = Workers(threads if device.type == "cpu" else 1, torch_threads)
        size = len(next(iter(states.values())))
        networks = [
            self.prepared(
                laid_out(info, network_of(info, data.classes, take_network(states, place)), device)
            )
            for place in range(size)
        ]
        if precision == "bf16":
            for network in networks:
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._trainers = [
            Trainer(network, recipe, take_network(masks or {}, place))
            for place, network in enumerate(networks)
        ]
        own = has_own_layers(info, device, precision)
        # What is called to train each network: itself, or what computes the same in less time.
        self._trained = [
            cpu_layers.quicker(trainer.network) if own else trainer.network
            for trainer in self._trainers
        ]
        self._pairs = _pairs(info, data.classes) if _convolves_on_cpu(info, device) else ()

    def prepared(self, network: nn.Module) -> nn.Module:
        """Returns a network as it is trained; here as it is."""
        return network

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that are evaluated."""
        return [trainer.judged for trainer in self._trainers]

    @property
    def size(self) -> int:
        """K, how many candidates there are."""
        return len(self._trainers)

    def train(
        self,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None = None,
        mixes: Mixes | None = None,
    ) -> None:
        """Takes one step per batch; see `Pack.train`."""
        self._workers.run(
            [
                partial(self._train_one, *one, order, rate, draws, mixes)
                for one in zip(self._trainers, self._trained, strict=True)
            ]
        )

    def _train_one(
        self,
        trainer: Trainer,
        network: nn.Module,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None,
        mixes: Mixes | None,
    ) -> None:
        recipe = self._recipe
        trainer.network.train()
        trainer.set_rate(rate)
        batches = train_batches(self._data, order, recipe.batch_size, draws)
        for images, targets in mixed_batches(batches, recipe, mixes, self._data.classes):
            with self._casting():
                loss = target_loss(network(images), targets, recipe)
            trainer.step(loss)

    def _casting(self) -> torch.autocast:
        device = self._data.train_images.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self._precision == "bf16")

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on a whole split."""
        images, labels = self._data.split(split)
        results = self._workers.run(
            [
                partial(
                    evaluate_network, trainer.judged, images, labels, self._at_a_time, self._pairs
                )
                for trainer in self._trainers
            ]
        )
        loss, accuracy = np.array(results, np.float64).T
        return Evaluation(loss, accuracy)

    def state(self) -> dict[str, Tensor]:
        """Returns parameters, buffers and what the optimiser keeps; see `Pack.state`."""
        everything = [trainer.state() for trainer in self._trainers]
        return {
            name: torch.stack([state[name].detach().cpu() for state in everything])
            for name in everything[0]
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        for place, trainer in enumerate(self._trainers):
            trainer.load_state({name: tensor[place] for name, tensor in state.items()})


def evaluate_network(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    at_a_time: int,
    pairs: Sequence[Pair] = (),
) -> tuple[float, float]:
    """Returns mean cross-entropy and accuracy of one network over all images, in eval mode.

    Args:
        network: The network.
        images: All images.
        labels: Their labels.
        at_a_time: How many are evaluated at a time; see `images_at_a_time`.
        pairs: Convolutions and batch norms that are computed as one; see `foldable`.
    """
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=images.device)
    right = torch.zeros((), dtype=torch.int64, device=images.device)
    with torch.no_grad(), folded(network, pairs):
        for start in range(0, len(images), at_a_time):
            piece = slice(start, start + at_a_time)
            more_loss, more_right = tally(network(images[piece]), labels[piece])
            loss += more_loss
            right += more_right
    return loss.item() / len(images), right.item() / len(images)


def images_at_a_time(info: ModelInfo, device: torch.device) -> int:
    """Returns how many images of a model's size are evaluated at a time.

    It depends on the model and on the kind of device alone, because it is part of the result:
    another number could round the sums differently. Maps of 16 images of 224 pixels take a few
    hundred MB in large networks. On a CPU, maps of more than some 4 MB leave the caches and are
    given back to the system after each layer, which took a third of the time.
    """
    if info.family == "lenet":
        return 1_000
    pixels = (64 if _convolves_on_cpu(info, device) else 256) << 10
    return max(16, min(256, pixels // info.size**2))


def laid_out(info: ModelInfo, network: nn.Module, device: torch.device) -> nn.Module:
    """Returns the network on a device, its weights in the order in memory that suits it.

    On CPUs convolutional networks train 10 to 25 % faster with channels last.
    """
    network = network.to(device)
    if _convolves_on_cpu(info, device):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def has_own_layers(info: ModelInfo, device: torch.device, precision: str) -> bool:
    """Tells whether networks are trained by layers of our own, where they have such.

    It is part of the result, which is rounded otherwise.
    """
    if info.family in OWN_CODE or precision != "float32":
        return False
    return _convolves_on_cpu(info, device) and cpu_layers.available()[0]


@lru_cache(maxsize=4)
def _pairs(info: ModelInfo, classes: int) -> tuple[Pair, ...]:
    # How wide a network is does not matter, nor what its weights are.
    return foldable(network_of(info, classes, {}))


def _convolves_on_cpu(info: ModelInfo, device: torch.device) -> bool:
    return device.type == "cpu" and info.family not in ("lenet", ANSWERING)


def tally(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the summed cross-entropy (float64) and how many are right, of logits (n, classes)."""
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.double().sum(), (logits.argmax(1) == labels).sum()
