"""Slice plans from Torch-Pruning's dependency graph, for models without a plan written by hand."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import UsageError
from engine.work.surgery.plan import LayerPlan, Slice, SlicePlan
from engine.work.vision_ops import declare_vision_ops

_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")

# Why a classifier is not pruned.
OUTPUTS = "its filters are the model's outputs"

LayerTypes = (nn.Conv2d, nn.Linear)


class _Unfit(Exception):
    """Why a layer's filters cannot be taken out by slices; its text ends a sentence."""


class _GroupedConv(nn.Conv2d):
    """A convolution of several groups, as the graph is to see it: channels go straight through."""


def plan_from_graph(
    model: nn.Module, example: Tensor, layers: Sequence[str] | None = None
) -> SlicePlan:
    """Returns the slice plan of a model's layers, read off its dependency graph.

    Layers whose outputs are added up lose the same filters: they are one entry of the plan, under
    the name of the first. Of a layer that a grouped convolution reads, whole groups are pruned.

    Args:
        model: The whole network; left as it is.
        example: An input to trace it with, (batch, channels, height, width).
        layers: Names of convolutions or linear layers, in the order of the forward pass. None: all
            there are; then those that cannot be pruned are told in the plan's `refused`.

    Raises:
        UsageError: A named layer's filters cannot be taken out by slices.
    """
    modules = dict(model.named_modules())
    for name in layers or ():
        if not isinstance(modules.get(name), LayerTypes):
            raise UsageError(f"{name!r} is no convolution or linear layer of this model.")
    training = model.training
    with _grouped_convolutions_marked(model):
        graph = _traced(model.eval(), example)
        names = {module: name for name, module in modules.items()}
        names.update({parameter: name for name, parameter in model.named_parameters()})
        plans: list[LayerPlan] = []
        refused: list[tuple[str, str]] = []
        covered: set[str] = set()
        order, last = _layers_in_order(model, example)
        if layers is None and last:
            refused.append((last, OUTPUTS))
            covered.add(last)
        for name in layers if layers is not None else order:
            if layers is None and name in covered:
                continue
            try:
                plan = _layer_plan(graph, modules[name], name, names)
            except _Unfit as reason:
                if layers is not None:
                    raise UsageError(
                        f"The filters of {name!r} cannot be pruned: {reason}; choose another layer."
                    ) from reason
                refused.append((name, str(reason)))
                continue
            plans.append(plan)
            covered.update(plan.members)
    model.train(training)
    return SlicePlan(tuple(plans), tuple(refused))


def _traced(model: nn.Module, example: Tensor) -> Any:
    # Imported here: it brings torchvision along, about 2 s that most studies need not wait.
    declare_vision_ops()
    import torch_pruning

    class _StraightThrough(torch_pruning.pruner.function.DepthwiseConvPruner):  # type: ignore[misc]
        """What goes in at a channel comes out at it."""

    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            torch.enable_grad(),
        ):
            warnings.simplefilter("ignore")
            return torch_pruning.DependencyGraph().build_dependency(
                model,
                example,
                customized_pruners={_GroupedConv: _StraightThrough()},
                verbose=False,
            )
    except Exception as error:  # whatever a model's own forward or the tracer raises
        raise UsageError(
            f"The dependencies of this model's layers cannot be traced: {error!r}."
        ) from error


@contextmanager
def _grouped_convolutions_marked(model: nn.Module) -> Iterator[None]:
    """Has convolutions of more than one group, but no depthwise ones, be `_GroupedConv`s."""
    marked: list[tuple[nn.Module, type]] = []
    for module in model.modules():
        if type(module) is nn.Conv2d and 1 < module.groups < module.out_channels:
            marked.append((module, type(module)))
            module.__class__ = _GroupedConv
    try:
        yield
    finally:
        for module, kind in marked:
            module.__class__ = kind


def _layers_in_order(model: nn.Module, example: Tensor) -> tuple[list[str], str]:
    """Returns the names of convolutions and linear layers in the order of the forward pass.

    And which of them gives the model's outputs, "" where none does so itself.
    """
    order: dict[str, None] = {}
    gave: dict[str, Tensor] = {}

    def began(name: str) -> None:
        order.setdefault(name)

    def ended(name: str, output: Tensor) -> None:
        gave.clear()
        gave[name] = output

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, LayerTypes) and not _straight_through(module):
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: began(name)))
            hooks.append(module.register_forward_hook(lambda *a, name=name: ended(name, a[2])))
    try:
        with torch.no_grad():
            outputs = model(example)
    finally:
        for hook in hooks:
            hook.remove()
    last = [name for name, output in gave.items() if torch.equal(output, outputs)]
    return list(order), last[0] if last else ""


