"""CUDA graphs: what launching would make slow is recorded once for each shape, then replayed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from engine.work.memory import out_of_memory

Work = Callable[..., None]
# Which work, and the shape and type of each of its inputs.
_Key = tuple[Any, ...]


class Recorder:
    """Does work on tensors; on a CUDA device by replaying what it recorded for their shapes.

    Work must put what it computes into tensors that it finds there, and wait for nothing on the
    CPU. All recordings of a recorder share memory, so none may run beside another.
    """

    def __init__(self, device: torch.device, warm_ups: int = 1) -> None:
        """Takes the device, and how often work runs before it is recorded; that is taken back."""
        self._device, self._warm_ups = device, warm_ups
        self._replays: dict[_Key, Callable[[Sequence[Tensor]], None]] = {}
        self._pool: Any = None

    def run(self, work: Work, changed: Sequence[Tensor], *inputs: Tensor) -> None:
        """Does work on inputs.

        Args:
            work: What to do, a method or function with a name of its own.
            changed: All tensors that it changes and that are read again.
            inputs: What it is given; the next call's may lie elsewhere.
        """
        if self._device.type != "cuda":
            work(*inputs)
            return
        key = (work.__name__, *((tuple(each.shape), each.dtype) for each in inputs))
        with torch.cuda.device(self._device):
            if key not in self._replays:
                self._replays[key] = self._record(work, changed, inputs)
            self._replays[key](inputs)

    @torch.no_grad()
    def _record(
        self, work: Work, changed: Sequence[Tensor], inputs: Sequence[Tensor]
    ) -> Callable[[Sequence[Tensor]], None]:
        held = [each.clone() for each in inputs]
        before = [each.detach().clone() for each in changed]
        around, stream = torch.cuda.current_stream(self._device), _side_stream(self._device, 0)
        try:
            # Libraries make their workspaces, and Triton its code, at the first launch on a
            # stream, which cannot be recorded.
            stream.wait_stream(around)
            with torch.cuda.stream(stream), torch.enable_grad():
                for _ in range(self._warm_ups):
                    work(*held)
            around.wait_stream(stream)
            for each, old in zip(changed, before, strict=True):
                each.detach().copy_(old)
            before.clear()
            graph = self._recorded(work, held, stream)
        except BaseException:
            # What was launched may still write into memory that is given back from here on.
            with contextlib.suppress(RuntimeError):
                torch.cuda.synchronize(self._device)
            raise

        def replay(given: Sequence[Tensor]) -> None:
            for each, new in zip(held, given, strict=True):
                each.copy_(new)
            graph.replay()

        return replay

    def _recorded(self, work: Work, held: Sequence[Tensor], stream: torch.cuda.Stream) -> Any:
        """Returns the CUDA graph of the work on what is held."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        around = torch.cuda.current_stream(self._device)
        try:
            # Threads that have nothing to do with the work may use the device meanwhile.
            with (
                torch.cuda.graph(
                    graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"
                ),
                torch.enable_grad(),
            ):
                work(*held)
        except RuntimeError as error:
            # torch leaves its stream, and the memory as one that is being recorded into, where
            # even ending the recording failed.
            torch.cuda.set_stream(around)
            _end_recording_into(self._pool, graph, stream)
            self._pool = self._pool if self._replays else None
            raise first_cause(error) from error
        return graph


def side_streams(device: torch.device, count: int) -> list[torch.cuda.Stream]:
    """Returns streams for work that is beside each other; none on a CPU.

    Always the same ones: libraries keep a workspace of up to 32 MiB for each stream, and the
    allocator what was used there.
    """
    if device.type != "cuda":
        return []
    return [_side_stream(device, 1 + place) for place in range(count)]


@cache
def _side_stream(device: torch.device, place: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _end_recording_into(pool: Any, graph: Any, stream: torch.cuda.Stream) -> None:
    """Tells torch's allocator that a recording has ended, where ending it failed before that.

    Some versions of torch (2.11 for one) else take it for one that goes on: they refuse to release
    memory from then on, and what was recorded into stays taken.
    """
    with contextlib.suppress(AttributeError, RuntimeError):
        graph.reset()
        # Raises where torch itself has taken note of the end.
        torch._C._cuda_endAllocateToPool(stream.device_index, pool)
        torch._C._cuda_releasePool(stream.device_index, pool)


def first_cause(error: BaseException) -> BaseException:
    """Returns the error that says that memory ran out, if one did; else the error itself.

    When recording breaks off, ending it raises another error, which hides why.
    """
    cause: BaseException | None = error
    while cause is not None:
        if out_of_memory(cause):
            return cause
        cause = cause.__context__
    return error
