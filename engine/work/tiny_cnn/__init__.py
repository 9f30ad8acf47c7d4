"""The LeNet family on a CPU: training, evaluating and scoring many candidates at once.

Takes and returns numpy arrays only. Importing this needs no numba; computing does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.work.tiny_cnn.architecture import supports
from engine.work.tiny_cnn.availability import available

if TYPE_CHECKING:
    from engine.work.tiny_cnn.evaluation import evaluate_networks
    from engine.work.tiny_cnn.pack import FusedPack, warm_up
    from engine.work.tiny_cnn.scoring import pruned_losses

__all__ = [
    "FusedPack",
    "available",
    "evaluate_networks",
    "pruned_losses",
    "supports",
    "warm_up",
]
_HOMES = {
    "FusedPack": "pack",
    "evaluate_networks": "evaluation",
    "pruned_losses": "scoring",
    "warm_up": "pack",
}


def __getattr__(name: str) -> Callable[..., object]:
    """Import what computes, and with it numba, when it is first asked for.

    Raises:
        AttributeError: there is no such name.
        RunFailure: the kernels cannot run on this machine.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from engine.errors import RunFailure

    usable, reason = available()
    if not usable:
        raise RunFailure(reason)
    found: Callable[..., object] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
