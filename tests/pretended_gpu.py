"""A GPU that is not there: tensors that say they are on one, and refuse what a real one refuses.

The numbers are computed on the CPU. What is checked is what a machine without a GPU never notices:
tensors of both places in one operation, numpy or Python numbers taken from a tensor that is not in
the host's memory, and, within a recording, whatever would wait for the device or copy from the
host. Recordings are checked, too: work is done once more after what it is said to change was put
back, as if it had been replayed.

torch's FakeTensorMode would be the other way; it needs a torch that was built for CUDA as soon as
gradients are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from engine.work.packs import graphed, recording

GPU = torch.device("cuda", 0)

_DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]
_IS_CUDA = Tensor.is_cuda.__get__  # type: ignore[attr-defined]
_GRAD = Tensor.grad.__get__  # type: ignore[attr-defined]
# A real GPU hands these over to the host, and the host waits.
_NUMBERS = {
    Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__int__, Tensor.__float__,
    Tensor.__index__, Tensor.__contains__, torch.equal, Tensor.equal, torch.allclose,
}  # fmt: skip
# How much they give depends on the numbers, so the host waits for those.
_UNKNOWN_SIZES = {
    torch.nonzero, Tensor.nonzero, torch.masked_select, Tensor.masked_select, torch.unique,
    Tensor.unique, torch.bincount, Tensor.bincount,
}  # fmt: skip
# Both places may meet in these.
_COPIES = {Tensor.copy_, Tensor.__setitem__, Tensor.__getitem__, torch._foreach_copy_}
_LIKE_DATA = {torch.tensor, torch.as_tensor, torch.from_numpy}
_GATHERS = {torch.stack, torch.cat}


class NotOnAGpu(RuntimeError):
    """What a real GPU would refuse."""


class _State:
    recording = False


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _called(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied: Tensor = self.detach().clone()
        if isinstance(self, nn.Parameter):
            copied = nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise NotOnAGpu("a tensor on a GPU cannot be sent to another process")


class _Mode(TorchFunctionMode):
    """Hears of functions that are given no such tensor but are to make one."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _called(func, args, kwargs or {})


def _is_gpu(place: object) -> bool:
    if isinstance(place, torch.device | str) and not isinstance(place, Tensor):
        try:
            return torch.device(place).type == "cuda"
        except RuntimeError:
            return False
    return False


def _on_gpu(found: Any) -> Any:
    def wrapped(each: Any) -> Any:
        plain = isinstance(each, Tensor) and not isinstance(each, OnGpu)
        return each.as_subclass(OnGpu) if plain else each

    return tree_map(wrapped, found)


def _no_recording(what: str) -> None:
    if _State.recording:
        raise NotOnAGpu(f"within a recording: {what}")


