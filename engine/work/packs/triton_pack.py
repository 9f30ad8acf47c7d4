"""The Triton kernels behind the interface of a pack; names, tensors and CUDA graphs are here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.work.augment import Draws
from engine.work.datasets import ImageData
from engine.work.mixing import Mixes
from engine.work.models import build_model
from engine.work.packs.base import MOMENTUM, Evaluation, require_plain
from engine.work.packs.flat import named, rows
from engine.work.packs.recording import Recorder
from engine.work.tiny_cnn import architecture as networks
from engine.work.tiny_cnn.architecture import Architecture
from engine.work.tiny_cnn_gpu.program import DEFAULT_TILES, Program, Tiles, fits

# Steps in one CUDA graph: enough that replaying costs nothing, few enough to capture at once.
_STEPS_IN_A_GRAPH = 16


class TritonPack:
    """K candidates of the LeNet family computed by Triton kernels on a CUDA device.

    On a CPU it runs where Triton's interpreter is switched on, which is slow and for tests.
    """

    def __init__(
        self,
        states: Mapping[str, Tensor],
        data: ImageData,
        recipe: Recipe,
        tiles: Tiles = DEFAULT_TILES,
    ) -> None:
        """Copies the parameters to the device; the images are shared.

        Args:
            states: The candidates' states, stacked (K, ...).
            data: The data, on the device.
            recipe: Batch size, momentum and weight decay.
            tiles: How work is cut up; another way rounds otherwise.
        """
        require_plain(recipe)
        first = {name: tensor[0] for name, tensor in states.items()}
        architecture = Architecture.of(first)
        self._shapes = architecture.shapes()
        self._data, self._recipe = data, recipe
        self._device = data.train_images.device
        parameters = rows(states, self._shapes).to(self._device, torch.float32, copy=True)
        self._program = Program(architecture, parameters, recipe.batch_size, tiles)
        self._rate = torch.zeros((), device=self._device)
        # Launching from Python takes longer than a small step.
        self._recorder = Recorder(self._device)

    @property
    def size(self) -> int:
        """K, how many candidates there are."""
        return len(self._program.parameters)

    def train(
        self,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None = None,
        mixes: Mixes | None = None,
    ) -> None:
        """Takes one SGD step per batch; see `Pack.train`."""
        require_plain(self._recipe, draws, mixes)
        self._rate.fill_(rate)
        piece = _STEPS_IN_A_GRAPH * self._recipe.batch_size
        # From here on nothing is copied between the machine and the device.
        for part in torch.split(torch.from_numpy(order).to(self._device), piece):
            self._recorder.run(self._steps, list(self._arrays().values()), part)

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on a whole split."""
        images, labels = self._data.split(split)
        with torch.cuda.device_of(self._rate):  # type: ignore[no-untyped-call]
            losses, hits = self._program.evaluate(images, labels)
        return Evaluation(
            losses.numpy() / len(labels), hits.numpy().astype(np.float64) / len(labels)
        )

    def state(self) -> dict[str, Tensor]:
        """Returns parameters and momentum; see `Pack.state`."""
        return {
            name: tensor
            for prefix, flat in self._arrays().items()
            for name, tensor in named(flat.cpu(), self._shapes, prefix).items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        for prefix, flat in self._arrays().items():
            flat.copy_(rows(state, self._shapes, prefix))

    def _arrays(self) -> dict[str, Tensor]:
        return {"": self._program.parameters, MOMENTUM: self._program.momenta}

    def _steps(self, order: Tensor) -> None:
        images, labels = self._data.split("train")
        for batch in torch.split(order, self._recipe.batch_size):
            self._program.step(
                images,
                labels,
                batch,
                self._rate,
                self._recipe.momentum,
                self._recipe.weight_decay,
            )


def supports(info: ModelInfo, kept: Mapping[str, int], data: ImageData) -> bool:
    """Tells whether the kernels can compute networks that keep so many filters of each layer."""
    state = build_model(info, data.classes, kept).state_dict()
    plain = data.in_memory and not data.augmented
    return plain and networks.supports(state) and fits(Architecture.of(state))
