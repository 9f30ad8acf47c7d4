"""Convolutions of few filters, two neighbouring pixels at a time.

In channels-last order the filters of a pixel are the lanes of a vector, and eight filters leave
half of a vector of sixteen lanes idle. Two neighbouring pixels lie behind each other, and are one
pixel of twice the filters: those of a convolution that is one pixel wider and moves on by two. It
has a third more multiply-adds where filters are three pixels wide, by zeros, and no idle lanes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_LANES = {"AVX512": 16}.get(torch.backends.cpu.get_cpu_capability(), 8)
# Maps of fewer numbers take less time than making the wider filters.
_WORTH = 1 << 16
_LAST = torch.channels_last


class NarrowConv(nn.Module):
    """A convolution that has few filters, or reads few; see `is_narrow`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        """Takes the convolution, which keeps its weights."""
        super().__init__()
        self.conv = conv

    def forward(self, maps: Tensor) -> Tensor:
        """Returns maps (batch, filters, height, width)."""
        weight, padding = self.conv.weight, self.conv.padding
        assert not isinstance(padding, str)
        if not _ours(maps, weight, padding[1]):
            return self.conv(maps)  # type: ignore[no-any-return]
        return _Convolution.apply(maps, weight, padding)  # type: ignore[no-any-return,no-untyped-call]


def is_narrow(conv: nn.Conv2d) -> bool:
    """Tells whether a convolution, or its gradient, can be done two pixels at a time and gains."""
    height, width = conv.kernel_size
    above, aside = conv.padding if not isinstance(conv.padding, str) else (-1, -1)
    return (
        (_narrow(conv.out_channels) or _narrow(conv.in_channels))
        and conv.bias is None
        and conv.groups == 1
        and tuple(conv.stride) == tuple(conv.dilation) == (1, 1)
        and conv.padding_mode == "zeros"
        and width >= 3
        and 0 <= above < height
        and 0 <= aside < width
    )


def _narrow(channels: int) -> bool:
    return 2 * channels <= _LANES


def _ours(maps: Tensor, weight: Tensor, aside: int) -> bool:
    width = maps.shape[-1] + 2 * aside - weight.shape[-1] + 1
    return (
        maps.ndim == 4
        and maps.numel() >= max(_WORTH, 1)
        and maps.shape[-1] % 2 == width % 2 == 0
        and width > 0
        and maps.is_contiguous(memory_format=_LAST)
        and not torch.is_autocast_enabled("cpu")
        and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (maps, weight))
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.padding = padding
        if _narrow(len(weight)):
            return _by_pairs(maps, weight, padding)
        return functional.conv2d(maps, weight, padding=padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        maps, weight = ctx.saved_tensors
        wanted, trained, _ = ctx.needs_input_grad
        inner = own = None
        if not torch.is_grad_enabled():  # else somebody wants the gradient of the gradient
            gradient = gradient.contiguous(memory_format=_LAST)
            if wanted and _narrow(weight.shape[1]):
                # The filters turned round, over maps padded by what is left of their size.
                turned = weight.flip(2, 3).transpose(0, 1)
                sizes = zip(weight.shape[2:], ctx.padding, strict=True)
                above, aside = (size - 1 - padding for size, padding in sizes)
                inner = _by_pairs(gradient, turned, (above, aside))
            if trained and _narrow(len(weight)):
                own = _weight_gradient(gradient, maps, weight, ctx.padding)
        left = [wanted and inner is None, trained and own is None]
        if any(left):
            found = _gradients(gradient, maps, weight, (1, 1), ctx.padding, left)
            inner, own = (
                one if one is not None else other
                for one, other in zip((inner, own), found, strict=True)
            )
        return inner, own, None


def _by_pairs(maps: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Returns what a convolution gives, (batch, filters, height, width)."""
    return _single(functional.conv2d(maps, _wide(weight), stride=(1, 2), padding=padding))


def _weight_gradient(
    gradient: Tensor, maps: Tensor, weight: Tensor, padding: tuple[int, int]
) -> Tensor:
    wide = _wide(weight)
    _, found = _gradients(_paired(gradient), maps, wide, (1, 2), padding, [False, True])
    count, width = len(weight), weight.shape[-1]
    assert found is not None
    return found[:count, ..., :width] + found[count:, ..., 1:]


def _wide(weight: Tensor) -> Tensor:
    """Returns filters (2n, channels, height, width + 1): n for a pixel and n for the next one."""
    wide = functional.pad(torch.cat((weight, weight)), (0, 1))
    wide[len(weight) :] = wide[len(weight) :].roll(1, -1)
    return wide.contiguous(memory_format=_LAST)


def _single(pairs: Tensor) -> Tensor:
    """Returns maps (batch, n, height, 2 width) that lie where those (batch, 2n, ...) do."""
    batch, twice, height, width = pairs.shape
    pixels = pairs.permute(0, 2, 3, 1).reshape(batch, height, 2 * width, twice // 2)
    return pixels.permute(0, 3, 1, 2)


def _paired(maps: Tensor) -> Tensor:
    """Returns maps (batch, 2n, height, width / 2) that lie where those (batch, n, ...) do."""
    batch, count, height, width = maps.shape
    pixels = maps.permute(0, 2, 3, 1).reshape(batch, height, width // 2, 2 * count)
    return pixels.permute(0, 3, 1, 2)


def _gradients(
    gradient: Tensor,
    maps: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: list[bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Returns the gradients of maps and weights that are wanted, as torch computes them."""
    inner, own, _ = torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, stride, padding, (1, 1), False, (0, 0), 1, [*wanted, False]
    )
    return inner, own
