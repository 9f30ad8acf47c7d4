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
