"""A short measurement of a study before it starts: its speed and memory on this device."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from engine.errors import UsageError
from engine.estimate import (
    START_SECONDS,
    epochs_in_all,
    has_plain_steps,
    multiply_adds,
    remember_rate_if_none,
    retraining_work,
)
from engine.masks import MaskSpace
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.study_rules import ANSWERING
from engine.work.augment import batch_draws
from engine.work.bench import pick_device
from engine.work.datasets import ImageData
from engine.work.masking import Masking
from engine.work.memory import ends_all_gpu_work, out_of_memory
from engine.work.mixing import batch_mixes
from engine.work.models import build_model, slice_plan
from engine.work.needs import free_memory, needs_of, refusal
from engine.work.packs import Pack, make_pack
from engine.work.packs.choose import possible_kinds, warm_up
from engine.work.pretraining import torch_threads_of

# A measurement aims at so many multiply-adds a candidate: a second or a few.
_AIM_WORK = {"cpu": 2e10, "cuda": 2e12}
_MOST_STEPS = 8
_PACK = {"cpu": 1, "cuda": 32}


def measure(spec: StudySpec, device_name: str) -> dict[str, Any]:
    """Returns what a study costs here, as a JSON object; see `engine.cost.Cost`.

    One pack of candidates with random weights takes a few steps on random images.

    Raises:
        UsageError: There is no such device, or the model cannot be built.
    """
    device = pick_device(device_name, lambda line: None)
    threads = len(os.sched_getaffinity(0))
    needs, free = needs_of(spec, device, threads), free_memory(device)
    fits = needs.of(1) <= free
    found: dict[str, Any] = {
        "device": str(device),
        "memory": {
            "data": needs.data,
            "base": asdict(needs.base),
            "candidate": asdict(needs.candidate),
            "one_candidate": needs.of(1),
            "largest_pack": needs.largest(free),
            "free": free,
        },
        "fits": fits,
        "problem": "" if fits else refusal(spec, needs, free, str(device)),
        "seconds": None,
        "rate": None,
    }
    if fits:
        found["seconds"], found["rate"] = _outlook(spec, device, threads)
        plain = has_plain_steps(spec)
        remember_rate_if_none(spec.model_info, str(device), found["rate"], plain=plain)
    return found


@dataclass(frozen=True, slots=True)
class _Pace:
    """Seconds of one candidate, where a pack of them is worked on: whatever a pack shares."""

    step: float
    trained_image: float
    evaluated_image: float

    def epoch(self, recipe: Recipe, images: int, evaluated: int) -> float:
        """Returns the seconds of an epoch, with so many images evaluated after it."""
        trained = images * self.trained_image + -(-images // recipe.batch_size) * self.step
        return trained + evaluated * self.evaluated_image


def _outlook(spec: StudySpec, device: torch.device, threads: int) -> tuple[float, float]:
    """Returns the seconds of a study, and the multiply-adds a second of its retrainings.

    Candidates and base network are measured each by their own recipe, and on a CPU fewer
    candidates than there are threads take as long as one for each.
    """
    data = spec.dataset_info
    train, test = data.train_images, data.test_images
    pace, width = _pace(spec, spec.retrain, device, threads, candidates=True)
    epoch = pace.epoch(spec.retrain, train, train + test)
    whole = max(1.0, width / max(1, len(spec.space))) if device.type == "cpu" else 1.0
    scoring = (spec.tuning.scored or train) * pace.evaluated_image * len(spec.space)
    seconds = START_SECONDS + (epochs_in_all(spec) * epoch + scoring) * whole
    if spec.pretrains:
        pace, _ = _pace(spec, spec.pretrain, device, threads, candidates=False)
        seconds += spec.pretrain.epochs * pace.epoch(spec.pretrain, train, test)
        seconds += train * pace.evaluated_image
    return seconds, retraining_work(spec) / (epoch * spec.retrain.epochs)


def _pace(
    spec: StudySpec, recipe: Recipe, device: torch.device, threads: int, *, candidates: bool
) -> tuple[_Pace, int]:
    """Returns what one candidate (or the base network) takes, and how many were worked on."""
    info, classes = spec.model_info, spec.dataset_info.classes
    kept: Mapping[str, int] = spec.kept if candidates else {}
    masked = spec.masked and candidates
    work = 3 * multiply_adds(info, dict(kept), classes)
    # At least two images: batch norms need them.
    batch = int(min(recipe.batch_size, max(2, _AIM_WORK[device.type] // work)))
    count = batch * int(min(_MOST_STEPS, max(1, _AIM_WORK[device.type] // (work * batch))))
    data = _random_data(spec, device, count)
    kinds = possible_kinds(info, kept, data, spec.precision, recipe, masked=masked)
    warm_up(info, kept, data)
    state = build_model(info, classes, kept).state_dict()
    size = 1
    if candidates:
        size = _PACK[device.type] * (threads if device.type == "cpu" else 1)
    masking = _masking(spec, state) if masked else None
    while True:
        masks = None
        if masking is None:
            states = {name: torch.stack([tensor] * size) for name, tensor in state.items()}
        else:
            states, masks = masking.states([spec.space[i % len(spec.space)] for i in range(size)])

        def pack(
            batch: int, kind: str = kinds[0], states: Any = states, masks: Any = masks
        ) -> Pack:
            return make_pack(
                info, states, data, replace(recipe, batch_size=batch), threads=threads, kind=kind,
                torch_threads=1 if candidates else torch_threads_of(info),
                precision=spec.precision, masks=masks, tuning=spec.tuning,
            )  # fmt: skip

        try:
            return _timed(pack, recipe, data, batch, count), size
        except Exception as error:
            if out_of_memory(error) and size > 1:
                size //= 2
            elif len(kinds) > 1 and not out_of_memory(error) and not ends_all_gpu_work(error):
                del kinds[0]  # a run finds out, too, that this kind does not work here
            else:
                raise


def _timed(
    pack_of: Callable[[int], Pack], recipe: Recipe, data: ImageData, batch: int, count: int
) -> _Pace:
    """Returns the pace of packs, made by the size of their batches.

    Where the recipe's batch is too large to be measured, what a step takes whatever its batch (an
    optimiser over many weights) is told from what an image takes by batches of two sizes.
    """
    device = data.train_images.device
    step = half = 0.0
    if batch < recipe.batch_size and batch >= 4:
        half = _training_seconds(pack_of(batch // 2), recipe, data, batch // 2, count, device)
    pack = pack_of(batch)
    whole = _training_seconds(pack, recipe, data, batch, count, device)
    if half:
        # Seconds an image are step / batch + image, for both batches.
        step = max(0.0, (half - whole) / (1 / (batch // 2) - 1 / batch))
    image = max(whole / 10, whole - step / batch)
    seconds = 0.0
    for _ in range(2):  # the first warms up
        _wait(device)
        began = time.perf_counter()
        pack.evaluate("train")
        _wait(device)
        seconds = time.perf_counter() - began
    each = pack.size
    return _Pace(step / each, image / each, seconds / count / each)


def _training_seconds(
    pack: Pack, recipe: Recipe, data: ImageData, batch: int, count: int, device: torch.device
) -> float:
    """Returns the seconds an image takes in batches of one size, none of them smaller."""
    count -= count % batch
    order = np.arange(count, dtype=np.int64)
    draws = batch_draws(0, 0, 0, count) if data.augmented else None
    mixes = batch_mixes(0, 0, 0, replace(recipe, batch_size=batch), count)
    seconds = 0.0
    for _ in range(2):  # the first warms up
        _wait(device)
        began = time.perf_counter()
        pack.train(order, recipe.learning_rate, draws, mixes)
        _wait(device)
        seconds = time.perf_counter() - began
    return seconds / count


def _masking(spec: StudySpec, state: Mapping[str, torch.Tensor]) -> Masking:
    assert isinstance(spec.space, MaskSpace)
    plan = slice_plan(spec.model_info, spec.dataset_info.classes)
    return Masking(spec.space, plan, spec.layers, state)


def _random_data(spec: StudySpec, device: torch.device, count: int) -> ImageData:
    """Returns noise in the place of images: how long a step takes does not depend on it."""
    info, data = spec.model_info, spec.dataset_info
    if count < 1:
        raise UsageError(f"{data.title} has no images.")
    if info.family == ANSWERING:
        from engine.work.mllm.loading import random_dialogues

        return random_dialogues(info, count).to(device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, info.channels, info.size, info.size, generator=generator)
    labels = torch.arange(count) % data.classes
    black = torch.zeros(info.channels) if data.augmented else None
    whole = ImageData(images, labels, images, labels, data.classes, "", black)
    return whole.to(device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
