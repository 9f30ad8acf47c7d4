"""Finds the layers of a network that can be computed quicker while it is trained."""

from __future__ import annotations

import operator
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

from engine.work.cpu_layers.convolutions import NarrowConv, is_narrow
from engine.work.cpu_layers.kernels import ADDED, FORKED, PLAIN, RECTIFIED
from engine.work.cpu_layers.norms import NormThen
from engine.work.cpu_layers.shortcuts import PaddedPart

_RELUS = (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_")
_SUMS = (operator.add, torch.add, "add")
_SUMS_IN_PLACE = (operator.iadd, "add_")


def quicker(network: nn.Module) -> nn.Module:
    """Returns what computes the same as a network does while it is trained, in less time.

    Each batch norm of maps is one operation with the ReLU, or the sum and the ReLU, that alone
    read it, and convolutions of few filters take two pixels at a time. Parameters and buffers are
    the network's own. A network that torch.fx cannot follow, or that has no such layer, is
    returned as it is. It must compute the same layers each time: what its code decides in Python
    is decided once, here. Not for several threads at a time: while it traces, torch.fx replaces
    how modules are called.
    """
    network.train()
    try:
        graph = fx.Tracer().trace(network)
    except Exception:  # networks of a person's own raise whatever they like on a proxy
        return network
    if not _lasting(network, graph):
        return network
    rewriter = _Rewriter(network, graph)
    rewriter.rewrite()
    return rewriter.module() if rewriter.parts else network


def _lasting(network: nn.Module, graph: fx.Graph) -> bool:
    """Tells whether all tensors a graph knows are the network's, none made while it was traced."""
    own = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    return all(str(node.target) in own for node in graph.nodes if node.op == "get_attr")


class _Rewriter:
    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self.network, self.graph = network, graph
        self.modules = dict(network.named_modules())
        self.parts: dict[str, NormThen | NarrowConv | PaddedPart] = {}

    def module(self) -> fx.GraphModule:
        """Returns the network with the parts there are now instead of its norms."""
        root: dict[str, Any] = {
            str(node.target): self._attribute(str(node.target))
            for node in self.graph.nodes
            if node.op in ("call_module", "get_attr")
        }
        return fx.GraphModule(root, self.graph)

    def _attribute(self, name: str) -> Any:
        if name in self.parts:
            return self.parts[name]
        place, _, last = name.rpartition(".")
        return getattr(self.network.get_submodule(place), last)

    def rewrite(self) -> None:
        """Puts parts in the place of all layers that they can compute."""
        for node in list(self.graph.nodes):
            if node.target is functional.pad and len(node.args) >= 2:
                self._shorten(node)
            elif len(node.args) != 1 or node.kwargs:
                continue
            elif self._is(node, nn.BatchNorm2d):
                self._join(node)
            elif self._is(node, nn.Conv2d):
                conv = self.modules[str(node.target)]
                assert isinstance(conv, nn.Conv2d)
                read = cast("fx.Node", node.args[0])
                if is_narrow(conv) and read.op != "placeholder":  # images have no gradient
                    node.target = self._named(NarrowConv(conv))
        for node in list(self.graph.nodes):
            part = self.parts.get(str(node.target))
            if isinstance(part, NormThen) and part.kind == ADDED:
                self._fork(node, part)

    def _named(self, part: NormThen | NarrowConv | PaddedPart) -> str:
        name = f"part_{len(self.parts)}"
        self.parts[name] = part
        return name

    def _is(self, node: Any, kind: type[nn.Module]) -> bool:
        """Tells whether a node calls a module of just this kind, which nobody listens to."""
        if not isinstance(node, fx.Node) or node.op != "call_module":
            return False
        module = self.modules.get(str(node.target))
        return type(module) is kind and not (module._forward_hooks or module._forward_pre_hooks)

    def _join(self, norm: fx.Node) -> None:
        last, kind, shortcut = norm, PLAIN, None
        following = _only_user(norm)
        if following is not None and self._rectifies(following):
            last, kind = following, RECTIFIED
        elif following is not None and (other := _added(norm, following)) is not None:
            after = _only_user(following)
            if after is not None and self._rectifies(after):
                last, kind, shortcut = after, ADDED, other
        module = self.modules[str(norm.target)]
        assert isinstance(module, nn.BatchNorm2d)
        name = self._named(NormThen(module, kind))
        given = (norm.args[0],) if shortcut is None else (norm.args[0], shortcut)
        with self.graph.inserting_before(last):
            joined = self.graph.call_module(name, given)
        last.replace_all_uses_with(joined)
        self.graph.erase_node(last)
        if kind == ADDED:
            assert following is not None
            self.graph.erase_node(following)
        if last is not norm:
            self.graph.erase_node(norm)

    def _rectifies(self, node: fx.Node) -> bool:
        if self._is(node, nn.ReLU):
            return True
        return node.op in ("call_function", "call_method") and node.target in _RELUS

    def _fork(self, node: fx.Node, part: NormThen) -> None:
        """Has a part add up the gradients of its readers, where there are two or more."""
        readers = list(node.users)
        if len(readers) < 2 or not all(self._only_reads(reader) for reader in readers):
            return
        part.kind = FORKED
        with self.graph.inserting_after(node):
            one, other = (self.graph.call_function(operator.getitem, (node, i)) for i in (0, 1))
        for reader in readers:
            reader.replace_input_with(node, one if reader is readers[0] else other)

    def _only_reads(self, node: fx.Node) -> bool:
        """Tells whether a node surely leaves what it reads as it is."""
        return self._is(node, nn.Conv2d) or str(node.target) in self.parts

    def _shorten(self, pad: fx.Node) -> None:
        """Puts one part in the place of a slice and the zeros put around it."""
        part, padding, *rest = cast("list[Any]", pad.args)
        others = [*rest, *pad.kwargs.values()]
        if not isinstance(part, fx.Node) or part.target is not operator.getitem:
            return
        index: Any = part.args[1]
        if (
            len(part.users) == 1
            and isinstance(index, tuple)
            and all(isinstance(i, slice) and _constant(i.start, i.stop, i.step) for i in index)
            and isinstance(padding, tuple | list)
            and _constant(*padding)
            and all(other in ("constant", None, 0) for other in others)
        ):
            pad.target = self._named(PaddedPart(index, tuple(padding)))
            pad.op, pad.args, pad.kwargs = "call_module", (part.args[0],), {}
            self.graph.erase_node(part)


def _constant(*values: Any) -> bool:
    return all(value is None or isinstance(value, int) for value in values)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _added(norm: fx.Node, node: fx.Node) -> fx.Node | None:
    """Returns what a node adds to a norm's maps; None if it does not, or to something else."""
    if node.op not in ("call_function", "call_method") or len(node.args) != 2 or node.kwargs:
        return None
    one, other = node.args
    if not isinstance(one, fx.Node) or not isinstance(other, fx.Node) or one is other:
        return None
    if node.target in _SUMS:
        return other if one is norm else one
    return other if node.target in _SUMS_IN_PLACE and one is norm else None
