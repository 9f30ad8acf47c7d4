"""Processors, memory and GPUs, as the system and NVIDIA's driver tell them."""

from __future__ import annotations

import os
from typing import Any

import psutil

from engine.gpus import driver_version


def devices() -> dict[str, Any]:
    """Returns the processors this process may use, the memory in bytes, and the GPUs."""
    memory = psutil.virtual_memory()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus, note = _gpus()
    return {
        "cpus": os.cpu_count(),
        "cpus_usable": usable,
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "gpus": gpus,
        "gpu_note": note,
        "gpu_driver": driver_version() if gpus else "",
    }


def _gpus() -> tuple[list[dict[str, Any]], str]:
    """Returns the GPUs, and why there are none where there are none."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"no NVIDIA driver: {error}"
    try:
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())], ""
    except pynvml.NVMLError as error:
        return [], f"the NVIDIA driver does not answer: {error}"
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> dict[str, Any]:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    name = pynvml.nvmlDeviceGetName(handle)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "index": index,
        "name": name.decode() if isinstance(name, bytes) else str(name),
        "memory_bytes": int(memory.total),
        "memory_free_bytes": int(memory.free),
    }
