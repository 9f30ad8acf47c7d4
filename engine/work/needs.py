"""What a study takes of a device's memory, found by one forward pass of two images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from engine.errors import UsageError
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.work.datasets import FOLDER_BYTES
from engine.work.datasets.folder import SHARED_BYTES
from engine.work.models import build_model, family_of

# Copies of the parameters that an optimiser keeps.
_STATES = {"sgd": 1, "adamw": 2}
_IMAGES = 2
# What libraries and allocators take beside what a forward pass keeps: of three models on a CPU, 1.2
# to 1.5 times as much was resident. For GPUs it is a guess, because none has been measured.
_OVERHEAD = {"cpu": 1.3, "cuda": 1.1}
# Prepared images take at most this share of a device; beyond it they are read batch by batch.
DATA_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Training:
    """What one network takes while it is trained, in bytes.

    Attributes:
        weights: Parameters and buffers.
        gradients: One copy of the parameters.
        optimiser: Its state, and the running average of the weights where there is one.
        activations: Of a batch, with what a backward pass takes beside.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int

    @property
    def kept(self) -> int:
        """What stays between two steps."""
        return self.weights + self.gradients + self.optimiser


@dataclass(frozen=True, slots=True)
class Needs:
    """What a study takes of the memory of the device that it computes on, in bytes.

    Attributes:
        data: Prepared images of both splits, where they stay in memory; else a batch.
        base: The base network while it is trained.
        candidate: One candidate while it is retrained.
        together: How many candidates' activations there are at a time.
    """

    data: int
    base: Training
    candidate: Training
    together: int

    def of(self, size: int) -> int:
        """Returns what packs of so many candidates take, data and base network included."""
        states = self.base.weights + size * (self.candidate.kept + self.candidate.weights)
        retraining = states + min(size, self.together) * self.candidate.activations
        return self.data + max(retraining, self.base.kept + self.base.activations)

    def largest(self, free: int, most: int = 1024) -> int:
        """Returns how many candidates fit into so much memory, 0 where not one does."""
        size = 0
        while size < most and self.of(size + 1) <= free:
            size += 1
        return size


def needs_of(spec: StudySpec, device: torch.device, threads: int) -> Needs:
    """Returns what a study takes; it builds the base network and one candidate on the CPU.

    Args:
        spec: The study.
        device: Where it will compute.
        threads: Candidates that are worked on at a time on a CPU.
    """
    classes = spec.dataset_info.classes
    whole = _training(spec, {}, classes, spec.pretrain, device.type)
    slim = _training(spec, spec.kept, classes, spec.retrain, device.type)
    if not spec.pretrains:  # its weights are given, and it is only evaluated
        whole = replace(whole, gradients=0, optimiser=0, activations=0)
    stacked = device.type == "cuda" and spec.model_info.family == "lenet"
    together = 1024 if stacked else threads if device.type == "cpu" else 1
    return Needs(data_bytes(spec, free_memory(device)), whole, slim, together)


def require_room(spec: StudySpec, device: torch.device, threads: int) -> Needs:
    """Returns what a study takes, which must fit with one candidate at a time.

    Raises:
        UsageError: It does not, with the numbers and what makes them smaller.
    """
    needs, free = needs_of(spec, device, threads), free_memory(device)
    if needs.of(1) > free:
        raise UsageError(refusal(spec, needs, free, str(device)))
    return needs


def refusal(spec: StudySpec, needs: Needs, free: int, device: str) -> str:
    """Returns the sentence about a study that does not fit."""
    whole = needs.base.kept + needs.base.activations
    slim = needs.base.weights + needs.candidate.kept + needs.candidate.activations
    what, part, batch = (
        ("the base network", needs.base, spec.pretrain.batch_size)
        if whole > slim
        else ("a candidate", needs.candidate, spec.retrain.batch_size)
    )
    return (
        f"{spec.model} on {spec.dataset} needs {needs.of(1) / 1e9:.1f} GB of memory on {device} "
        f"to train {what} ({needs.data / 1e9:.1f} for data, {part.kept / 1e9:.1f} for weights, "
        f"gradients and optimiser, {part.activations / 1e9:.1f} for a batch of {batch}) and "
        f"{free / 1e9:.1f} GB are free; choose a smaller input size, for example "
        f"{spec.model.partition('@')[0]}@{spec.model_info.size // 2}, or a smaller batch."
    )


def free_memory(device: torch.device) -> int:
    """Returns the bytes that are free on a device."""
    if device.type == "cuda":
        # What an earlier run of this process used and torch only keeps is free, too.
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return int(psutil.virtual_memory().available)


def data_bytes(spec: StudySpec, free: int) -> int:
    """Returns what prepared images take: all of them, or a batch where that is too much."""
    info, data = spec.model_info, spec.dataset_info
    image = data.channels * info.size**2 * 4
    whole = (data.train_images + data.test_images) * image
    batch = max(spec.pretrain.batch_size, spec.retrain.batch_size) * image
    room = DATA_SHARE * free
    if data.crops:
        # Batches are shared as bytes, in the host's memory.
        shared = min(SHARED_BYTES, data.train_images * image // 4)
        whole, batch, room = whole + shared, batch + shared, min(room, FOLDER_BYTES)
    return whole if whole <= room else batch


def room_for_data(device: torch.device) -> int:
    """Returns how many bytes prepared images may take of a device."""
    return int(DATA_SHARE * free_memory(device))


def _training(
    spec: StudySpec, kept: Mapping[str, int], classes: int, recipe: Recipe, device_type: str
) -> Training:
    info = spec.model_info
    with torch.random.fork_rng(devices=[]):
        network = build_model(info, classes, kept)
        images = family_of(info).example(info, _IMAGES)
    parameters = sum(p.nbytes for p in network.parameters())
    buffers = sum(b.nbytes for b in network.buffers())
    averages = 1 if recipe.ema else 0
    saved, largest = activation_bytes(network, images, bf16=spec.precision == "bf16")
    each = (_OVERHEAD[device_type] * saved + 2 * largest) / _IMAGES
    return Training(
        weights=parameters + buffers,
        gradients=parameters,
        optimiser=(_STATES[recipe.optimiser] + averages) * parameters,
        activations=int(each * recipe.batch_size),
    )


def activation_bytes(network: nn.Module, images: Any, *, bf16: bool = False) -> tuple[int, int]:
    """Returns what a forward pass keeps for the backward one, and the largest piece of it.

    Memory is counted once, however many layers keep it; weights and the images are not counted.
    """
    known = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    if isinstance(images, Tensor):
        known.add(images.untyped_storage().data_ptr())
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    network.train()
    with (
        torch.random.fork_rng(devices=[]),
        saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        logits = network(images)
        loss = functional.cross_entropy(logits, torch.zeros(len(logits)).long())
    # The graph is alive until here, so that no two pieces were at one place.
    assert loss.requires_grad
    return sum(kept.values()), max(kept.values(), default=0)
