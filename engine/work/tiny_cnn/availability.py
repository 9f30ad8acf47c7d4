"""Whether this machine can run the fused kernels. Importing this needs neither numba nor torch."""

from __future__ import annotations

import sys
from functools import cache


@cache
def available() -> tuple[bool, str]:
    """Whether the fused kernels can be used here, and if not, one sentence why."""
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        return False, "The fused kernels need a 64-bit little-endian processor."
    try:
        import llvmlite.binding
        import numba
    except ImportError as error:
        return False, f"numba cannot be imported ({error}): install numba to use the fused kernels."
    if llvmlite.binding.llvm_version_info[0] < 19:
        return (
            False,
            f"numba {numba.__version__} brings an LLVM older than 19: install a newer one.",
        )
    return True, ""
