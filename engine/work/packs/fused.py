"""The fused CPU kernel behind the interface of a pack; only names and tensors are turned here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.work import tiny_cnn
from engine.work.augment import Draws
from engine.work.datasets import ImageData
from engine.work.mixing import Mixes
from engine.work.models import build_model
from engine.work.packs.base import MOMENTUM, Evaluation, require_plain
from engine.work.packs.flat import named, rows
from engine.work.tiny_cnn.architecture import Architecture

# torch's prefix of a parameter's name in a pack's state -> the kernel's array.
_ARRAYS = {"": "parameters", MOMENTUM: "momenta"}

# Images that all candidates are scored on between two words about progress: a whole number of the
# kernel's own chunks.
_SHARED_IMAGES = 8_192
# Candidates times images that the kernel evaluates between two words about progress otherwise.
_SAMPLES_AT_A_TIME = 100_000


class FusedPack:
    """K candidates computed by the kernel on the CPU's threads."""

    def __init__(
        self,
        states: Mapping[str, Tensor],
        data: ImageData,
        recipe: Recipe,
        threads: int,
    ) -> None:
        """Copies the parameters into the kernel; the images are shared.

        Args:
            states: The candidates' states, stacked (K, ...).
            data: The data, on the CPU.
            recipe: Batch size, momentum and weight decay.
            threads: How many candidates are worked on at a time.
        """
        require_plain(recipe)
        self._recipe = recipe
        size = len(next(iter(states.values())))
        arrays = [
            {name: tensor[place].numpy() for name, tensor in states.items()}
            for place in range(size)
        ]
        self._shapes = Architecture.of(arrays[0]).shapes()
        self._kernel = tiny_cnn.FusedPack(
            arrays,
            data.train_images.numpy(),
            data.train_labels.numpy(),
            data.test_images.numpy(),
            data.test_labels.numpy(),
            batch_size=recipe.batch_size,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            threads=threads,
        )

    @property
    def size(self) -> int:
        """K, how many candidates there are."""
        return self._kernel.size

    def train(
        self,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None = None,
        mixes: Mixes | None = None,
    ) -> None:
        """Takes one SGD step per batch; see `Pack.train`."""
        require_plain(self._recipe, draws, mixes)
        self._kernel.train(order, rate)

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on a whole split."""
        return Evaluation(*self._kernel.evaluate("train" if split == "train" else "test"))

    def state(self) -> dict[str, Tensor]:
        """Returns parameters and momentum; see `Pack.state`."""
        flat = self._kernel.state()
        return {
            name: tensor
            for prefix, array in _ARRAYS.items()
            for name, tensor in named(torch.from_numpy(flat[array]), self._shapes, prefix).items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        self._kernel.load_state(
            {array: rows(state, self._shapes, prefix).numpy() for prefix, array in _ARRAYS.items()}
        )


def shared_scores(
    base: Mapping[str, Tensor],
    layer: str,
    kept: Sequence[Sequence[int]],
    released: Sequence[int] | None,
    data: ImageData,
    threads: int,
    tell: Callable[[int], None],
) -> Evaluation:
    """Scores candidates of one layer on the train set; the sums they share are computed once.

    Args:
        base: State of the base network.
        layer: The pruned layer.
        kept: Per candidate, the filters that stay.
        released: Under released wiring, the channels that the consumers keep.
        data: The data, on the CPU.
        threads: How many threads.
        tell: Called with how many candidates' worth of work is done.
    """
    images, labels = data.train_images.numpy(), data.train_labels.numpy()
    arrays = {name: tensor.numpy() for name, tensor in base.items()}
    loss, right = np.zeros(len(kept)), np.zeros(len(kept))
    for start in range(0, len(images), _SHARED_IMAGES):
        piece = slice(start, min(start + _SHARED_IMAGES, len(images)))
        part_loss, part_accuracy = tiny_cnn.pruned_losses(
            arrays,
            layer,
            kept,
            images[piece],
            labels[piece],
            threads=threads,
            wiring_inputs=released,
        )
        loss += part_loss * (piece.stop - start)
        right += part_accuracy * (piece.stop - start)
        tell(len(kept) * piece.stop // len(images))
    return Evaluation(loss / len(images), right.round() / len(images))


def separate_scores(
    states: Mapping[str, Tensor], data: ImageData, threads: int, tell: Callable[[int], None]
) -> Evaluation:
    """Scores stacked states (K, ...) on the train set, network by network; see `shared_scores`."""
    images, labels = data.train_images.numpy(), data.train_labels.numpy()
    arrays = {name: tensor.numpy() for name, tensor in states.items()}
    size = len(next(iter(arrays.values())))
    together = max(threads, _SAMPLES_AT_A_TIME // len(images))
    found = []
    for start in range(0, size, together):
        places = range(start, min(start + together, size))
        networks = [{name: array[i] for name, array in arrays.items()} for i in places]
        found.append(tiny_cnn.evaluate_networks(networks, images, labels, threads=threads))
        tell(places.stop)
    return Evaluation(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def supports(info: ModelInfo, kept: Mapping[str, int], classes: int) -> bool:
    """Tells whether the kernel can compute networks that keep so many filters of each layer."""
    return tiny_cnn.supports(build_model(info, classes, kept).state_dict())


def warm_up(
    info: ModelInfo,
    kept: Mapping[str, int],
    classes: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Compiles what networks of this shape need, or loads it from an earlier time."""
    tiny_cnn.warm_up(build_model(info, classes, kept).state_dict(), progress)
