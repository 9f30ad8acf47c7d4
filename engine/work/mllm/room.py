"""Whether something fits into what is free of a memory."""

from __future__ import annotations

import psutil
import torch

from engine.errors import UsageError

# What is left for everything that is not counted.
_USED = 0.9


def require_room(what: str, needed: int, device: torch.device | None = None) -> None:
    """Refuses what cannot fit.

    Raises:
        UsageError: It takes more than is free; with both numbers.
    """
    if device is not None and device.type == "cuda":
        free, where = int(torch.cuda.mem_get_info(device)[0]), f"on {device}"
    else:
        free, where = int(psutil.virtual_memory().available), "of memory"
    if needed > _USED * free:
        raise UsageError(
            f"{what} needs about {_size(needed)} and {_size(free)} {where} are free; use a "
            "smaller model or batch, or --tuning lora=8,checkpointing."
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
