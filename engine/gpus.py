"""Which GPUs are free: who computes on each, how much memory is left, and which to take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from engine.errors import UsageError

# A GPU on which more than this share of memory is taken is in use, even if the driver does not
# say by whom: inside a container it names no process of the outside.
_TAKEN_SHARE = 0.1
_BUSY_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class GpuUser:
    """A process that computes on a GPU; `user` is "" where it cannot be seen."""

    pid: int
    user: str

    def __str__(self) -> str:
        """Returns it as a sentence names it."""
        return f"process {self.pid}" + (f" of {self.user}" if self.user else "")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that CUDA shows to this process.

    Attributes:
        index: Its number for the driver (NVML), which counts by PCI bus.
        uuid: Its name in CUDA_VISIBLE_DEVICES.
        name: What it is.
        memory_total: Bytes.
        memory_used: Bytes, by all processes.
        use: Share of the last moments in which it computed, 0..1.
        users: Processes that compute on it.
    """

    index: int
    uuid: str
    name: str
    memory_total: int
    memory_used: int
    use: float
    users: tuple[GpuUser, ...]

    def trouble(self, me: str) -> str:
        """Why it is not free for this user; "" where it is, though own processes may be on it."""
        others = [user for user in self.users if not user.user or user.user != me]
        if others:
            return f"used by {', '.join(map(str, others))}"
        if not self.users and self.memory_used > _TAKEN_SHARE * self.memory_total:
            return f"taken: {self.memory_used / 1e9:.1f} GB of its memory are in use"
        if not self.users and self.use > _BUSY_SHARE:
            return f"{self.use:.0%} busy"
        return ""

    def __str__(self) -> str:
        """Returns it as the log names it."""
        shared = f", shared with {', '.join(map(str, self.users))}" if self.users else ""
        return f"GPU {self.index} ({self.name}, {self.uuid}{shared})"


def choose(gpus: Sequence[Gpu], count: int | None, me: str) -> list[Gpu]:
    """Returns the GPUs for so many workers, those with most free memory first.

    One that another user's process computes on is never taken, and neither is one that somebody
    uses who cannot be seen. One with processes of this user is taken only where no other is left.
    More workers than GPUs share them evenly; without a count each free one gets a worker.

    Args:
        gpus: Those to choose from.
        count: How many workers, or None for one a GPU.
        me: Name of the user who asks.

    Raises:
        UsageError: None may be taken; it names who uses them.
    """
    allowed = sorted(
        (gpu for gpu in gpus if not gpu.trouble(me)),
        key=lambda gpu: (gpu.memory_used - gpu.memory_total, gpu.use, gpu.index),
    )
    if not allowed:
        busy = "; ".join(f"GPU {gpu.index} is {gpu.trouble(me)}" for gpu in gpus)
        raise UsageError(
            f"No GPU is free ({busy}); wait, or name one with --device cuda:0 to share it."
        )
    free = [gpu for gpu in allowed if not gpu.users] or allowed
    return [free[place % len(free)] for place in range(count or len(free))]


def this_user() -> str:
    """Returns the name of the user this process runs as, as it is said of others."""
    return _user_of(os.getpid())


def visible_gpus() -> list[Gpu]:
    """Returns the GPUs that the driver knows and CUDA_VISIBLE_DEVICES leaves to this process."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = [_examine(pynvml, index) for index in range(int(pynvml.nvmlDeviceGetCount()))]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
    return shown(found, os.environ.get("CUDA_VISIBLE_DEVICES"))


def driver_version() -> str:
    """Returns the version of NVIDIA's driver; empty where it does not say."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ""
    try:
        return _text(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return ""
    finally:
        pynvml.nvmlShutdown()


def shown(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """Returns the GPUs that a CUDA_VISIBLE_DEVICES names, in its order, as CUDA reads it.

    CUDA reads up to the first entry that names nothing. An entry is a number or the beginning of
    a GPU's uuid.
    """
    if visible is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdigit():
            named = [gpu for gpu in gpus if gpu.index == int(entry)]
        else:
            named = [gpu for gpu in gpus if entry and gpu.uuid.startswith(entry)]
        if len(named) != 1 or named[0] in chosen:
            break
        chosen += named
    return chosen


def _examine(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        use = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except nvml.NVMLError:  # a GPU in slices does not say
        use = 0.0
    mine = os.getpid()
    pids = {process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)} - {mine}
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_total=int(memory.total),
        memory_used=int(memory.used),
        use=use,
        users=tuple(GpuUser(pid, _user_of(pid)) for pid in sorted(pids)),
    )


def _user_of(pid: int) -> str:
    try:
        return psutil.Process(pid).username()
    except (psutil.Error, KeyError):
        return ""


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
