"""How an exception in the work becomes a report, and its GPU memory free again."""

from __future__ import annotations

import contextlib
import gc
import traceback

import torch

from engine.errors import OracleError
from engine.work.executors.base import Broken
from engine.work.memory import out_of_memory, sentence_of


def broken(chunk: int, error: BaseException) -> Broken:
    """Returns the report of what a chunk's work raised."""
    sentence = str(error) if isinstance(error, OracleError) else sentence_of(error)
    trace = "".join(traceback.format_exception(error))
    return Broken(chunk, sentence, trace, out_of_memory(error))


def release_gpu_memory() -> None:
    """Gives unused memory of GPUs back; call it where no frame of what was raised is left.

    After an error that ends all work of this process on a GPU even this fails, and the error is
    what is worth being told.
    """
    # A frame that was part of a cycle would keep its tensors until some later collection.
    gc.collect()
    with contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()
