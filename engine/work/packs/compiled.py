"""A model's forward pass as code that torch.compile makes, once for all candidates of a shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from engine.catalog import ModelInfo
from engine.work.models import network_of

# Takes parameters and buffers by name, and images; gives logits. Statistics are changed in place.
Network = Callable[[dict[str, Tensor], Tensor], Tensor]


def compiled_network(info: ModelInfo, classes: int, states: Mapping[str, Tensor]) -> Network:
    """Returns the forward pass, in train mode, of networks as wide as these states, (K, ...).

    It is compiled at its first call, and not again in this process for the same shapes.
    """
    shapes = tuple((name, tuple(tensor.shape[1:])) for name, tensor in states.items())
    return _compiled(info, classes, shapes, tuple(tensor.dtype for tensor in states.values()))


@lru_cache(maxsize=4)
def _compiled(
    info: ModelInfo,
    classes: int,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    dtypes: tuple[torch.dtype, ...],
) -> Network:
    empty = {
        name: torch.empty(shape, dtype=dtype, device="meta")
        for (name, shape), dtype in zip(shapes, dtypes, strict=True)
    }
    network = network_of(info, classes, empty).train()

    def forward(tensors: dict[str, Tensor], images: Tensor) -> Any:
        return torch.func.functional_call(network, tensors, (images,))

    return torch.compile(forward, fullgraph=True, dynamic=False)
