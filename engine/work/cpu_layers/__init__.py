"""Layers of convolutional networks that are computed quicker on a CPU while they are trained.

Importing this needs no numba; computing does.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from engine.work.tiny_cnn.availability import available

# Raise it when a change of code changes the numbers that come out.
VERSION = 1


def quicker(network: nn.Module) -> nn.Module:
    """Returns what computes the same as a network does while it is trained, in less time.

    See `rewriting.quicker`. The process keeps the memory of maps from now on.
    """
    from engine.work.cpu_layers import rewriting
    from engine.work.cpu_layers.memory import keep_freed

    keep_freed()
    return rewriting.quicker(network)


def warm_up(progress: Callable[[int, int], None] | None = None) -> None:
    """Compiles the kernels, or loads them from an earlier time.

    Args:
        progress: Called with (kernels ready, kernels in all); may raise to break off.
    """
    from engine.work.cpu_layers.kernels import all_kernels

    builders = all_kernels()
    for done, build in enumerate(builders):
        if progress is not None:
            progress(done, len(builders))
        build()
    if progress is not None:
        progress(len(builders), len(builders))


__all__ = ["VERSION", "available", "quicker", "warm_up"]
