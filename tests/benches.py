"""Benches of small studies, for tests of what is measured before retraining."""

from __future__ import annotations

from dataclasses import replace

import torch

from engine.scores import BASE_SCORES
from engine.spec import StudySpec
from engine.work.bench import Bench
from engine.work.models import build_model, slice_plan
from engine.work.pretraining import BaseNetwork
from tests.digits import first_digits


def bench_of(spec: StudySpec, images: int = 256) -> Bench:
    """A bench with a random base network on real digits."""
    data = first_digits(images, 200)
    torch.manual_seed(3)
    state = build_model(spec.model_info, 10).state_dict()
    base = BaseNetwork(dict(state), 0.1, 2.3, 0.1, 2.3, 0, "random", cached=False)
    return Bench(spec, torch.device("cpu"), 1, data, base, slice_plan(spec.model_info, 10))


def only(bench: Bench, *names: str) -> Bench:
    """The same bench for a study that measures just these beside the base scores."""
    return replace(bench, spec=bench.spec.with_(scores=(*BASE_SCORES, *names)))


def singles(bench: Bench) -> list[tuple[tuple[int, ...], ...]]:
    """One candidate for each filter of conv1: its score is that filter's importance."""
    return [((f,),) for f in range(bench.spec.model_info.layer("conv1").filters)]
