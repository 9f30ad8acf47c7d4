"""Whether Triton can be used here. Importing this needs neither Triton nor torch."""

from __future__ import annotations

import importlib.util
from functools import cache


@cache
def available() -> tuple[bool, str]:
    """Whether the kernels can be imported here, and if not, one sentence why."""
    if importlib.util.find_spec("triton") is None:
        return False, "Triton is not installed: torch's CUDA builds for Linux bring it."
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return False, f"Triton cannot be imported ({error}): install the one torch asks for."
    return True, ""


@cache
def trouble(device: str) -> str:
    """Returns one sentence why the kernels cannot run on a device; empty where they can.

    Compiles and runs the smallest of them, once in a process and device: at its first launch
    Triton builds a module with a C compiler, looks for the driver's library, and writes both into
    its cache folder, and a machine may lack any of these.

    Args:
        device: The device as torch writes it, like "cuda:0"; "cpu" is for Triton's interpreter.

    Raises:
        torch.cuda.OutOfMemoryError: The device has no memory left.
    """
    usable, reason = available()
    if not usable:
        return reason
    import torch

    from engine.work.tiny_cnn_gpu import head

    place = torch.device(device)
    try:
        numbers = [torch.full((1, 1), value, device=place) for value in (5.0, 2.0, 1.0)]
        rate = torch.full((), 0.5, device=place)
        with torch.cuda.device_of(rate):  # type: ignore[no-untyped-call]
            # Momentum 2 * .25 + gradient 1 + decay 5 * .1 make 2, of which half is taken from 5.
            head.descend[(1, 1)](*numbers, rate, 0.25, 0.1, 1, 1, BLOCK=256)
        if abs(float(numbers[0]) - 4.0) > 1e-6:
            return "Triton's kernels compute wrongly on this GPU."
    except torch.cuda.OutOfMemoryError:
        # It says nothing of Triton, and is not to be remembered.
        raise
    except Exception as error:  # compilers and drivers raise whatever they like
        said = str(error).strip() or repr(error)
        return (
            f"Triton cannot run kernels on this machine ({said.splitlines()[0][:200]}): besides a "
            "GPU it needs a C compiler, for example gcc, Python's headers and a cache folder that "
            "it may write to (TRITON_CACHE_DIR)."
        )
    return ""
