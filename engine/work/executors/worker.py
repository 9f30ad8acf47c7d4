"""A worker process: takes chunks from the driver's pipe and reports back, until the pipe closes."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

import torch

from engine.work.executors.base import Chunk, Report, Setup, Started, Work
from engine.work.executors.failures import broken, release_gpu_memory
from engine.work.executors.place import place_of
from engine.work.executors.throttle import Throttle

HOLD, GO = "hold", "go"

Pipe = Connection


def serve(
    pipe: Pipe[Any, Any], setup: Setup, device: str, threads: int, env: dict[str, str], quiet: float
) -> None:
    """Works until the driver closes the pipe or is gone.

    Args:
        pipe: Chunks, `HOLD` and `GO` come in; reports go out.
        setup: Builds the work, before the first chunk.
        device: Where it computes.
        threads: How many threads it computes with on a CPU.
        env: Set before CUDA is: which GPU this worker sees.
        quiet: Least seconds between two words about progress.
    """
    # The driver decides when to stop: what a terminal sends to the whole group is not for workers.
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.environ.update(env)
    torch.set_num_threads(threads)
    work: Work | None = None
    try:
        while True:
            message = pipe.recv()
            if not isinstance(message, Chunk):
                continue
            if work is None:
                work = _opened(setup, message, pipe)
            if work is not None:
                _work_on(work, message, pipe, device, threads, quiet)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the driver is gone, or wants no more


def _opened(setup: Setup, chunk: Chunk, pipe: Pipe[Any, Any]) -> Work | None:
    try:
        return setup.open()
    except Exception as error:
        pipe.send(broken(chunk.number, error))
        return None


def _work_on(
    work: Work, chunk: Chunk, pipe: Pipe[Any, Any], device: str, threads: int, quiet: float
) -> None:
    throttled = Throttle(pipe.send, quiet)

    def tell(report: Report) -> None:
        _obey(pipe)
        throttled(report)

    try:
        pipe.send(Started(chunk.number, place_of(device, threads)))
        work(chunk, tell)
        return
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        report = broken(chunk.number, error)
    release_gpu_memory()
    pipe.send(report)


def _obey(pipe: Pipe[Any, Any]) -> None:
    """Rests while the driver holds the work."""
    held = False
    while held or pipe.poll():
        held = pipe.recv() == HOLD
