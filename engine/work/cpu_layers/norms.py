"""A batch norm and what follows it as one operation with a gradient of its own.

For float32 maps in channels-last order on a CPU, in training; everything else is left to torch.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.work.cpu_layers import kernels
from engine.work.cpu_layers.kernels import ADDED, FORKED, PLAIN, RECTIFIED
from engine.work.tiny_cnn.kernels.compiling import Kernel

# Fewer numbers than these take less time than calling our kernels from Python.
_WORTH = 1 << 17


class NormThen(nn.Module):
    """A batch norm with the ReLU, or the sum with a shortcut and the ReLU, that follow it."""

    def __init__(self, norm: nn.BatchNorm2d, kind: str) -> None:
        """Takes a norm, which keeps its parameters and statistics, and what follows it.

        Args:
            norm: The norm.
            kind: PLAIN for nothing, RECTIFIED for a ReLU, ADDED for a sum and a ReLU; FORKED for
                the same, giving the maps twice, once for each of two readers, so that their
                gradients are added on the way.
        """
        super().__init__()
        self.norm, self.kind = norm, kind

    def forward(self, maps: Tensor, shortcut: Tensor | None = None) -> Any:
        """Returns maps (batch, channels, height, width); FORKED returns them twice."""
        if not _ours(self.norm, maps, shortcut):
            return self._by_torch(maps, shortcut)
        norm = self.norm
        running, momentum = None, 0.0
        if norm.track_running_stats:
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            running = norm.running_mean, norm.running_var
            # Without a momentum, they are the mean of all batches so far.
            count = norm.num_batches_tracked
            momentum = 1 / float(count) if norm.momentum is None else norm.momentum
        if shortcut is not None:
            shortcut = shortcut.contiguous(memory_format=torch.channels_last)
        settings = _Settings(self.kind, norm.eps, momentum, torch.get_num_threads())
        return _Operation.apply(  # type: ignore[no-untyped-call]
            maps, norm.weight, norm.bias, shortcut, running, settings
        )

    def _by_torch(self, maps: Tensor, shortcut: Tensor | None) -> Any:
        maps = self.norm(maps)
        if shortcut is not None:
            maps = maps + shortcut
        if self.kind != PLAIN:
            maps = functional.relu(maps)
        return (maps, maps) if self.kind == FORKED else maps


def _ours(norm: nn.BatchNorm2d, maps: Tensor, shortcut: Tensor | None) -> bool:
    """Tells whether the kernels compute this, as torch would and in less time."""
    if not norm.training or norm.eps <= 0 or torch.is_autocast_enabled("cpu"):
        return False
    running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    if norm.track_running_stats and any(buffer is None for buffer in running):
        return False
    if (norm.weight is None) != (norm.bias is None):
        return False
    others = (shortcut, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return (
        maps.ndim == 4
        and maps.shape[1] == norm.num_features
        # torch refuses one number a channel
        and maps.numel() >= max(_WORTH, 2 * maps.shape[1])
        and maps.is_contiguous(memory_format=torch.channels_last)
        and (shortcut is None or shortcut.shape == maps.shape)
        and all(_suits(tensor) for tensor in (maps, *others) if tensor is not None)
    )


def _suits(tensor: Tensor) -> bool:
    laid_out = tensor.ndim > 1 or tensor.is_contiguous()
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu" and laid_out


class _Settings(NamedTuple):
    kind: str
    epsilon: float
    momentum: float
    threads: int


class _Operation(torch.autograd.Function):
    """What `NormThen` computes, once it is known that the kernels can."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        shortcut: Tensor | None,
        running: tuple[Tensor, Tensor] | None,
        settings: _Settings,
    ) -> Any:
        rows = _Rows(maps, settings.threads)
        out = torch.empty_like(maps)
        found = torch.empty(rows.blocks, 2, rows.channels, dtype=torch.float64)
        numbers = torch.empty(2, rows.channels)
        tiles = torch.empty(3, rows.width)
        work = torch.empty(settings.threads, 3, rows.width)
        mean, variance = running or (None, None)
        rows.each(kernels.statistics(), (maps,), work, (found,))
        kernels.scales().call(
            *_addresses(found),
            *(rows.channels, rows.width, rows.rows, rows.size, settings.epsilon),
            *_addresses(weight, bias),
            weight is not None,
            *_addresses(mean, variance),
            running is not None,
            settings.momentum,
            *_addresses(numbers, tiles),
        )
        kind = ADDED if settings.kind == FORKED else settings.kind
        rows.each(kernels.normalise(kind), (maps, shortcut, out), None, (tiles,))
        ctx.save_for_backward(maps, weight, out if kind == ADDED else None, numbers, tiles)
        ctx.settings = settings
        return (out, out.detach()) if settings.kind == FORKED else out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, second: Tensor | None = None) -> Any:
        settings: _Settings = ctx.settings
        maps, weight, after, numbers, tiles = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants the gradient of the gradient
            return _differentiable(settings, gradient, second, *ctx.saved_tensors)
        rows, kind = _Rows(maps, settings.threads), settings.kind
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        if second is not None:
            second = second.contiguous(memory_format=torch.channels_last)
        own = torch.empty_like(maps) if after is not None else None
        sums = torch.empty(rows.blocks, 2, rows.channels, dtype=torch.float64)
        work = torch.empty(settings.threads, 2, rows.width)
        slopes = torch.empty(3, rows.width)
        affine = torch.empty(2, rows.channels)
        rows.each(
            kernels.gradient_sums(kind), (gradient, second, maps, after, own), work, (tiles, sums)
        )
        kernels.gradient_scales().call(
            *_addresses(sums),
            *(rows.channels, rows.width, rows.rows, rows.blocks),
            *_addresses(numbers, weight),
            weight is not None,
            *_addresses(affine, slopes),
        )
        inner = None
        if ctx.needs_input_grad[0]:
            inner = torch.empty_like(maps)
            given = gradient if own is None else own
            kernel = kernels.input_gradient(RECTIFIED if kind == RECTIFIED else PLAIN)
            rows.each(kernel, (given, maps, inner), None, (tiles, slopes))
        if weight is None:
            return inner, None, None, own, None, None
        return inner, affine[0], affine[1], own, None, None


