"""Pruned train loss of vision-language models: mean cross-entropy over the answers' tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from engine.catalog import ModelInfo
from engine.work.mllm.pack import evaluate_dialogues
from engine.work.mllm.samples import DialogueData
from engine.work.models import network_of
from engine.work.packs.base import Evaluation
from engine.work.packs.solo import images_at_a_time
from engine.work.packs.workers import Workers
from engine.work.surgery import Kept, SlicePlan, State, slim_state


def dialogue_scores(
    info: ModelInfo,
    base: State,
    plan: SlicePlan,
    kept: Sequence[Kept],
    readers: Sequence[Kept],
    data: DialogueData,
    threads: int,
    tell: Callable[[int], None],
) -> Evaluation:
    """Returns pruned train loss and exact-match accuracy of candidates, (n,) each.

    Args:
        info: The model.
        base: State of the base network, on the CPU.
        plan: Its slice plan.
        kept: Per candidate, the filters that stay.
        readers: Per candidate, the filters whose channels its readers keep.
        data: The data, on the device to compute on.
        threads: How many candidates are worked on at a time on a CPU.
        tell: Called with how many are done; may raise to break off.
    """
    device = data.train_images.device
    workers = Workers(threads if device.type == "cpu" else 1)
    at_a_time = images_at_a_time(info, device)

    def work(place: int) -> tuple[float, float]:
        # Made here and dropped here, so that there is one of a large model at a time.
        state = slim_state(base, plan, kept[place], readers[place])
        network = network_of(info, data.classes, state).to(device)
        return evaluate_dialogues(network, data, "train", at_a_time)

    found: list[tuple[float, float]] = []
    for start in range(0, len(kept), workers.count):
        places = range(start, min(start + workers.count, len(kept)))
        found += workers.run([partial(work, place) for place in places])
        tell(len(found))
    loss, accuracy = np.array(found, np.float64).T
    return Evaluation(loss, accuracy)
