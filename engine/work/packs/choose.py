"""Chooses how a pack is computed: the fused kernel on a CPU, what measures quickest on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.catalog import ModelInfo
from engine.errors import RunFailure
from engine.recipe import Recipe
from engine.study_rules import ANSWERING
from engine.tuning import Tuning
from engine.work import cpu_layers, tiny_cnn, tiny_cnn_gpu
from engine.work.augment import batch_draws
from engine.work.datasets import ImageData
from engine.work.memory import ends_all_gpu_work, gpu_failure, out_of_memory
from engine.work.mixing import seeded_mixes
from engine.work.models import build_model, network_of
from engine.work.packs import fused
from engine.work.packs.agreement import Trial, disagreement, for_trials, told_apart, trial_of
from engine.work.packs.base import Pack
from engine.work.packs.graphed import GraphedPack, recordable
from engine.work.packs.solo import OWN_CODE, SoloPack, has_own_layers
from engine.work.packs.stacked import StackedPack
from engine.work.packs.stepping import Masks
from engine.work.packs.worth import Measured, quickest, worth_compiling

STACKED_FAMILIES = frozenset({"lenet"})
KINDS = ("fused", "triton", "stacked", "solo", "graphed", "compiled")
# The LeNets' kernels are written for maps of images of so many pixels a side.
_KERNELS_SIZE = 32

# A measurement trains so many candidates for so many steps, once for warming up and then counted.
_MEASURED_CANDIDATES, _MEASURED_LARGE = 32, 8
_MEASURED_STEPS = 4


class KindFailure(RunFailure):
    """A kind of pack broke this process's GPU: another process can work without that kind."""


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
    without: Collection[str] = (),
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
        precision: "bf16" for autocast, which "solo", "graphed" and "compiled" know.
        masks: By parameter, (K, ...), True where a weight is left; where some are not, "fused" and
            "triton" will not do.
        tuning: What of a vision-language model is trained; None for all weights.
        without: Kinds that are not taken unasked.
    """
    if info.family == ANSWERING:
        return _answering(
            info, states, data, recipe, threads, torch_threads, precision, tuning=tuning
        )
    if kind is None:
        kept = {}
        if info.family in STACKED_FAMILIES:
            kept = {layer.name: states[f"{layer.name}.weight"].shape[1] for layer in info.layers}
        kind = pack_kind(info, kept, data, precision, recipe, masked=bool(masks), without=without)
    if kind in ("graphed", "compiled"):
        return GraphedPack(
            info, states, data, recipe, precision, masks, compiled=kind == "compiled"
        )
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


def _answering(
    info: ModelInfo,
    states: Mapping[str, Tensor],
    data: ImageData,
    *told: Any,
    tuning: Tuning | None,
) -> Pack:
    from engine.work.mllm.pack import DialoguePack
    from engine.work.mllm.samples import DialogueData

    assert isinstance(data, DialogueData)
    return DialoguePack(info, states, data, *told, tuning=tuning)


def pack_kind(
    info: ModelInfo,
    kept: Mapping[str, int],
    data: ImageData,
    precision: str = "float32",
    recipe: Recipe | None = None,
    *,
    masked: bool = False,
    without: Collection[str] = (),
) -> str:
    """Returns the first kind of `possible_kinds`: the one that should be the quickest.

    Kinds in `without` are passed over, but for "solo" where nothing else is left.
    """
    kinds = possible_kinds(info, kept, data, precision, recipe, masked=masked)
    return next((kind for kind in kinds if kind not in without), "solo")


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

    The first is what is taken unmeasured; those after "solo" only where a measurement says so.

    Args:
        info: The model.
        kept: How many filters the pruned layers keep.
        data: The data, on the device to compute on.
        precision: "bf16" for autocast.
        recipe: What they are trained by; None where they are not trained.
        masked: Whether single weights of them are to stay zero.
    """
    side_by_side = ["graphed", "compiled"] if graphed_supports(info, data) else []
    if precision != "float32":
        return ["solo", *side_by_side]
    kinds = []
    # The kernels know plain steps and whole tensors only.
    plain = not masked and (recipe is None or not recipe.beyond_plain)
    plain = plain and info.size == _KERNELS_SIZE
    if plain and fused_supports(info, kept, data):
        kinds.append("fused")
    if data.train_images.is_cuda and info.family in STACKED_FAMILIES:
        if plain and triton_supports(info, kept, data):
            kinds.append("triton")
        kinds.append("stacked")
    return [*kinds, "solo", *side_by_side]


def graphed_supports(info: ModelInfo, data: ImageData) -> bool:
    """Tells whether steps of such networks can be recorded on the data's device."""
    return data.train_images.is_cuda and may_be_recorded(info, data.classes)


def may_be_recorded(info: ModelInfo, classes: int) -> bool:
    """Tells whether a model's steps are the same whenever they are replayed.

    The LeNets have kinds of their own.
    """
    if info.family in (*STACKED_FAMILIES, *OWN_CODE, ANSWERING):
        return False
    return recordable(network_of(info, classes, {}))


def triton_supports(info: ModelInfo, kept: Mapping[str, int], data: ImageData) -> bool:
    """Tells whether the Triton kernels can compute candidates of this shape on this data."""
    if tiny_cnn_gpu.trouble(str(data.train_images.device)):
        return False
    from engine.work.packs import triton_pack

    return triton_pack.supports(info, kept, data)


