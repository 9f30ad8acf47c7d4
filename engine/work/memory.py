"""Telling by an error's words that memory ran out, or that a GPU failed. No torch needed."""

from __future__ import annotations

RAN_OUT = (
    "The engine ran out of memory; what is finished is kept, so free some memory and resume the "
    "run."
)
_SENTENCES = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "cannot allocate",
    # cuBLAS, cuSOLVER and cuDNN beside torch's own allocator.
    "status_alloc_failed",
    "allocation_failed",
    # cuDNN, after none of its ways to compute a convolution got the memory that it wanted.
    "unable to find an engine",
    "unable to find a valid cudnn algorithm",
)
_GPU = ("cuda error", "cuda driver error", "triton error [cuda]", "cudnn_status", "cublas_status")
_KEPT = "what is finished is kept, so resume the run: it begins again with a fresh process."
# After these errors a process can do nothing more with the GPU.
_ENDS_ALL = (
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable",
    "unrecoverable",
    "ecc error",
    "hardware stack error",
    "invalid program counter",
    "unknown error",
    "fallen off the bus",
    "is lost",
    "busy or unavailable",
    "no cuda-capable device",
    "driver shutting down",
    "context is destroyed",
)


def out_of_memory(error: BaseException) -> bool:
    """Tells whether an error means that memory ran out, on the CPU or on a GPU.

    NumPy raises MemoryError; torch raises its OutOfMemoryError for a GPU, and a bare RuntimeError
    or an error of its allocator's wording for a CPU; the libraries it calls have words of their
    own.
    """
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sentence in text for sentence in _SENTENCES)


def gpu_failure(error: BaseException) -> str:
    """Returns the sentence about an error that a GPU or its driver gave; else an empty text.

    torch's own text has several lines about debugging; the log keeps them.
    """
    text = str(error).lower()
    if not isinstance(error, RuntimeError) or out_of_memory(error):
        return ""
    if not any(word in text for word in _GPU):
        return ""
    return f"The GPU failed ({first_line(error)}); {_KEPT}"


def first_line(error: BaseException) -> str:
    """Returns what an error says, without the advice that torch adds in further lines."""
    said = str(error).strip().splitlines()
    return (said[0].rstrip(".") if said else type(error).__name__)[:200]


def ends_all_gpu_work(error: BaseException) -> bool:
    """Tells whether this process can do nothing more with the GPU after an error."""
    text = str(error).lower()
    return bool(gpu_failure(error)) and any(sentence in text for sentence in _ENDS_ALL)


def sentence_of(error: BaseException) -> str:
    """Returns what a person is told of an error that nobody expected."""
    if out_of_memory(error):
        return RAN_OUT
    return gpu_failure(error) or (
        f"The engine met an unexpected error, {type(error).__name__}: {error}."
    )
