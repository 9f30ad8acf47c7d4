"""Keeping the memory of maps between layers, where the C library would give it back each time."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# Of glibc's mallopt: from which size on memory is asked for from the system piece by piece (as much
# as may be), how much freed memory is kept, and how many heaps threads have between them.
_MMAP_THRESHOLD, _LARGEST = -3, 32 << 20
_TRIM_THRESHOLD, _KEPT = -1, 1 << 30
_ARENAS = -8


@cache
def keep_freed() -> bool:
    """Has this process keep what it frees, for the next step; tells whether that can be asked for.

    The maps of a step are freed one after another, and glibc gives the end of its heap back to the
    system, which fills it with zeros again for the next step. What a process needs at most does not
    change. Threads share one heap, because the heaps of others are given back whatever is asked.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if set_option is None:
        return False
    options = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _KEPT), (_ARENAS, 1))
    return [set_option(*option) for option in options] == [1] * len(options)
