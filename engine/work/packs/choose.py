"""Chooses how a pack is computed: the fused kernel on a CPU, what measures quickest on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.study_rules import ANSWERING
from engine.tuning import Tuning
from engine.work import tiny_cnn, tiny_cnn_gpu
from engine.work.augment import batch_draws
from engine.work.datasets import ImageData
from engine.work.mixing import seeded_mixes
from engine.work.models import build_model
from engine.work.packs import fused
from engine.work.packs.base import Pack
from engine.work.packs.solo import SoloPack
from engine.work.packs.stacked import StackedPack
from engine.work.packs.stepping import Masks

STACKED_FAMILIES = frozenset({"lenet"})
KINDS = ("fused", "triton", "stacked", "solo")

# A measurement trains so many candidates for so many steps, once for warming up and then counted.
_MEASURED_CANDIDATES = 32
_MEASURED_STEPS = 4


def make_pack(
    info: ModelInfo,
    states: Mapping[str, Tensor],
    data: ImageData,
    recipe: Recipe,
    *,
    threads: int = 1,
    torch_threads: int = 1,
    kind: str | None = None,
    precision: str = "float32",
    masks: Masks | None = None,
    tuning: Tuning | None = None,
) -> Pack:
    """Returns a pack of the kind that is asked for, or of the first there is for the device.

    Args:
        info: The model the candidates were pruned from.
        states: The candidates' states, stacked (K, ...), for example by `candidate_states`.
        data: The data, on the device to train on.
        recipe: What they are trained by.
        threads: How many candidates are worked on at a time on a CPU.
        torch_threads: Where torch computes them one by one, how many of its threads share each.
        kind: One of `KINDS`, to ask for it.
        precision: "bf16" for autocast, which only "solo" knows.
        masks: By parameter, (K, ...), True where a weight is left; where some are not, only "solo"
            and "stacked" will do.
        tuning: What of a vision-language model is trained; None for all weights.
    """
    if info.family == ANSWERING:
        return _answering(info, states, data, recipe, threads, torch_threads, precision, tuning)
    if kind is None:
        kept = {}
        if info.family in STACKED_FAMILIES:
            kept = {layer.name: states[f"{layer.name}.weight"].shape[1] for layer in info.layers}
        kind = pack_kind(info, kept, data, precision, recipe, masked=bool(masks))
    if kind == "solo" or precision != "float32":
        return SoloPack(info, states, data, recipe, threads, torch_threads, precision, masks)
    if kind == "stacked":
        return StackedPack(info, states, data, recipe, masks)
    if masks:
        raise ValueError(f"packs of kind {kind} keep no weight at zero")
    if kind == "fused":
        return fused.FusedPack(states, data, recipe, threads)
    if kind == "triton":
        from engine.work.packs.triton_pack import TritonPack

        return TritonPack(states, data, recipe)
    raise ValueError(f"{kind!r} is no kind of pack; {', '.join(KINDS)} are")


def _answering(info: ModelInfo, states: Mapping[str, Tensor], data: ImageData, *told: Any) -> Pack:
    from engine.work.mllm.pack import DialoguePack
    from engine.work.mllm.samples import DialogueData

    assert isinstance(data, DialogueData)
    return DialoguePack(info, states, data, *told)


def pack_kind(
    info: ModelInfo,
    kept: Mapping[str, int],
    data: ImageData,
    precision: str = "float32",
    recipe: Recipe | None = None,
    *,
    masked: bool = False,
) -> str:
    """Returns the first kind of `possible_kinds`: the one that should be the quickest."""
    return possible_kinds(info, kept, data, precision, recipe, masked=masked)[0]


def possible_kinds(
    info: ModelInfo,
    kept: Mapping[str, int],
    data: ImageData,
    precision: str = "float32",
    recipe: Recipe | None = None,
    *,
    masked: bool = False,
) -> list[str]:
    """Returns the kinds that can compute candidates which keep so many filters of each layer.

    Args:
        info: The model.
        kept: How many filters the pruned layers keep.
        data: The data, on the device to compute on.
        precision: "bf16" for autocast.
        recipe: What they are trained by; None where they are not trained.
        masked: Whether single weights of them are to stay zero.
    """
    if precision != "float32":
        return ["solo"]
    kinds = []
    # The kernels know plain steps and whole tensors only.
    plain = not masked and (recipe is None or not recipe.beyond_plain)
    if plain and fused_supports(info, kept, data):
        kinds.append("fused")
    if data.train_images.is_cuda and info.family in STACKED_FAMILIES:
        if plain and triton_supports(info, kept, data):
            kinds.append("triton")
        kinds.append("stacked")
    return [*kinds, "solo"]


def triton_supports(info: ModelInfo, kept: Mapping[str, int], data: ImageData) -> bool:
    """Tells whether the Triton kernels can compute candidates of this shape on this data."""
    if not tiny_cnn_gpu.available()[0]:
        return False
    from engine.work.packs import triton_pack

    return triton_pack.supports(info, kept, data)


def quickest_kind(
    info: ModelInfo,
    kept: Mapping[str, int],
    data: ImageData,
    recipe: Recipe,
    *,
    kinds: Sequence[str],
    threads: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> str:
    """Returns the kind that trains most candidate-samples a second, by a short measurement.

    Kinds round differently, so a run must ask once and keep the answer. A kind that fails here is
    left out; the last one is not measured when it is the only one left.

    Args:
        info: The model.
        kept: How many filters the pruned layers keep.
        data: The data, on the device to compute on.
        recipe: What they are trained by.
        kinds: What to choose from.
        threads: Threads of the fused kernel.
        say: Called with a line for the log about each kind.
    """
    if len(kinds) == 1:
        return kinds[0]
    rates: dict[str, float] = {}
    # What is trained does not matter; torch's global generator is put back as it was.
    with torch.random.fork_rng(devices=[]):
        state = build_model(info, data.classes, kept).state_dict()
        states = {name: torch.stack([t] * _MEASURED_CANDIDATES) for name, t in state.items()}
        for kind in kinds:
            try:
                pack = make_pack(info, states, data, recipe, threads=threads, kind=kind)
                rates[kind] = _training_rate(pack, data, recipe)
            except Exception as error:  # compilers and drivers raise whatever they like
                say(f"packs of kind {kind} cannot be used here: {error!r}")
                continue
            say(f"packs of kind {kind}: {rates[kind]:,.0f} candidate-samples a second")
    return max(rates, key=lambda kind: rates[kind]) if rates else kinds[-1]


def _training_rate(pack: Pack, data: ImageData, recipe: Recipe) -> float:
    count = min(len(data.train_labels), _MEASURED_STEPS * recipe.batch_size)
    order = np.arange(count, dtype=np.int64)
    draws = batch_draws(0, 0, 0, count) if data.augmented else None
    mixes = seeded_mixes(0, recipe, count)
    for _ in range(2):
        _wait_for(data)
        began = time.perf_counter()
        pack.train(order, recipe.learning_rate, draws, mixes)
        _wait_for(data)
        seconds = time.perf_counter() - began
    return pack.size * count / seconds


def _wait_for(data: ImageData) -> None:
    if data.train_images.is_cuda:
        torch.cuda.synchronize(data.train_images.device)


def fused_supports(info: ModelInfo, kept: Mapping[str, int], data: ImageData) -> bool:
    """Tells whether the fused CPU kernel can compute candidates of this shape on this data."""
    if info.family not in STACKED_FAMILIES or data.train_images.is_cuda or data.augmented:
        return False
    if not data.in_memory:
        return False
    if fused_trouble():
        return False
    return fused.supports(info, kept, data.classes)


def fused_trouble() -> str:
    """Returns why the fused kernel cannot be used on this machine; empty where it can."""
    usable, reason = tiny_cnn.available()
    return "" if usable else f"{reason} Until then studies on a CPU take about ten times as long."


def warm_up(
    info: ModelInfo,
    kept: Mapping[str, int],
    data: ImageData,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Compiles what packs of this shape need, once per kind of processor; else does nothing.

    Args:
        info: The model.
        kept: How many filters the pruned layers keep.
        data: The data, on the device to compute on.
        progress: Called with (steps done, steps in all); may raise to break off.
    """
    if fused_supports(info, kept, data):
        fused.warm_up(info, kept, data.classes, progress)
