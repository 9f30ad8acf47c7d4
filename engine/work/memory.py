"""Telling that memory ran out, in whichever of the many ways libraries say so. No torch needed."""

from __future__ import annotations

RAN_OUT = (
    "The engine ran out of memory; what is finished is kept, so free some memory and resume the "
    "run."
)
_SENTENCES = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate")


def out_of_memory(error: BaseException) -> bool:
    """Tells whether an error means that memory ran out, on the CPU or on a GPU.

    NumPy raises MemoryError; torch raises its OutOfMemoryError for a GPU, and a bare RuntimeError
    or an error of its allocator's wording for a CPU.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sentence in text for sentence in _SENTENCES)
