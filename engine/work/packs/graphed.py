"""K convolutional networks side by side on a GPU: their steps are one recording.

Each candidate is computed by the kernels that compute it alone, so that no result depends on K;
what is saved is launching, gathering and augmenting, and small kernels run beside each other.
(Stacked weights need grouped convolutions: slow where groups have few channels, and the algorithm
is chosen by how many groups there are, so that rounding would depend on K.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.catalog import ModelInfo
from engine.estimate import multiply_adds
from engine.recipe import Recipe
from engine.work.augment import Draws, train_batches
from engine.work.datasets import ImageData
from engine.work.mixing import Mixes, mixed_batches, target_loss
from engine.work.models import network_of
from engine.work.packs.base import AVERAGE, STEPS, Evaluation, repeatable
from engine.work.packs.compiled import compiled_network
from engine.work.packs.recording import Recorder, side_streams
from engine.work.packs.rows import Rows
from engine.work.packs.solo import images_at_a_time, tally
from engine.work.packs.stepping import Masks, StackedStep, average_
from engine.work.surgery import take_network

# Candidates that are computed beside each other, each with maps of its own, where one alone leaves
# most of a device idle: where a step takes fewer multiply-adds than this.
_BRANCHES = 4
_SMALL_STEP = 50e9
# The one parameter that the optimiser knows: all of them, as rows.
_ALL = ""


class GraphedPack:
    """K networks whose parameters are rows of one tensor; a step of all is recorded once.

    On a CPU the same steps are taken one after another, for tests.
    """

    def __init__(
        self,
        info: ModelInfo,
        states: Mapping[str, Tensor],
        data: ImageData,
        recipe: Recipe,
        precision: str = "float32",
        masks: Masks | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        """Puts the candidates on the data's device.

        Args:
            info: The model they were pruned from.
            states: Their states, stacked (K, ...).
            data: The data, on the device to train on.
            recipe: What they are trained by.
            precision: "bf16" trains with autocast to bfloat16 and channels last.
            masks: By parameter, (K, ...), True where a weight is left; the others stay zero.
            compiled: Whether whole batches are trained by code that torch.compile makes.
        """
        self._data, self._recipe, self._precision = data, recipe, precision
        self._device = device = data.train_images.device
        self._at_a_time = images_at_a_time(info, device)
        self._size = size = len(next(iter(states.values())))
        first = network_of(info, data.classes, take_network(states, 0))
        if any(not parameter.requires_grad for parameter in first.parameters()):
            raise ValueError("a network with frozen parameters cannot be recorded")
        names = [name for name, _ in first.named_parameters()]
        self._rows = Rows({name: tuple(states[name].shape[1:]) for name in names})
        own = {name: states[name] for name in names}
        weights = self._rows.filled(own, size, device)
        rest = {name: tensor for name, tensor in states.items() if name not in own}
        moving = {name: tensor for name, tensor in rest.items() if tensor.is_floating_point()}
        # Batch norms count batches; code that is compiled wants every tensor equally aligned.
        counts = {name: tensor for name, tensor in rest.items() if tensor.dtype == torch.int64}
        self._buffers = {
            name: tensor.to(device, copy=True)
            for name, tensor in rest.items()
            if name not in moving and name not in counts
        }
        for some, nothing in ((moving, 0.0), (counts, 0)):
            kept = Rows({name: tuple(tensor.shape[1:]) for name, tensor in some.items()})
            self._buffers |= kept.views(kept.filled(some, size, device, nothing))
        self._average = (
            {name: buffer.clone() for name, buffer in self._buffers.items()} if recipe.ema else None
        )
        left = self._rows.filled(masks, size, device, True) if masks else None
        self._stepping = StackedStep({_ALL: weights}, recipe, {} if left is None else {_ALL: left})
        self._gradients = torch.zeros_like(weights)
        self._rate = torch.zeros((), device=device)

        def built(rows: Tensor, buffers: Mapping[str, Tensor]) -> list[nn.Module]:
            state = {**self._rows.views(rows), **buffers}
            # In the memory of the rows; what is no part of a state is moved to the device.
            return [
                network_of(info, data.classes, {name: t[place] for name, t in state.items()}).to(
                    device
                )
                for place in range(size)
            ]

        self._networks = built(weights, self._buffers)
        self._parameters = [list(network.parameters()) for network in self._networks]
        parts = self._rows.views(self._gradients)
        self._parts = [[parts[name][place] for name in names] for place in range(size)]
        self._judged = self._networks
        if self._average is not None:
            self._judged = built(self._stepping.judged[_ALL], self._average)
        self._compiled = compiled_network(info, data.classes, states) if compiled else None
        self._loss = torch.zeros(size, dtype=torch.float64, device=device)
        self._right = torch.zeros(size, dtype=torch.int64, device=device)
        self._recorder = Recorder(device)
        small = multiply_adds(info, {}) * recipe.batch_size < _SMALL_STEP
        self._streams = side_streams(device, min(size, _BRANCHES if small else 1))

    @property
    def size(self) -> int:
        """K, how many candidates there are."""
        return self._size

    def train(
        self,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None = None,
        mixes: Mixes | None = None,
    ) -> None:
        """Takes one step per batch; see `Pack.train`."""
        self._rate.fill_(rate)
        for network in self._networks:
            network.train()
        with repeatable():
            changed = self._changed()
            batches = train_batches(self._data, order, self._recipe.batch_size, draws)
            for images, targets in mixed_batches(batches, self._recipe, mixes, self._data.classes):
                last = self._precision == "bf16"
                self._recorder.run(self._step, changed, self._laid_out(images, last), targets)

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on a whole split."""
        images, labels = self._data.split(split)
        self._loss.zero_()
        self._right.zero_()
        for network in self._judged:
            network.eval()
        with repeatable(), torch.no_grad():
            for start in range(0, len(labels), self._at_a_time):
                piece = slice(start, start + self._at_a_time)
                own = self._laid_out(images[piece], False)
                self._recorder.run(self._look, (self._loss, self._right), own, labels[piece])
        loss, right = self._loss.cpu().numpy(), self._right.cpu().numpy()
        return Evaluation(loss / len(labels), right.astype(np.float64) / len(labels))

    def state(self) -> dict[str, Tensor]:
        """Returns parameters, buffers and what the optimiser keeps; see `Pack.state`."""
        return {name: tensor.to("cpu", copy=True) for name, tensor in self._named().items()}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        for name, own in self._named().items():
            own.copy_(state[name])

    def _named(self) -> dict[str, Tensor]:
        """All that training changes, under the names of `Pack.state`, not copied."""
        named = dict(self._buffers)
        for prefix, rows in self._stepping.state().items():
            if prefix == STEPS:
                named[STEPS] = rows
            else:
                parts = self._rows.views(rows)
                named |= {prefix + name: part for name, part in parts.items()}
        return named | {AVERAGE + name: own for name, own in (self._average or {}).items()}

    def _laid_out(self, images: Tensor, channels_last: bool) -> Tensor:
        """Maps follow the images' order in memory; it is the one that candidates have alone."""
        if channels_last or self._device.type == "cpu":
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def _changed(self) -> list[Tensor]:
        tensors = [*self._stepping.state().values(), *self._buffers.values()]
        return [*tensors, *(self._average or {}).values()]

    def _step(self, images: Tensor, targets: Tensor) -> None:
        # Code for a short last batch would take as long to make as that for all others.
        whole = len(targets) == self._recipe.batch_size

        def differentiate(place: int) -> None:
            network = self._networks[place]
            # Within a recording, weights that are cast must not be remembered beyond it.
            with torch.autocast(
                self._device.type,
                torch.bfloat16,
                enabled=self._precision == "bf16",
                cache_enabled=False,
            ):
                if self._compiled is not None and whole:
                    named = dict(network.named_parameters()) | dict(network.named_buffers())
                    logits = self._compiled(named, images)
                else:
                    logits = network(images)
                loss = target_loss(logits, targets, self._recipe)
            gradients = torch.autograd.grad(loss, self._parameters[place])
            torch._foreach_copy_(self._parts[place], gradients)

        self._side_by_side(differentiate)
        self._stepping.step({_ALL: self._gradients}, self._rate)
        for name, average in (self._average or {}).items():
            average_(average, self._buffers[name], self._recipe.ema)

    def _look(self, images: Tensor, labels: Tensor) -> None:
        def judge(place: int) -> None:
            with torch.no_grad():
                loss, right = tally(self._judged[place](images), labels)
            self._loss[place] += loss
            self._right[place] += right

        self._side_by_side(judge)

    def _side_by_side(self, work: Callable[[int], None]) -> None:
        """Does work for every candidate, in turn on each stream; ends when all have ended."""
        if not self._streams:
            for place in range(self._size):
                work(place)
            return
        around = torch.cuda.current_stream(self._device)
        for stream in self._streams:
            stream.wait_stream(around)
        try:
            for place in range(self._size):
                with torch.cuda.stream(self._streams[place % len(self._streams)]):
                    work(place)
        finally:
            # When work breaks off, too: a recording cannot be ended with a branch that is open.
            for stream in self._streams:
                around.wait_stream(stream)


def recordable(network: nn.Module) -> bool:
    """Tells whether a network is of convolutions, and computes the same whenever it is replayed.

    What a network draws, its recordings would draw for all candidates from one stream; and what it
    keeps of an earlier evaluation (attention's biases in some of timm's), they would keep for good.
    """
    modules = list(network.modules())
    keeps = any("cache" in name for module in modules for name in vars(module))
    convolves = any(isinstance(module, nn.Conv2d) for module in modules)
    return convolves and not keeps and not any(map(_draws, modules))


def _draws(module: Any) -> bool:
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    name = type(module).__name__.lower()
    return any(part in name for part in ("drop", "stochastic")) and any(
        _positive(getattr(module, attribute, None)) for attribute in ("p", "drop_prob", "prob")
    )


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0