def triton_trouble(info: ModelInfo, data: ImageData) -> str:
    """Returns why LeNets on a GPU go without the Triton kernels; empty where there is no reason."""
    if info.family not in STACKED_FAMILIES or not data.train_images.is_cuda:
        return ""
    reason = tiny_cnn_gpu.trouble(str(data.train_images.device))
    return f"{reason} Until then other kinds of packs take over, more slowly." if reason else ""


def quickest_kind(
    info: ModelInfo,
    kept: Mapping[str, int],
    data: ImageData,
    recipe: Recipe,
    *,
    kinds: Sequence[str],
    threads: int = 1,
    precision: str = "float32",
    samples: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    left_out: list[str] | None = None,
) -> str:
    """Returns the kind that is done with a run first, by a short measurement.

    Kinds round differently, so a run must ask once and keep the answer. A kind that fails here, or
    computes otherwise than "solo" does, is left out, and where all fail there is still "solo". Code
    is compiled only where that may pay, and taken only where it does.

    Args:
        info: The model.
        kept: How many filters the pruned layers keep.
        data: The data, on the device to compute on.
        recipe: What they are trained by.
        kinds: What to choose from.
        threads: Threads of the fused kernel.
        precision: "float32" or "bf16".
        samples: Candidate-samples that each worker trains in the run; None for endlessly many.
        say: Called with a line for the log about each kind.
        left_out: Gets the kinds that failed or compute otherwise.

    Raises:
        KindFailure: A kind left the GPU in a state in which this process cannot use it any more.
    """
    if len(kinds) == 1:
        return kinds[0]
    found: dict[str, Measured] = {}
    trials: dict[str, Trial] = {}
    failed = [] if left_out is None else left_out
    data = for_trials(data)
    # What is trained does not matter; torch's global generator is put back as it was.
    with torch.random.fork_rng(devices=[]):
        state = build_model(info, data.classes, kept).state_dict()
        small = info.family in STACKED_FAMILIES
        size = _MEASURED_CANDIDATES if small else _MEASURED_LARGE
        states = told_apart({name: torch.stack([tensor] * size) for name, tensor in state.items()})
        for kind in sorted(kinds, key=lambda kind: kind == "compiled"):
            best = max((one.rate for one in found.values()), default=None)
            if kind == "compiled" and best and samples and not worth_compiling(best, samples):
                say(f"compiling would not pay for {samples / best:,.0f} seconds of training")
                continue
            try:
                # Under no name, so that its memory is free before the next one is made.
                found[kind], trials[kind] = _measured(
                    make_pack(
                        info, states, data, recipe, threads=threads, kind=kind, precision=precision
                    ),
                    data,
                    recipe,
                )
            except Exception as error:  # compilers and drivers raise whatever they like
                say(f"packs of kind {kind} cannot be used here: {error!r}")
                if not out_of_memory(error):
                    failed.append(kind)
                if ends_all_gpu_work(error):
                    sentence = f"Packs of kind {kind} do not work here: {gpu_failure(error)}"
                    raise KindFailure(sentence) from error
                continue
            ready = f", ready after {found[kind].seconds:,.0f} s" if kind == "compiled" else ""
            say(f"packs of kind {kind}: {found[kind].rate:,.0f} candidate-samples a second{ready}")
    for kind, trial in trials.items():
        apart = disagreement(trial, trials["solo"], recipe, precision) if "solo" in trials else ""
        if apart:
            say(f"packs of kind {kind} are left out, they compute otherwise than solo: {apart}")
            del found[kind]
            failed.append(kind)
    return quickest(found, samples) if found else "solo"


def _measured(pack: Pack, data: ImageData, recipe: Recipe) -> tuple[Measured, Trial]:
    """Trains two steps to look at them, then a few steps twice; what must be compiled is, first."""
    began = time.perf_counter()
    trial = trial_of(pack, data, recipe)
    ready = time.perf_counter() - began
    count = min(len(data.train_labels), _MEASURED_STEPS * recipe.batch_size)
    order = np.arange(count, dtype=np.int64)
    draws = batch_draws(0, 0, 0, count) if data.augmented else None
    mixes = seeded_mixes(0, recipe, count)
    first, second = (
        _seconds(lambda: pack.train(order, recipe.learning_rate, draws, mixes), data)
        for _ in range(2)
    )
    return Measured(pack.size * count / second, max(0.0, ready + first - second)), trial


def _seconds(work: Callable[[], None], data: ImageData) -> float:
    _wait_for(data)
    began = time.perf_counter()
    work()
    _wait_for(data)
    return time.perf_counter() - began


def _wait_for(data: ImageData) -> None:
    if data.train_images.is_cuda:
        torch.cuda.synchronize(data.train_images.device)


def fused_supports(info: ModelInfo, kept: Mapping[str, int], data: ImageData) -> bool:
    """Tells whether the fused CPU kernel can compute candidates of this shape on this data."""
    if info.family not in STACKED_FAMILIES or data.train_images.is_cuda or data.augmented:
        return False
    if not data.in_memory or info.size != _KERNELS_SIZE:
        return False
    if fused_trouble():
        return False
    return fused.supports(info, kept, data.classes)


def fused_trouble() -> str:
    """Returns why the fused kernel cannot be used on this machine; empty where it can."""
    usable, reason = tiny_cnn.available()
    return "" if usable else f"{reason} Until then studies on a CPU take about ten times as long."


def compiles(info: ModelInfo, data: ImageData, precision: str) -> bool:
    """Tells whether `warm_up` has something to compile for the packs of a study."""
    if pack_kind(info, {}, data, precision) == "fused":
        return True
    return has_own_layers(info, data.train_images.device, precision)


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
    elif has_own_layers(info, data.train_images.device, "float32"):
        cpu_layers.warm_up(progress)
