"""Who a worker is and where it computes, for the log and for the run file."""

from __future__ import annotations

import os
import socket
from typing import Any

import torch


def place_of(device: str, threads: int) -> dict[str, Any]:
    """Returns the place of the calling process as a JSON object.

    Args:
        device: Where it computes, as torch names it.
        threads: How many threads it computes with on a CPU.
    """
    place: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "device": device}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        return place | {"gpu": properties.name, "uuid": f"GPU-{properties.uuid}"}
    return place | {"threads": threads}


def place_text(place: dict[str, Any]) -> str:
    """Returns a place as the log says it."""
    how = place.get("gpu") or f"{place.get('threads', 1)} thread(s)"
    return f"process {place['pid']} on {place['host']}: {place['device']}, {how}"
