"""A part of maps with zeros around it: the shortcut of residual blocks that halve their maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class PaddedPart(nn.Module):
    """``pad(maps[index], padding)``, with a gradient in the order in memory of the maps.

    torch gives that of a slice in an order of its own, one slice after another, and what it is
    added to has to be reordered.
    """

    def __init__(self, index: tuple[slice, ...], padding: tuple[int, ...]) -> None:
        """Takes the slices, and how much is put around, as `functional.pad` takes it."""
        super().__init__()
        self.index, self.padding = index, padding

    def forward(self, maps: Tensor) -> Tensor:
        """Returns the part with zeros around."""
        return _Operation.apply(maps, self.index, self.padding)  # type: ignore[no-any-return,no-untyped-call]


class _Operation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, index: tuple[slice, ...], padding: tuple[int, ...]
    ) -> Tensor:
        ctx.shape, ctx.strides, ctx.told = maps.shape, maps.stride(), (index, padding)
        return functional.pad(maps[index], padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        index, padding = ctx.told
        whole = gradient.new_empty_strided(ctx.shape, ctx.strides).zero_()
        whole[index] = functional.pad(gradient, [-amount for amount in padding])
        return whole, None, None
