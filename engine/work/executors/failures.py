"""How an exception in the work becomes a report."""

from __future__ import annotations

import traceback

from engine.errors import OracleError
from engine.work.executors.base import Broken
from engine.work.memory import RAN_OUT, out_of_memory


def broken(chunk: int, error: BaseException) -> Broken:
    """Returns the report of what a chunk's work raised."""
    ran_out = out_of_memory(error)
    if isinstance(error, OracleError):
        sentence = str(error)
    elif ran_out:
        sentence = RAN_OUT
    else:
        sentence = f"The engine met an unexpected error, {type(error).__name__}: {error}."
    trace = "".join(traceback.format_exception(error))
    return Broken(chunk, sentence, trace, ran_out)
