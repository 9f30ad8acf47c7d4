"""Criteria that look at the base network's weights alone, and the one that looks at nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.work.bench import Pruned
from engine.work.criteria.filters import in_average_filters
from engine.work.criteria.subject import Scores, Subject, Tell
from engine.work.surgery import LayerPlan, State

FilterImportance = Callable[[Tensor], Tensor]


def l1_norm(weights: Tensor) -> Tensor:
    """Sum of absolute weights of each filter (Li et al., ICLR 2017); (filters, n) -> (filters,)."""
    return weights.abs().sum(1)


def l2_norm(weights: Tensor) -> Tensor:
    """Euclidean norm of each filter's weights (He et al., IJCAI 2018)."""
    return weights.square().sum(1).sqrt()


def fpgm(weights: Tensor) -> Tensor:
    """Summed distance of each filter to all others (He et al., CVPR 2019, eq. 6).

    A filter near the geometric median is the one the others can stand in for.
    """
    return (weights.unsqueeze(1) - weights.unsqueeze(0)).square().sum(2).sqrt().sum(1)


def lamp(weights: Tensor) -> Tensor:
    """Squared norm over the sum of all squared norms not smaller (Lee et al., ICLR 2021).

    As Torch-Pruning takes it from single weights to filters. The largest filter has 1, so layers
    compare without normalising.
    """
    squared = weights.square().sum(1)
    ordered, place = squared.sort(stable=True)
    not_smaller = ordered.flip(0).cumsum(0).flip(0)
    found = torch.zeros_like(squared)
    found[place] = torch.where(not_smaller > 0, ordered / not_smaller, torch.zeros_like(ordered))
    return found


NORMALISED: Mapping[str, FilterImportance] = {"l1": l1_norm, "l2": l2_norm, "fpgm": fpgm}


def weight_scores(name: str) -> Callable[[Subject, Sequence[Pruned], Tell], Scores]:
    """Returns the criterion of that name."""

    def measure(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
        def importance() -> dict[str, NDArray[np.float64]]:
            of = lamp if name == "lamp" else NORMALISED[name]
            found = {
                layer: of(subject.weight(layer).flatten(1)).numpy() for layer in subject.layers
            }
            # Weights that are ranked over all layers have one unit.
            as_they_are = name == "lamp" or subject.bench.spec.scope == "global"
            return found if as_they_are else in_average_filters(found)

        return {name: subject.removed(subject.remember(name, importance), candidates)}

    return measure


def batchnorm_scale(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """|gamma| of the norm after each filter (Liu et al., ICCV 2017), in average filters.

    NaN where a pruned layer has no BatchNorm.
    """

    def importance() -> dict[str, NDArray[np.float64]]:
        state, plan = subject.bench.base.state, subject.bench.plan
        return in_average_filters(
            {layer: norm_scale(state, plan[layer]) for layer in subject.layers}
        )

    return {"bn_scale": subject.removed(subject.remember("bn_scale", importance), candidates)}


def norm_scale(state: State, plan: LayerPlan) -> NDArray[np.float64]:
    """Returns |gamma| of the BatchNorm behind each filter, float64[filters]; NaN without one."""
    for part in plan.following:
        owner = part.tensor.rpartition(".")[0]
        if part.dim == 0 and part.tensor.endswith(".weight") and f"{owner}.running_mean" in state:
            whole = state[part.tensor].narrow(0, part.offset, plan.filters * part.block)
            scale = whole.detach().to("cpu", torch.float64).abs()
            return np.asarray(scale.reshape(plan.filters, -1).mean(1).numpy())
    return np.full(plan.filters, np.nan)


def random_scores(subject: Subject, candidates: Sequence[Pruned], tell: Tell) -> Scores:
    """A number in [0, 1) for each candidate, from the seed and the filters it loses.

    Drawn for candidates, not for filters: what filters share would correlate by chance.
    """
    return {
        "random": np.array([subject.seed("random", repr(c)) / 2.0**63 for c in candidates]),
    }
