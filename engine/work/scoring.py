"""Scores measured before retraining: every pruned network's loss and accuracy on the train set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.catalog import ModelInfo
from engine.recipe import Recipe
from engine.study_rules import ANSWERING
from engine.work.datasets import ImageData
from engine.work.masking import Masking
from engine.work.memory import out_of_memory
from engine.work.models import network_of
from engine.work.models.lenet import LeNet
from engine.work.packs import fused
from engine.work.packs.base import Evaluation, repeatable
from engine.work.packs.choose import pack_kind
from engine.work.packs.solo import images_at_a_time, laid_out, tally
from engine.work.packs.stacked import StackedPack, stacked_logits, stacked_tally
from engine.work.packs.workers import Workers
from engine.work.prefix import SharedPrefix
from engine.work.surgery import (
    Kept,
    SlicePlan,
    State,
    candidate_states,
    consumers_keep,
    kept_by_layer,
    slim_state,
)
from engine.work.surgery.wiring import Pruned

# Memory on a GPU: maps of 64 candidates and 1,000 images of LeNet5-Mini are about 2 GB.
_CANDIDATES_AT_A_TIME = 64
# What networks that are scored one by one may take beside what they share.
_SOLO_BYTES = 1 << 30


def pruned_scores(
    info: ModelInfo,
    base_state: State,
    plan: SlicePlan,
    layers: Sequence[str],
    candidates: Sequence[Pruned],
    data: ImageData,
    *,
    wiring: str = "correct",
    threads: int = 1,
    kind: str | None = None,
    without: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluates every pruned network, before any retraining, on the whole train set.

    What the pruned layers do not touch is computed once for all candidates. A candidate's scores
    do not depend on which others are scored with it.

    Args:
        info: The model.
        base_state: State of the base network.
        plan: Its slice plan.
        layers: Names of the pruned layers.
        candidates: Per candidate, the filters it loses of each of those layers.
        data: The data, on the device to compute on.
        wiring: "correct" or "released"; see `candidate_states`.
        threads: Threads that compute on a CPU.
        kind: "fused", "triton", "stacked" or "solo", to ask for one way; else the quickest.
        without: Ways that are not taken unasked.
        progress: Called between steps with how many candidates' worth of work is done; may raise
            to break off.

    Returns:
        Pruned train loss and pruned train accuracy, (n,) each.
    """
    if not candidates:
        return Evaluation(np.zeros(0), np.zeros(0))
    tell = progress or (lambda done: None)
    base = {name: tensor.to("cpu") for name, tensor in base_state.items()}
    kept = [kept_by_layer(plan, layers, candidate) for candidate in candidates]
    if info.family == ANSWERING:
        return _answering_scores(info, base, plan, kept, wiring, data, threads, tell)
    widths = {layer: len(some) for layer, some in kept[0].items()}
    kind = kind or pack_kind(info, widths, data, without=without)
    if kind == "fused" and len(layers) == 1:
        own = [one[layers[0]] for one in kept]
        readers = consumers_keep(base, plan, kept[:1], wiring)[0][layers[0]]
        released = readers if wiring == "released" else None
        return fused.shared_scores(base, layers[0], own, released, data, threads, tell)
    if kind == "solo":
        reading = consumers_keep(base, plan, kept, wiring)
        parts = (plan[layer] for layer in layers)
        touched = {part.tensor for layer in parts for part in (*layer.own, *layer.following)}

        def slim(place: int) -> State:
            return slim_state(base, plan, kept[place], reading[place])

        return _solo_scores(info, base, touched, slim, len(kept), data, threads, tell)
    states = candidate_states(base, plan, layers, candidates, wiring)
    if kind == "fused":
        return fused.separate_scores(states, data, threads, tell)
    if kind == "triton":
        return _triton_scores(states, data, tell)
    return _stacked_scores(info, base, states, kept, data, tell)


