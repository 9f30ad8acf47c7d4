"""`python -m engine.work.probe`: what an engine sees here, as one line of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any


def seen() -> dict[str, Any]:
    """Returns torch's version, its devices, its threads, and whether the fused kernel can be used.

    Each device is tried with a small computation: a driver too old for torch shows only then.
    """
    import torch

    from engine.work.tiny_cnn import available
    from engine.work.vision_ops import declare_vision_ops

    declare_vision_ops()
    import torchvision  # noqa: F401  (an engine needs it, and it may not match torch)

    devices = {"cpu": "cpu"}
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        devices[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    for name in devices:
        torch.ones(2, device=name).sum().item()
    usable, reason = available()
    return {
        "torch": torch.__version__,
        "devices": devices,
        "threads": torch.get_num_threads(),
        "kernel": {"usable": usable, "reason": reason},
    }


if __name__ == "__main__":
    print(json.dumps(seen()))
    sys.exit(0)
