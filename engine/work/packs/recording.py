"""CUDA graphs: what launching would make slow is recorded once for each shape, then replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        # Libraries make their workspaces, and Triton its code, at the first launch on a stream,
        # which cannot be recorded.
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream), torch.enable_grad():
            for _ in range(self._warm_ups):
                work(*held)
        torch.cuda.current_stream(self._device).wait_stream(stream)
        for each, old in zip(changed, before, strict=True):
            each.detach().copy_(old)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=stream), torch.enable_grad():
                work(*held)
        except RuntimeError as error:
            raise first_cause(error) from error

        def replay(given: Sequence[Tensor]) -> None:
            for each, new in zip(held, given, strict=True):
                each.copy_(new)
            graph.replay()

        return replay


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