def masked_scores(
    info: ModelInfo,
    base_state: State,
    masking: Masking,
    candidates: Sequence[Pruned],
    data: ImageData,
    *,
    threads: int = 1,
    kind: str | None = None,
    without: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluates networks without some of their weights on the whole train set.

    Args and result are those of `pruned_scores`; candidates are records of masks, which `masking`
    regenerates.
    """
    if not candidates:
        return Evaluation(np.zeros(0), np.zeros(0))
    tell = progress or (lambda done: None)
    base = {name: tensor.to("cpu") for name, tensor in base_state.items()}
    kind = kind or pack_kind(info, {}, data, without=without)

    def records(some: Sequence[Pruned]) -> list[list[tuple[int, ...]]]:
        return [[tuple(record) for record in candidate] for candidate in some]

    if kind == "solo":
        touched = {name for names in masking.tensors.values() for name in names}

        def masked(place: int) -> State:
            states, _ = masking.states(records(candidates[place : place + 1]))
            return {name: tensor[0] for name, tensor in states.items()}

        return _solo_scores(info, base, touched, masked, len(candidates), data, threads, tell)
    found = []
    for start in range(0, len(candidates), _CANDIDATES_AT_A_TIME):
        states, _ = masking.states(records(candidates[start : start + _CANDIDATES_AT_A_TIME]))
        told = partial(_told_from, tell, start)
        if kind == "fused":
            found.append(fused.separate_scores(states, data, threads, told))
        elif kind == "triton":
            found.append(_triton_scores(states, data, told))
        else:
            with repeatable():
                # Nothing is trained, so the recipe does not matter.
                pack = StackedPack(info, states, data, Recipe(epochs=1, learning_rate=1.0))
                found.append(pack.evaluate("train"))
            told(pack.size)
    return Evaluation(
        np.concatenate([part.loss for part in found]),
        np.concatenate([part.accuracy for part in found]),
    )


def _told_from(tell: Callable[[int], None], start: int, done: int) -> None:
    tell(start + done)


def _answering_scores(
    info: ModelInfo,
    base: State,
    plan: SlicePlan,
    kept: Sequence[Kept],
    wiring: str,
    data: ImageData,
    *told: Any,
) -> Evaluation:
    from engine.work.mllm.samples import DialogueData
    from engine.work.mllm.scores import dialogue_scores

    assert isinstance(data, DialogueData)
    readers = consumers_keep(base, plan, kept, wiring)
    return dialogue_scores(info, base, plan, kept, readers, data, *told)


def _solo_scores(
    info: ModelInfo,
    base: State,
    pruned: set[str],
    state_of: Callable[[int], State],
    count: int,
    data: ImageData,
    threads: int,
    tell: Callable[[int], None],
) -> Evaluation:
    """Network by network, from where the first pruned layer begins; batches side by side.

    Args:
        info: The model.
        base: State of the base network.
        pruned: Names of the tensors that pruning touches.
        state_of: Gives a candidate's state by its place.
        count: How many candidates there are.
        data: The data.
        threads: Threads that compute on a CPU.
        tell: As `progress` of `pruned_scores`.
    """
    images, labels = data.split("train")
    device = images.device
    at_a_time = images_at_a_time(info, device)
    pieces = [slice(start, start + at_a_time) for start in range(0, len(images), at_a_time)]
    whole = laid_out(info, network_of(info, data.classes, base), device).eval()
    workers = Workers(threads if device.type == "cpu" else 1)
    loss, right = np.zeros(count), np.zeros(count)
    with torch.no_grad(), repeatable():
        prefix = SharedPrefix(whole, pruned, images[:1])

    def network(place: int) -> nn.Module:
        return laid_out(info, network_of(info, data.classes, state_of(place)), device).eval()

    with torch.no_grad(), repeatable():
        plain, short = network(0), prefix.shorten(network(0))
        shared = bool(prefix.modules) and prefix.holds_for(plain, short, images[:2])
    together = max(1, _SOLO_BYTES // _own_bytes(plain, pruned))
    for begin in range(0, count, together):
        places = range(begin, min(begin + together, count))
        networks = [network(place) for place in places]
        if shared:
            networks = [prefix.shorten(one) for one in networks]

        def work(piece: slice, networks: list[nn.Module] = networks) -> list[tuple[float, int]]:
            with torch.no_grad():
                if shared:
                    prefix.compute(images[piece])
                found = [tally(one(images[piece]), labels[piece]) for one in networks]
            return [(more_loss.item(), int(more_right.item())) for more_loss, more_right in found]

        # As many pieces at a time as there are workers, so that a stop is obeyed soon.
        for start in range(0, len(pieces), workers.count):
            some = pieces[start : start + workers.count]
            for found in workers.run([partial(work, piece) for piece in some]):
                for place, (more_loss, more_right) in zip(places, found, strict=True):
                    loss[place] += more_loss
                    right[place] += more_right
            tell(begin + len(places) * min(start + len(some), len(pieces)) // len(pieces))
    return Evaluation(loss / len(images), right / len(images))


def _own_bytes(network: nn.Module, pruned: set[str]) -> int:
    """Returns what a slim network takes beside what it shares with the base network."""
    state = network.state_dict()
    own = sum(int(state[name].nbytes) for name in pruned)
    return max(1, own)


def _stacked_scores(
    info: ModelInfo,
    base: State,
    states: State,
    kept: Sequence[Kept],
    data: ImageData,
    tell: Callable[[int], None],
) -> Evaluation:
    """Groups of candidates as one computation each, from the first pruned layer's maps on."""
    images, labels = data.split("train")
    device = images.device
    first = _first_pruned(info, kept)
    whole = network_of(info, data.classes, base).to(device).eval()
    assert isinstance(whole, LeNet)
    on_device = {name: tensor.to(device) for name, tensor in states.items()}
    loss = torch.zeros(len(kept), dtype=torch.float64, device=device)
    right = torch.zeros(len(kept), dtype=torch.int64, device=device)
    indices = torch.as_tensor([list(one[first]) for one in kept], device=device)
    at_a_time, together = images_at_a_time(info, device), _CANDIDATES_AT_A_TIME
    for start in range(0, len(images), at_a_time):
        piece = slice(start, start + at_a_time)
        begin = 0
        with torch.no_grad(), repeatable():
            maps = whole.before(images[piece], first).transpose(0, 1)
            while begin < len(kept):
                some = slice(begin, begin + together)
                parameters = {name: tensor[some] for name, tensor in on_device.items()}
                try:
                    logits = stacked_logits(info, parameters, maps[indices[some]], first)
                    more_loss, more_right = stacked_tally(logits, labels[piece])
                except RuntimeError as error:
                    if together == 1 or not out_of_memory(error):
                        raise
                    # Maps of large images, or a small device.
                    together //= 2
                    continue
                loss[some] += more_loss
                right[some] += more_right
                begin += together
        tell(len(kept) * min(piece.stop, len(images)) // len(images))
    return Evaluation(
        loss.cpu().numpy() / len(images), right.cpu().numpy().astype(np.float64) / len(images)
    )


def _triton_scores(states: State, data: ImageData, tell: Callable[[int], None]) -> Evaluation:
    """Groups of candidates, each network evaluated whole by the Triton kernels."""
    from engine.work.packs.triton_pack import TritonPack

    size = len(next(iter(states.values())))
    found = []
    for start in range(0, size, _CANDIDATES_AT_A_TIME):
        some = slice(start, start + _CANDIDATES_AT_A_TIME)
        group = {name: tensor[some] for name, tensor in states.items()}
        # Nothing is trained, so the recipe does not matter.
        pack = TritonPack(group, data, Recipe(epochs=1, learning_rate=1.0))
        found.append(pack.evaluate("train"))
        tell(start + pack.size)
    return Evaluation(
        np.concatenate([part.loss for part in found]),
        np.concatenate([part.accuracy for part in found]),
    )


def _first_pruned(info: ModelInfo, kept: Sequence[Kept]) -> str:
    """Returns the first pruned layer of the forward pass: up to it all candidates are one."""
    return next(layer.name for layer in info.layers if layer.name in kept[0])
