"""A short measurement of a study before it starts: its speed and memory on this device."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from engine.errors import UsageError
from engine.estimate import (
    START_SECONDS,
    multiply_adds,
    remember_rate_if_none,
    study_work,
)
from engine.spec import StudySpec
from engine.study_rules import ANSWERING
from engine.work.augment import batch_draws
from engine.work.bench import pick_device
from engine.work.datasets import ImageData
from engine.work.memory import out_of_memory
from engine.work.mixing import batch_mixes
from engine.work.models import build_model
from engine.work.needs import free_memory, needs_of, refusal
from engine.work.packs import make_pack
from engine.work.packs.choose import possible_kinds, warm_up

# A measurement aims at so many multiply-adds a candidate: a second or a few.
_AIM_WORK = {"cpu": 2e10, "cuda": 2e12}
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
        rate = _rate(spec, device, threads)
        found["rate"] = rate
        found["seconds"] = START_SECONDS + study_work(spec) / rate
        if not (spec.masked or spec.retrain.beyond_plain):  # later estimates are of plain steps
            remember_rate_if_none(spec.model_info, str(device), rate)
    return found


def _rate(spec: StudySpec, device: torch.device, threads: int) -> float:
    """Returns multiply-adds a second while a pack is trained."""
    info, classes, kept = spec.model_info, spec.dataset_info.classes, spec.kept
    work = 3 * multiply_adds(info, kept, classes)
    # At least two images: batch norms need them.
    batch = int(min(spec.retrain.batch_size, max(2, _AIM_WORK[device.type] // work)))
    count = batch * int(min(8, max(1, _AIM_WORK[device.type] // (work * batch))))
    data = _random_data(spec, device, count)
    recipe = replace(spec.retrain, batch_size=batch)
    kind = possible_kinds(info, kept, data, spec.precision, recipe, masked=spec.masked)[0]
    warm_up(info, kept, data)
    size = _PACK[device.type] * (threads if device.type == "cpu" else 1)
    state = build_model(info, classes, kept).state_dict()
    order = np.arange(count, dtype=np.int64)
    draws = batch_draws(0, 0, 0, count) if data.augmented else None
    mixes = batch_mixes(0, 0, 0, recipe, count)
    while True:
        states = {name: torch.stack([tensor] * size) for name, tensor in state.items()}
        try:
            pack = make_pack(
                info, states, data, recipe, threads=threads, kind=kind, precision=spec.precision,
                tuning=spec.tuning,
            )  # fmt: skip
            for _ in range(2):  # the first warms up
                _wait(device)
                began = time.perf_counter()
                pack.train(order, recipe.learning_rate, draws, mixes)
                _wait(device)
                seconds = time.perf_counter() - began
            return size * count * work / seconds
        except Exception as error:
            if not out_of_memory(error) or size == 1:
                raise
            size //= 2


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
