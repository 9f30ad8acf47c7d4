"""Compiling kernels to C functions, lazily, and keeping them on disk between runs.

Every kernel is a ``numba.cfunc``: the C function is called from Python through ctypes, which lets
go of the interpreter lock, or from other kernels by its address.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba
from numba.core import types

from engine.work.tiny_cnn.kernels.vectors import CPU_FEATURES, CPU_NAME, LANES

_OPTIONS = {"error_model": "numpy", "boundscheck": False, "fastmath": False}
_lock = threading.RLock()

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Kernel:
    """A compiled C function: its address for other kernels, `call` for Python."""

    address: int
    call: Callable[..., None]
    compiled: object  # keeps the machine code alive


@cache
def _digest() -> str:
    """What compiled code depends on beyond its own file: this package, numba, the processor.

    numba itself would notice changes in the kernel's own file only, and keeps all variants of a
    function in one index that two processes can spoil for each other. With this digest in the
    name every variant has files of its own.
    """
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    digest.update(f"{numba.__version__} {LANES} {CPU_NAME} {CPU_FEATURES}".encode())
    return digest.hexdigest()[:16]


def once(build: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Keep what `build` returned for these arguments; threads that ask meanwhile wait for it."""
    kept = cache(build)

    @wraps(build)
    def ask(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        with _lock:
            return kept(*arguments, **named)

    return ask


def compile_kernel(function: Callable[..., None], *arguments: object) -> Kernel:
    """Compile `function` for these argument types, or load it from numba's disk cache.

    A function built for one variant (a block size) must differ from its siblings in `__name__`.
    """
    with _lock:
        function.__qualname__ = f"{function.__name__}_{_digest()}"
        signature = types.void(*arguments)
        try:
            compiled = numba.cfunc(signature, cache=True, **_OPTIONS)(function)
        except RuntimeError:  # numba found no folder it may write to
            compiled = numba.cfunc(signature, **_OPTIONS)(function)
        prototype = ctypes.CFUNCTYPE(None, *(_C_TYPES.get(a, ctypes.c_void_p) for a in arguments))
        return Kernel(compiled.address, prototype(compiled.address), compiled)


_C_TYPES = {
    types.int64: ctypes.c_int64,
    types.float32: ctypes.c_float,
    types.float64: ctypes.c_double,
}
