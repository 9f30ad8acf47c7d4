"""`python -m engine.work.probe`: what an engine sees here, as one line of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any


def seen() -> dict[str, Any]:
    """Returns torch's version, its devices, its threads, and whether the fused kernel can be used.

    Each device is tried with a small computation: that torch was not built for it, or that another
    process has it for itself, shows only then; `broken` has why, by device.
    """
    import torch

    from engine.work.memory import first_line
    from engine.work.tiny_cnn import available
    from engine.work.vision_ops import declare_vision_ops

    declare_vision_ops()
    import torchvision  # noqa: F401  (an engine needs it, and it may not match torch)

    devices = {"cpu": "cpu"}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        devices[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    broken: dict[str, str] = {}
    for name in list(devices):
        try:
            torch.ones(2, device=name).sum().item()
        except RuntimeError as error:
            broken[f"{name}, {devices.pop(name)},"] = first_line(error)
    usable, reason = available()
    return {
        "torch": torch.__version__,
        "devices": devices,
        "broken": broken,
        "threads": torch.get_num_threads(),
        "kernel": {"usable": usable, "reason": reason},
    }


if __name__ == "__main__":
    print(json.dumps(seen()))
    sys.exit(0)
