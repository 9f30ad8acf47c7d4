"""Gives a network the shapes of a state: so slim networks are built, whatever their kind."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def emptied(network: nn.Module) -> nn.Module:
    """Returns the network with tensors that hold no values, to be copied and fitted cheaply.

    What its state_dict does not name stays as it is.
    """
    saved = set(network.state_dict())
    for prefix, module in network.named_modules():
        stem = f"{prefix}." if prefix else ""
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and stem + name in saved:
                nothing = torch.empty_like(parameter, device="meta")
                module._parameters[name] = nn.Parameter(nothing, parameter.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and stem + name in saved:
                module._buffers[name] = torch.empty_like(buffer, device="meta")
    return network


def fitted(template: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Returns a copy of a network that has a state's tensors, and is as wide as they are.

    Args:
        template: A network that `emptied` gave; left as it is.
        state: All tensors of its state_dict, each of the same shape or slimmer; not copied.
    """
    network = copy.deepcopy(template)
    modules = dict(network.named_modules())
    for name, tensor in state.items():
        prefix, _, own = name.rpartition(".")
        module = modules[prefix]
        if own in module._parameters:
            before = module._parameters[own]
            needed = before is None or before.requires_grad
            module._parameters[own] = nn.Parameter(tensor, needed)
        else:
            module._buffers[own] = tensor
    for module in modules.values():
        _follow(module)
    return network


def _follow(module: Any) -> None:
    """Has the numbers that a module keeps about its own shape follow its tensors."""
    if isinstance(module, nn.Conv2d):
        outputs, inputs = module.weight.shape[:2]
        if module.groups > 1:
            # A group keeps its width; groups go as a whole.
            module.groups = outputs * module.groups // module.out_channels
        module.out_channels, module.in_channels = outputs, inputs * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        if module.running_mean is not None:
            module.num_features = len(module.running_mean)
    elif isinstance(module, nn.LayerNorm):
        if module.weight is not None:
            module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(module, nn.GroupNorm) and module.weight is not None:
        module.num_channels = len(module.weight)
    follow = getattr(module, "follow_shapes", None)
    if callable(follow):
        follow()
    elif hasattr(module, "hidden_dim") and hasattr(module, "conv_proj"):
        module.hidden_dim = len(module.conv_proj.weight)
    elif _is_attention(module):
        module.num_heads = len(module.qkv.weight) // (3 * module.head_dim)
        module.attn_dim = module.num_heads * module.head_dim


def _is_attention(module: nn.Module) -> bool:
    """Whether it is timm's attention with one tensor for queries, keys and values."""
    return all(hasattr(module, name) for name in ("qkv", "proj", "num_heads", "head_dim"))
