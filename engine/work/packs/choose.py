"""Chooses how a pack is computed: the fused kernel on a CPU, stacked on a GPU, else one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.work import tiny_cnn
from engine.work.datasets import ImageData
from engine.work.packs import fused
from engine.work.packs.base import Pack
from engine.work.packs.solo import SoloPack
from engine.work.packs.stacked import StackedPack

STACKED_FAMILIES = frozenset({"lenet"})


def make_pack(
    info: ModelInfo,
    states: Mapping[str, Tensor],
    data: ImageData,
    recipe: Recipe,
    *,
    threads: int = 1,
    torch_threads: int = 1,
    kind: str | None = None,
) -> Pack:
    """Returns a pack of the quickest kind there is for a model on the data's device.

    Args:
        info: The model the candidates were pruned from.
        states: The candidates' states, stacked (K, ...), for example by `candidate_states`.
        data: The data, on the device to train on.
        recipe: Batch size, momentum and weight decay.
        threads: How many candidates are worked on at a time on a CPU.
        torch_threads: Where torch computes them one by one, how many of its threads share each.
        kind: "fused", "stacked" or "solo", to ask for one kind.
    """
    if kind is None:
        kept = {}
        if info.family in STACKED_FAMILIES:
            kept = {layer.name: states[f"{layer.name}.weight"].shape[1] for layer in info.layers}
        kind = pack_kind(info, kept, data)
    if kind == "fused":
        return fused.FusedPack(states, data, recipe, threads)
    if kind == "stacked":
        return StackedPack(info, states, data, recipe)
    return SoloPack(info, states, data, recipe, threads, torch_threads)


def pack_kind(info: ModelInfo, kept: Mapping[str, int], data: ImageData) -> str:
    """Returns which kind of pack suits candidates that keep so many filters of each layer."""
    if fused_supports(info, kept, data):
        return "fused"
    if data.train_images.is_cuda and info.family in STACKED_FAMILIES:
        return "stacked"
    return "solo"


def fused_supports(info: ModelInfo, kept: Mapping[str, int], data: ImageData) -> bool:
    """Tells whether the fused CPU kernel can compute candidates of this shape on this data."""
    if info.family not in STACKED_FAMILIES or data.train_images.is_cuda or fused_trouble():
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