def _called(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    name = getattr(func, "__name__", str(func))
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    mine = [each for each in given if isinstance(each, OnGpu)]
    if func in (_DEVICE, _IS_CUDA) and mine:
        return GPU if func == _DEVICE else True
    if func is Tensor.pin_memory:
        return args[0]
    with torch._C.DisableTorchFunctionSubclass():
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return _moved(func, args, kwargs)
        if mine and func in (Tensor.numpy, Tensor.__array__, Tensor.data_ptr):
            raise NotOnAGpu(f"{name} of a tensor on a GPU")
        if mine and func in _NUMBERS | _UNKNOWN_SIZES:
            _no_recording(name)
            found = func(*args, **kwargs)
            return _on_gpu(found) if func in _UNKNOWN_SIZES else found
        if _is_gpu(kwargs.get("device")):
            if func in _LIKE_DATA:
                _no_recording(f"{name} from the host")
            return _on_gpu(func(*args, **{**kwargs, "device": "cpu"}))
        if func == _GRAD and mine:
            return _on_gpu(func(*args))
        if mine:
            _require_one_place(func, name, args, given)
        found = func(*args, **kwargs)
    if not mine or (args and found is args[0]):
        return found
    return _on_gpu(found)


def _moved(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    self, rest = args[0], list(args[1:])
    asked = next((each for each in [*rest, kwargs.get("device")] if _names_a_place(each)), None)
    to_gpu, here = func is Tensor.cuda or _is_gpu(asked), isinstance(self, OnGpu)
    if func is Tensor.cpu or asked is not None or func is Tensor.cuda:
        if to_gpu != here:
            _no_recording("a copy between host and device")
    else:
        to_gpu = here
    cpu = [torch.device("cpu") if _names_a_place(each) else each for each in rest]
    named = {key: value for key, value in kwargs.items() if key != "device"}
    plain = self.as_subclass(Tensor)
    if func is not Tensor.to:
        cpu, named = ["cpu"], {}
    if to_gpu != here:
        named["copy"] = True  # another memory
    found = plain.to(*cpu, **named) if cpu or named else plain
    if found is plain:
        return self
    return found.as_subclass(OnGpu) if to_gpu else found


def _names_a_place(each: object) -> bool:
    return isinstance(each, torch.device | str) and not isinstance(each, Tensor)


def _require_one_place(func: Any, name: str, args: Sequence[Any], given: list[Tensor]) -> None:
    """Raises where tensors of both places meet; numbers without dimensions may come along."""
    others = [each for each in given if not isinstance(each, OnGpu)]
    if name in ("__set__", "requires_grad_") or not others:
        _require_known_sizes(func, args)
        return
    _no_recording(f"{name} reads from the host")
    sizes = func in _GATHERS or any(each.ndim for each in others)
    indexed = func == Tensor.__getitem__ and not isinstance(args[0], OnGpu)
    if indexed or (sizes and func not in _COPIES):
        raise NotOnAGpu(f"{name} of tensors on a GPU and on the CPU")
    _require_known_sizes(func, args)


def _require_known_sizes(func: Any, args: Sequence[Any]) -> None:
    if func not in (Tensor.__getitem__, Tensor.__setitem__):
        return
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    if any(isinstance(each, Tensor) and each.dtype == torch.bool for each in index):
        _no_recording("an index of booleans")
    if any(isinstance(each, list) for each in index):
        _no_recording("an index from the host")


def _run(self: Any, work: Callable[..., None], changed: Sequence[Tensor], *inputs: Tensor) -> None:
    """Does what a recorder does on a GPU, but for replaying: the work is done once more."""
    key = (work.__name__, *((tuple(each.shape), each.dtype) for each in inputs))
    if key not in self._replays:
        held = [each.clone() for each in inputs]
        before = [each.detach().clone() for each in changed]
        _State.recording = True
        try:
            work(*held)
        finally:
            _State.recording = False
        with torch.no_grad():
            for each, old in zip(changed, before, strict=True):
                each.detach().copy_(old)
        self._replays[key] = held
    for each, new in zip(self._replays[key], inputs, strict=True):
        each.copy_(new)
    work(*self._replays[key])


def _apply(self: nn.Module, move: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Moves a module as torch does from one kind of device to another: by new parameters."""
    for module in self.modules():
        for name, own in module._parameters.items():
            if own is not None:
                module._parameters[name] = nn.Parameter(move(own.detach()), own.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = move(buffer)
    return self


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Has tensors be on a GPU that there is not, where they are sent there; gives the device."""
    autocast = torch.autocast

    def cast(device_type: str, *told: Any, **named: Any) -> Any:
        return autocast("cpu" if device_type == "cuda" else device_type, *told, **named)

    with monkeypatch.context() as patch, _Mode():
        patch.setattr(recording.Recorder, "run", _run)
        patch.setattr(graphed, "side_streams", lambda device, count: [])
        patch.setattr(nn.Module, "_apply", _apply)
        patch.setattr(torch, "autocast", cast)
        patch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        yield GPU
