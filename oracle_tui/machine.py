"""What a study takes of this machine: GPUs through NVML, the engine's memory through psutil."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import psutil

GIGABYTE = 1e9


class Machine:
    """Reads gauges for a header. A gauge that is not there is not shown. For thread workers."""

    def __init__(self) -> None:
        """Ask nothing yet: looking for GPUs takes a moment."""
        self._gpus: list[Any] | None = None  # handles; empty where there are none

    def words(self, run: Path) -> str:
        """Return memory of the run's engine here, and use of the GPUs, in a few words."""
        return "   ".join(part for part in (engine_memory(run), self._gpu_words()) if part)

    def _gpu_words(self) -> str:
        import pynvml

        if self._gpus is None:
            self._gpus = _find_gpus()
        busy, used, total = [], 0.0, 0.0
        for handle in self._gpus:
            try:
                busy.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            except pynvml.NVMLError:
                continue
            used, total = used + memory.used, total + memory.total
        return gpu_words(busy, used, total)


def gpu_words(busy: list[int], used: float, total: float) -> str:
    """Return one phrase about all GPUs: mean use in per cent, memory in GB over all of them."""
    if not busy or total <= 0:
        return ""
    name = "GPU" if len(busy) == 1 else f"{len(busy)} GPUs"
    share = sum(busy) // len(busy)
    return f"{name} {share} % {used / GIGABYTE:.1f}/{total / GIGABYTE:.0f} GB"


def _find_gpus() -> list[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:  # no driver, no GPU, or none that this user may see
        return []


def engine_memory(run: Path) -> str:
    """Return the memory of a run's engine and its children, "" where it is not on this machine."""
    from engine.store.layout import LOCK_NAME
    from engine.store.lock import read_holder

    with contextlib.suppress(OSError, psutil.Error):
        holder = read_holder(run / LOCK_NAME)
        if holder is not None and holder.state() == "alive":
            engine = psutil.Process(holder.pid)
            family = [engine, *engine.children(recursive=True)]
            size = sum(process.memory_info().rss for process in family)
            return f"engine {size / GIGABYTE:.2f} GB"
    return ""
