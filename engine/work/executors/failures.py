"""How an exception in the work becomes a report."""

from __future__ import annotations

import traceback

import torch

from engine.errors import OracleError
from engine.work.executors.base import Broken


def broken(chunk: int, error: BaseException) -> Broken:
    """Returns the report of what a chunk's work raised."""
    sentence = (
        str(error)
        if isinstance(error, OracleError)
        else f"The engine met an unexpected error, {type(error).__name__}: {error}."
    )
    trace = "".join(traceback.format_exception(error))
    return Broken(chunk, sentence, trace, isinstance(error, torch.cuda.OutOfMemoryError))