def _differentiable(
    settings: _Settings,
    gradient: Tensor,
    second: Tensor | None,
    maps: Tensor,
    weight: Tensor | None,
    after: Tensor | None,
    numbers: Tensor,
    tiles: Tensor,
) -> Any:
    """Returns the same gradients by torch's own operations, which have gradients themselves."""
    mean, inverse = numbers
    if second is not None:
        gradient = gradient + second
    if after is not None:
        gradient = gradient * (after > 0)
    elif settings.kind == RECTIFIED:
        scale, offset = (tile[: maps.shape[1], None, None] for tile in tiles[:2])
        gradient = gradient * (maps.detach() * scale + offset > 0)
    inner, own_weight, own_bias = torch.ops.aten.native_batch_norm_backward(
        gradient, maps, weight, None, None, mean, inverse, True, settings.epsilon, [True] * 3
    )
    shortcut = gradient if after is not None else None
    if weight is None:
        own_weight = own_bias = None
    return inner, own_weight, own_bias, shortcut, None, None


class _Rows:
    """Maps as a matrix of pixels and channels, and the blocks of it that threads share."""

    def __init__(self, maps: Tensor, threads: int) -> None:
        """Takes the maps and how many threads work on them."""
        self.channels = maps.shape[1]
        self.rows = maps.numel() // self.channels
        self.width = kernels.tile_width(self.channels)
        self.size = kernels.block_rows(self.channels)
        self.blocks = -(-self.rows // self.size)
        self.threads = min(threads, self.blocks)

    def each(
        self,
        kernel: Kernel,
        maps: tuple[Tensor | None, ...],
        work: Tensor | None,
        others: tuple[Tensor, ...],
    ) -> None:
        """Runs a kernel over all blocks.

        Args:
            kernel: It takes maps, the shape of the matrix, two blocks, work and other tensors.
            maps: Tensors of the maps' shape.
            work: By thread, memory of its own, where it needs some.
            others: The other tensors.
        """
        shape = (self.channels, self.width, self.rows, self.size)

        def part(place: int) -> None:
            bounds = (self.blocks * i // self.threads for i in (place, place + 1))
            own = () if work is None else (work[place],)
            kernel.call(*_addresses(*maps), *shape, *bounds, *_addresses(*own, *others))

        if self.threads == 1:
            part(0)
            return
        rest = _pool(self.threads - 1, os.getpid()).map(part, range(1, self.threads))
        part(0)
        list(rest)


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "norms")


def _addresses(*tensors: Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
