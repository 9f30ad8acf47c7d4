"""A GPU as this process uses it: which of torch's it is, how it computes, what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from engine.errors import UsageError
from engine.gpus import Gpu, driver_version
from engine.work.memory import first_line


def use(device: torch.device) -> torch.device:
    """Makes a GPU the one that this thread computes on unasked, in full float32; returns it.

    Libraries that are told no device (Triton, CUDA graphs) take the thread's own. torch lets
    convolutions round to TF32, and some containers all products, unless it is told otherwise.

    Raises:
        UsageError: Nothing can be computed on it: another process has it for itself, it has failed,
            or torch was not built for it.
    """
    if device.type == "cuda":
        try:
            torch.cuda.set_device(device)
            torch.ones(2, device=device).sum().item()
        except RuntimeError as error:
            raise UsageError(
                f"Nothing can be computed on {device} ({first_line(error)}); see oracle-tui "
                "doctor, name another device, or use --device cpu."
            ) from error
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return device


def torch_index(gpu: Gpu, gpus: Sequence[Gpu]) -> int:
    """Returns the number that torch knows a GPU by.

    Args:
        gpu: The GPU.
        gpus: All that the driver shows, in its order, which need not be torch's.
    """
    uuids = [
        f"GPU-{torch.cuda.get_device_properties(index).uuid}"
        for index in range(torch.cuda.device_count())
    ]
    return uuids.index(gpu.uuid) if gpu.uuid in uuids else list(gpus).index(gpu)


def gpu_environment(device: torch.device) -> dict[str, Any]:
    """Returns what a run records of the device and the libraries that compute on it."""
    if device.type != "cuda":
        return {"device": "cpu"}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
