"""What all candidates of a study share before their first pruned layer, computed once a batch."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn


class _Enough(Exception):
    """The first pruned layer is reached."""


class _Replay(nn.Module):
    """Stands where a module stood, and gives what that module gave in the whole network."""

    def __init__(self, prefix: SharedPrefix, name: str) -> None:
        super().__init__()
        # Not a submodule, and not in the state.
        self._give = (prefix, name)

    def forward(self, *_: Any, **__: Any) -> Tensor:
        prefix, name = self._give
        return prefix.recorded(name)


class SharedPrefix:
    """The modules of a network that run to their end before the first one that a study prunes.

    `compute` runs them for a batch; networks given to `shorten` then take their outputs from
    there. Every thread has a batch of its own.
    """

    def __init__(self, whole: nn.Module, pruned: Collection[str], example: Tensor) -> None:
        """Finds the modules.

        Args:
            whole: The whole network, in eval mode.
            pruned: Names of all tensors that pruning touches.
            example: A batch to trace it with.
        """
        self._whole = whole
        self._local = threading.local()
        self._copies = False
        owners = {name.rpartition(".")[0] for name in pruned}
        spans, self._first = _spans(whole, owners, example)
        done: list[str] = []
        for name, _ in whole.named_modules():
            inside = any(name.startswith(f"{outer}.") for outer in done)
            if name in spans and not inside:
                done.append(name)
        self.modules = tuple(done)

    def shorten(self, network: nn.Module) -> nn.Module:
        """Has a network, pruned from the whole one, take what is shared from here; returns it."""
        for name in self.modules:
            network.set_submodule(name, _Replay(self, name))
        return network

    def compute(self, images: Tensor) -> None:
        """Runs what is shared on a batch, for the networks that this thread runs next."""
        outputs: dict[str, Tensor] = {}
        self._local.outputs = outputs
        if not self.modules:
            return
        hooks = []
        try:
            for name in self.modules:
                module = self._whole.get_submodule(name)
                hooks.append(module.register_forward_hook(self._recorder(name)))
            first = self._whole.get_submodule(self._first)
            hooks.append(first.register_forward_pre_hook(_stop))
            self._whole(images)
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        assert len(outputs) == len(self.modules)

    def recorded(self, name: str) -> Tensor:
        """Returns what a module gave for this thread's batch."""
        output: Tensor = self._local.outputs[name]
        return output.clone() if self._copies else output

    def holds_for(self, plain: nn.Module, shortened: nn.Module, images: Tensor) -> bool:
        """Tells whether a shortened network computes exactly what it computes unshortened.

        Finds out, too, whether it overwrites what it is given; then it will get copies.
        """
        self.compute(images)
        versions = {name: output._version for name, output in self._local.outputs.items()}
        shortened(images)
        self._copies = any(
            output._version != versions[name] for name, output in self._local.outputs.items()
        )
        self.compute(images)
        return torch.equal(plain(images), shortened(images))

    def _recorder(self, name: str) -> Any:
        def record(_: nn.Module, __: Any, output: Tensor) -> None:
            # What follows in the whole network may overwrite it.
            self._local.outputs[name] = output.clone()

        return record


def _stop(*_: Any) -> None:
    raise _Enough


def _spans(whole: nn.Module, owners: Collection[str], example: Tensor) -> tuple[set[str], str]:
    """Returns the modules that run once, wholly before the first of `owners`, and that one."""
    clock = 0
    began: dict[str, list[int]] = {}
    ended: dict[str, int] = {}

    def begin(name: str) -> None:
        nonlocal clock
        clock += 1
        began.setdefault(name, []).append(clock)

    def end(name: str, output: Any) -> None:
        nonlocal clock
        clock += 1
        if isinstance(output, Tensor):
            ended[name] = clock

    hooks = []
    for name, module in whole.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: begin(name)))
        hooks.append(module.register_forward_hook(lambda *a, name=name: end(name, a[2])))
    try:
        whole(example)
    finally:
        for hook in hooks:
            hook.remove()
    if not all(owner in began for owner in owners):
        # A tensor that is used without its module being called: when, cannot be told.
        return set(), ""
    start, first = min((began[owner][0], owner) for owner in owners)
    before = {
        name
        for name, end_time in ended.items()
        if name and len(began[name]) == 1 and end_time < start
    }
    return before, first
