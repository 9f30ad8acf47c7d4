"""K candidates of the LeNet family as one computation with stacked parameters, for a GPU.

Feature maps are (K, channels, batch, height, width), so that im2col of the maps of candidate k is
one matrix and a convolution of all K is one batched matrix product (grouped convolutions are slow
for few channels). The first layer's patches are the same for all candidates and are made once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.work.augment import Draws, train_batches
from engine.work.datasets import ImageData
from engine.work.mixing import Mixes, mixed_batches, stacked_target_losses
from engine.work.models.lenet import KERNEL
from engine.work.packs.base import Evaluation, repeatable
from engine.work.packs.recording import Recorder
from engine.work.packs.stepping import Masks, StackedStep

IMAGES_AT_A_TIME = 256

Parameters = Mapping[str, Tensor]


class StackedPack:
    """K candidates whose batches are one forward, one backward and one update."""

    def __init__(
        self,
        info: ModelInfo,
        states: Parameters,
        data: ImageData,
        recipe: Recipe,
        masks: Masks | None = None,
    ) -> None:
        """Puts the stacked parameters on the data's device.

        Args:
            info: The model they were pruned from; of the LeNet family.
            states: Their states, stacked (K, ...).
            data: The data, on the device to train on.
            recipe: What they are trained by.
            masks: By parameter, (K, ...), True where a weight is left; the others stay zero.
        """
        self._info, self._data, self._recipe = info, data, recipe
        self._device = data.train_images.device
        self._parameters = {
            name: tensor.to(self._device, copy=True).requires_grad_()
            for name, tensor in states.items()
        }
        self._stepping = StackedStep(self._parameters, recipe, masks)
        self._rate = torch.zeros((), device=self._device)
        # A step's fifty small kernels cost more to launch than to run.
        self._recorder = Recorder(self._device, warm_ups=3)

    @property
    def size(self) -> int:
        """K, how many candidates there are."""
        return len(next(iter(self._parameters.values())))

    def train(
        self,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None = None,
        mixes: Mixes | None = None,
    ) -> None:
        """Takes one step per batch; see `Pack.train`."""
        self._rate.fill_(rate)
        changed = list(self._stepping.state().values())
        with repeatable():
            batches = train_batches(self._data, order, self._recipe.batch_size, draws)
            for images, targets in mixed_batches(batches, self._recipe, mixes, self._data.classes):
                self._recorder.run(self._step, changed, images, targets)

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on a whole split."""
        images, labels = self._data.split(split)
        loss = torch.zeros(self.size, dtype=torch.float64, device=self._device)
        right = torch.zeros(self.size, dtype=torch.int64, device=self._device)
        with repeatable(), torch.no_grad():
            for start in range(0, len(images), IMAGES_AT_A_TIME):
                piece = slice(start, start + IMAGES_AT_A_TIME)
                logits = stacked_logits(self._info, self._stepping.judged, images[piece])
                more_loss, more_right = stacked_tally(logits, labels[piece])
                loss += more_loss
                right += more_right
        return Evaluation(
            loss.cpu().numpy() / len(images), right.cpu().numpy().astype(np.float64) / len(images)
        )

    def state(self) -> dict[str, Tensor]:
        """Returns parameters and what the optimiser keeps; see `Pack.state`."""
        everything = self._stepping.state()
        return {name: tensor.to("cpu", copy=True) for name, tensor in everything.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        self._stepping.load_state(state)

    def _step(self, images: Tensor, targets: Tensor) -> None:
        logits = stacked_logits(self._info, self._parameters, images)
        # The sum over candidates gives each its own gradient, since none reads another's weights.
        loss = stacked_target_losses(logits, targets, self._recipe).mean(1).sum()
        gradients = torch.autograd.grad(loss, list(self._parameters.values()))
        self._stepping.step(dict(zip(self._parameters, gradients, strict=True)), self._rate)


def stacked_logits(
    info: ModelInfo, parameters: Parameters, maps: Tensor, after: str | None = None
) -> Tensor:
    """Returns the logits of K networks, (K, classes, batch).

    Args:
        info: The model; of the LeNet family.
        parameters: Stacked parameters (K, ...).
        maps: Images (batch, channels, size, size); or, where `after` is given, what that layer
            gave, pooled and rectified, per candidate: (K, filters, batch, height, width).
        after: The layer that `maps` come from.
    """
    names = [layer.name for layer in info.layers]
    start = 0 if after is None else names.index(after) + 1
    if after is None:
        maps = maps.transpose(0, 1).unsqueeze(0)
    for place in range(start, len(names)):
        name = names[place]
        maps = _convolve(maps, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
        if place < len(names) - 1:
            maps = _pool(maps)
        maps = functional.relu(maps)
    # (K, filters, batch, h, w) -> (K, filters * h * w, batch), as a flatten of single maps is.
    values = maps.permute(0, 1, 3, 4, 2).flatten(1, 3)
    for place in range(len(info.hidden) + 1):
        weight, bias = parameters[f"fc{place + 1}.weight"], parameters[f"fc{place + 1}.bias"]
        values = torch.baddbmm(bias.unsqueeze(2), weight, values)
        if place < len(info.hidden):
            values = functional.relu(values)
    return values


def stacked_tally(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns summed cross-entropy (K,) in float64 and how many are right (K,)."""
    return _losses(logits, labels).double().sum(1), (logits.argmax(1) == labels).sum(1)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the cross-entropy of every image, (K, batch), from logits (K, classes, batch)."""
    chosen = labels.expand(len(logits), 1, -1)
    return -functional.log_softmax(logits, 1).gather(1, chosen).squeeze(1)


def _pool(maps: Tensor) -> Tensor:
    """Halves height and width of (K, channels, batch, h, w) maps, rounding down."""
    size, channels = maps.shape[:2]
    pooled = functional.max_pool2d(maps.flatten(0, 1), 2)
    return pooled.reshape(size, channels, *pooled.shape[1:])


def _convolve(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolves (K or 1, channels, batch, h, w) maps with (K, filters, channels, 5, 5) weights."""
    size, filters = weight.shape[:2]
    patches = maps.unfold(3, KERNEL, 1).unfold(4, KERNEL, 1)
    shared, channels, batch, height, width = patches.shape[:5]
    columns = patches.permute(0, 1, 5, 6, 2, 3, 4).reshape(
        shared, channels * KERNEL * KERNEL, batch * height * width
    )
    rows = weight.flatten(2)
    if shared == 1:
        # One product for all candidates: their filters are just more rows.
        out = torch.addmm(bias.reshape(-1, 1), rows.flatten(0, 1), columns[0])
    else:
        out = torch.baddbmm(bias.unsqueeze(2), rows, columns)
    return out.reshape(size, filters, batch, height, width)
