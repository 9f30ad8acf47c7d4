"""Which devices there are, asked without torch: a wrong name is refused before a run is made."""

from __future__ import annotations

import importlib.metadata
import os
import re

from engine.study_rules import SpecError

_NAME = re.compile(r"auto|cpu|cuda(?::(\d{1,4}))?")


def check_device(name: str) -> str:
    """Returns the device as the engine names it: `auto`, `cpu`, `cuda` or `cuda:1`.

    Raises:
        SpecError: That is no device, or this machine has not got it.
    """
    wanted = name.strip().lower()
    match = _NAME.fullmatch(wanted)
    if match is None:
        raise SpecError("device", f"The device is auto, cpu, cuda or cuda:0, not {name!r}.")
    if not wanted.startswith("cuda"):
        return wanted
    if _torch_is_cpu_only():
        raise SpecError(
            "device",
            f"There is no device {wanted} for this CPU-only build of torch; use cpu, or install "
            "torch's CUDA build.",
        )
    count = cuda_device_count()
    if count == 0:
        raise SpecError("device", f"There is no device {wanted} on this machine; use cpu.")
    if (index := int(match.group(1) or 0)) >= count:
        last = f"cuda:{count - 1}"
        raise SpecError("device", f"There is no device cuda:{index} here; the last one is {last}.")
    # torch refuses cuda:01.
    return wanted if match.group(1) is None else f"cuda:{index}"


def cuda_device_count() -> int:
    """Returns how many CUDA devices the engine will see, as the driver and the environment say."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
    finally:
        pynvml.nvmlShutdown()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    # CUDA reads the list up to the first entry that names nothing. An entry may also be a slice
    # of a device, so there can be more entries than devices.
    entries = [entry.strip() for entry in visible.split(",")]
    named = 0
    for entry in entries:
        if entry in ("", "-1") or (entry.isdigit() and int(entry) >= count):
            break
        named += 1
    return named


def _torch_is_cpu_only() -> bool:
    """Whether the installed torch says by its version (`2.13.0+cpu`) that it knows no CUDA."""
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