def _straight_through(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups > 1


def _layer_plan(graph: Any, module: nn.Module, layer: str, names: dict[Any, str]) -> LayerPlan:
    if isinstance(module, nn.Conv2d):
        channels, kind = module.out_channels, "filters"
    else:
        assert isinstance(module, nn.Linear)
        channels, kind = module.out_features, "neurons"
    if module not in graph.module2node:
        raise _Unfit("the graph of the model does not reach it")
    prune = graph.get_pruner_of_module(module).prune_out_channels
    group = list(graph.get_pruning_group(module, prune, list(range(channels))))
    width = _width(channels, group)
    own: list[Slice] = []
    following: list[Slice] = []
    members: list[str] = []
    for item in group:
        target = item.dep.target.module
        if type(target).__name__ == "_OutputOp":
            raise _Unfit(OUTPUTS)
        if target not in names:
            continue
        produces = graph.is_out_channel_pruning_fn(item.dep.handler)
        name = names[target]
        if isinstance(target, nn.Parameter):
            dims = [(name, dim) for p, dim in graph.unwrapped_parameters if p is target]
        elif next(target.parameters(), None) is None:
            continue
        else:
            dims = _dimensions(name, target, produces)
        root = target is module and produces
        added = produces and isinstance(target, LayerTypes) and not _straight_through(target)
        pieces = _pieces(name, item.idxs, item.root_idxs, channels, width)
        slices = [Slice(*dim, block, offset) for dim in dims for block, offset in pieces]
        (own if root or added else following).extend(slices)
        if added and not root:
            members.append(name)
    kind = "groups" if width > 1 else kind
    return LayerPlan(layer, channels // width, _once(own), _once(following), kind, tuple(members))


def _width(channels: int, group: list[Any]) -> int:
    """Channels that go together because grouped convolutions read them: 1 where none does."""
    width = 1
    for item in group:
        target = item.dep.target.module
        if isinstance(target, _GroupedConv):
            if target.in_channels != target.out_channels:
                raise _Unfit("a grouped convolution that reads it changes the number of channels")
            width = math.lcm(width, target.out_channels // target.groups)
        elif isinstance(target, nn.GroupNorm) and target.num_groups > 1:
            raise _Unfit("a group norm computes its statistics over several of its channels")
    if channels % width or channels == width:
        raise _Unfit("the groups of the convolutions that read it cannot be taken out one by one")
    return width


def _dimensions(name: str, module: nn.Module, produces: bool) -> list[tuple[str, int]]:
    """A producer or norm has its filters in dimension 0 of every tensor, a consumer in 1."""
    if isinstance(module, nn.MultiheadAttention | nn.LSTM):
        raise _Unfit(f"{name} reads them in a way that slices cannot follow")
    if not produces:
        return [(f"{name}.weight", 1)]
    return [
        (f"{name}.{tensor}", 0)
        for tensor in _PER_CHANNEL
        if getattr(module, tensor, None) is not None
    ]


def _pieces(
    name: str, indices: Sequence[int], roots: Sequence[int], channels: int, width: int
) -> list[tuple[int, int]]:
    """Returns (block, offset) of each run of indices that holds all filters in order."""
    owner = {int(index): int(root) // width for index, root in zip(indices, roots, strict=True)}
    filters = channels // width
    order = sorted(owner)
    pieces = []
    place = 0
    while place < len(order):
        start = order[place]
        block = next(
            (n for n in range(len(order) - place) if owner.get(start + n) != 0),
            len(order) - place,
        )
        span = [owner.get(start + n) for n in range(filters * block)]
        if block == 0 or span != [f for f in range(filters) for _ in range(block)]:
            raise _Unfit(f"{name!r} reads them in another order, or not all of them")
        pieces.append((block, start))
        place += filters * block
    return pieces


def _once(slices: list[Slice]) -> tuple[Slice, ...]:
    return tuple(dict.fromkeys(slices))
