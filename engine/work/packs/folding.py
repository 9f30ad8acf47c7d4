"""Batch norms folded into the convolutions before them, for as long as a network is evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn

# Names of a convolution and of the batch norm that alone reads it.
Pair = tuple[str, str]


def foldable(network: nn.Module) -> tuple[Pair, ...]:
    """Returns the convolutions of a network that nothing but one batch norm reads.

    A network that torch.fx cannot follow has none. Not for several threads at a time: while it
    traces, torch.fx replaces how modules are called.
    """
    try:
        graph = fx.Tracer().trace(network)
    except Exception:  # networks of a person's own raise whatever they like on a proxy
        return ()
    modules = dict(network.named_modules())
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    found = []
    for node in graph.nodes:
        if node.op != "call_module" or type(modules[str(node.target)]) is not nn.BatchNorm2d:
            continue
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        pair = str(before.target), str(node.target)
        norm = modules[pair[1]]
        once = calls[pair[0]] == calls[pair[1]] == 1
        if type(modules[pair[0]]) is nn.Conv2d and once and norm.running_var is not None:
            found.append(pair)
    return tuple(found)


@contextmanager
def folded(network: nn.Module, pairs: Sequence[Pair]) -> Iterator[nn.Module]:
    """Has a network in eval mode compute each pair as one convolution; afterwards it is as before.

    The new weights are made in float64, so that outputs differ by float32 rounding alone.
    """
    before = []
    try:
        for names in pairs:
            conv, norm = (network.get_submodule(name) for name in names)
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            before.append((conv, conv.weight, conv._parameters["bias"], names[1], norm))
            weight, bias = _as_one(conv, norm)
            conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
            network.set_submodule(names[1], nn.Identity())
        yield network
    finally:
        for conv, own_weight, own_bias, name, norm in before:
            conv.weight = own_weight
            conv.register_parameter("bias", own_bias)
            network.set_submodule(name, norm)


@torch.no_grad()
def _as_one(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of the convolution that does what both do."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    bias = -norm.running_mean.double() if conv.bias is None else conv.bias - norm.running_mean
    bias = bias.double() * scale
    if norm.bias is not None:
        bias = bias + norm.bias
    weight = conv.weight.double() * scale[:, None, None, None]
    return weight.to(conv.weight), bias.to(conv.weight.dtype)
