"""The networks of the catalog, built whole or slim. A family is one class, registered here."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from engine.catalog import ModelInfo
from engine.errors import UsageError
from engine.work.models.family import Network
from engine.work.models.lenet import LeNet
from engine.work.surgery import SlicePlan, plan_from_graph

FAMILIES: Mapping[str, type[Network]] = {"lenet": LeNet}


def build_model(info: ModelInfo, classes: int, kept: Mapping[str, int] | None = None) -> Network:
    """Returns a network of the catalog with torch's default initial weights.

    Args:
        info: The model's facts.
        classes: How many classes it tells apart.
        kept: How many filters the pruned layers keep; the others keep all of theirs.

    Raises:
        UsageError: `kept` names a layer the model lacks, or more filters than it has.
    """
    for layer, count in (kept or {}).items():
        if not 1 <= count <= info.layer(layer).filters:
            raise UsageError(
                f"{layer} can keep 1 to {info.layer(layer).filters} filters, not {count}."
            )
    return _family(info).build(info, classes, kept or {})


def slice_plan(info: ModelInfo, classes: int) -> SlicePlan:
    """Returns the slice plan of every prunable layer of a model; made once per model."""
    plan = _family(info).plan(info)
    if plan is None:
        example = torch.zeros(1, info.channels, info.size, info.size)
        layers = [layer.name for layer in info.layers]
        plan = plan_from_graph(build_model(info, classes), example, layers)
    return plan


def _family(info: ModelInfo) -> type[Network]:
    try:
        return FAMILIES[info.family]
    except KeyError:
        raise UsageError(f"There is no builder for models of family {info.family!r}.") from None


__all__ = ["FAMILIES", "Network", "build_model", "slice_plan"]
