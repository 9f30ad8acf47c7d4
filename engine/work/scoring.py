"""Scores measured before retraining: every pruned network's loss and accuracy on the train set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from engine.catalog import ModelInfo
from engine.work.datasets import ImageData
from engine.work.packs import fused
from engine.work.packs.base import Evaluation, repeatable
from engine.work.packs.choose import pack_kind
from engine.work.packs.solo import IMAGES_AT_A_TIME, slim_network, tally
from engine.work.packs.stacked import stacked_logits, stacked_tally
from engine.work.surgery import (
    Kept,
    SlicePlan,
    State,
    candidate_states,
    consumers_keep,
    kept_by_layer,
    take_network,
)
from engine.work.surgery.wiring import Pruned

# Memory on a GPU: maps of 64 candidates and 1,000 images of LeNet5-Mini are about 2 GB.
_CANDIDATES_AT_A_TIME = 64


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
        threads: Threads of the fused kernel.
        kind: "fused", "stacked" or "solo", to ask for one way of computing; else the quickest.
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
    kind = kind or pack_kind(info, {layer: len(some) for layer, some in kept[0].items()}, data)
    if kind == "fused" and len(layers) == 1:
        own = [one[layers[0]] for one in kept]
        readers = consumers_keep(base, plan, kept[:1], wiring)[0][layers[0]]
        released = readers if wiring == "released" else None
        return fused.shared_scores(base, layers[0], own, released, data, threads, tell)
    states = candidate_states(base, plan, layers, candidates, wiring)
    if kind == "fused":
        return fused.separate_scores(states, data, threads, tell)
    score = _stacked_scores if kind == "stacked" else _solo_scores
    return score(info, base, states, kept, data, tell)


def _solo_scores(
    info: ModelInfo,
    base: State,
    states: State,
    kept: Sequence[Kept],
    data: ImageData,
    tell: Callable[[int], None],
) -> Evaluation:
    """One network after another, from the feature maps of the first pruned layer on."""
    first, whole = _first_pruned(info, kept), slim_network(info, data.classes, base)
    networks = [
        slim_network(info, data.classes, take_network(states, place)).eval()
        for place in range(len(kept))
    ]
    loss, right = np.zeros(len(kept)), np.zeros(len(kept))
    indices = [torch.as_tensor(one[first]) for one in kept]
    images, labels = data.split("train")
    for start in range(0, len(images), IMAGES_AT_A_TIME):
        piece = slice(start, start + IMAGES_AT_A_TIME)
        with torch.no_grad(), repeatable():
            maps = whole.eval().before(images[piece], first)
        for place, network in enumerate(networks):
            with torch.no_grad(), repeatable():
                logits = network.after(maps.index_select(1, indices[place]), first)
                more_loss, more_right = tally(logits, labels[piece])
            loss[place] += more_loss.item()
            right[place] += more_right.item()
            tell(int((start * len(kept) + len(labels[piece]) * (place + 1)) / len(images)))
    return Evaluation(loss / len(images), right / len(images))


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
    whole = slim_network(info, data.classes, base).to(device).eval()
    on_device = {name: tensor.to(device) for name, tensor in states.items()}
    loss = torch.zeros(len(kept), dtype=torch.float64, device=device)
    right = torch.zeros(len(kept), dtype=torch.int64, device=device)
    indices = torch.as_tensor([list(one[first]) for one in kept], device=device)
    for start in range(0, len(images), IMAGES_AT_A_TIME):
        piece = slice(start, start + IMAGES_AT_A_TIME)
        with torch.no_grad(), repeatable():
            maps = whole.before(images[piece], first).transpose(0, 1)
            for begin in range(0, len(kept), _CANDIDATES_AT_A_TIME):
                some = slice(begin, begin + _CANDIDATES_AT_A_TIME)
                parameters = {name: tensor[some] for name, tensor in on_device.items()}
                logits = stacked_logits(info, parameters, maps[indices[some]], first)
                more_loss, more_right = stacked_tally(logits, labels[piece])
                loss[some] += more_loss
                right[some] += more_right
        tell(len(kept) * min(piece.stop, len(images)) // len(images))
    return Evaluation(
        loss.cpu().numpy() / len(images), right.cpu().numpy().astype(np.float64) / len(images)
    )


def _first_pruned(info: ModelInfo, kept: Sequence[Kept]) -> str:
    """Returns the first pruned layer of the forward pass: up to it all candidates are one."""
    return next(layer.name for layer in info.layers if layer.name in kept[0])
