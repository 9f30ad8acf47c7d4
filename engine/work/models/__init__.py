"""The networks of the study, built whole or slim. A family is one class, registered here."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.catalog import ModelInfo
from engine.errors import UsageError
from engine.work.models.cifar_resnet import CifarResNetFamily
from engine.work.models.family import Family
from engine.work.models.from_file import FileFamily
from engine.work.models.installed import InstalledFamily
from engine.work.models.lenet import LeNetFamily
from engine.work.models.libraries import TimmFamily, TorchvisionFamily
from engine.work.models.vgg import VggFamily
from engine.work.models.vision_language import DialogueFamily
from engine.work.surgery import SlicePlan, emptied, fitted, slim_state

FAMILIES: Mapping[str, Family] = {
    "lenet": LeNetFamily(),
    "cifar-vgg": VggFamily(),
    "cifar-resnet": CifarResNetFamily(),
    "torchvision": TorchvisionFamily(),
    "timm": TimmFamily(),
    "file": FileFamily(),
    "installed": InstalledFamily(),
    "mllm": DialogueFamily(),
}


def build_model(info: ModelInfo, classes: int, kept: Mapping[str, int] | None = None) -> nn.Module:
    """Returns a network of the study with its default initial weights.

    Args:
        info: The model's facts.
        classes: How many classes it tells apart.
        kept: How many filters the pruned layers keep, the first ones; the others keep all.

    Raises:
        UsageError: `kept` names a layer the model lacks, or more filters than it has.
    """
    for layer, count in (kept or {}).items():
        if not 1 <= count <= info.layer(layer).filters:
            raise UsageError(
                f"{layer} can keep 1 to {info.layer(layer).filters} filters, not {count}."
            )
    whole = family_of(info).build(info, classes)
    if not kept:
        return whole
    first = {layer: list(range(count)) for layer, count in kept.items()}
    return network_of(
        info, classes, slim_state(whole.state_dict(), slice_plan(info, classes), first)
    )


def network_of(info: ModelInfo, classes: int, state: Mapping[str, Tensor]) -> nn.Module:
    """Returns a network with a state, as slim as that; it shares the memory of the state."""
    return fitted(_template(info, classes), state)


def slice_plan(info: ModelInfo, classes: int) -> SlicePlan:
    """Returns the slice plan of every prunable layer of a model; made once per model.

    Raises:
        UsageError: The model no longer has the layers that its facts name.
    """
    found = _plan(info, classes)
    for layer in info.layers:
        if found[layer.name].filters != layer.filters:
            raise UsageError(
                f"{layer.name} of {info.name} has {found[layer.name].filters} filters here, not "
                f"{layer.filters}; make the study again with the libraries installed now."
            )
    return SlicePlan(tuple(found[layer.name] for layer in info.layers), found.refused)


def family_of(info: ModelInfo) -> Family:
    """Returns a model's family; raises UsageError for an unknown one."""
    try:
        return FAMILIES[info.family]
    except KeyError:
        raise UsageError(f"There is no builder for models of family {info.family!r}.") from None


@functools.lru_cache(maxsize=4)
def _template(info: ModelInfo, classes: int) -> nn.Module:
    return emptied(_throwaway(info, classes))


@functools.lru_cache(maxsize=4)
def _plan(info: ModelInfo, classes: int) -> SlicePlan:
    return family_of(info).plan(info, _throwaway(info, classes))


def _throwaway(info: ModelInfo, classes: int) -> nn.Module:
    """A network whose weights do not matter; the global random generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return family_of(info).build(info, classes)


__all__ = [
    "FAMILIES",
    "Family",
    "build_model",
    "family_of",
    "network_of",
    "slice_plan",
]
