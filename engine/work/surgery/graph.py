"""Slice plans from Torch-Pruning's dependency graph, for models without a plan written by hand."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from engine.errors import UsageError
from engine.work.surgery.plan import LayerPlan, Slice, SlicePlan
from engine.work.vision_ops import declare_vision_ops

_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def plan_from_graph(model: nn.Module, example: Tensor, layers: Sequence[str]) -> SlicePlan:
    """Returns the slice plan of a model's layers, read off its dependency graph.

    Args:
        model: The whole network; left as it is.
        example: An input to trace it with, (batch, channels, height, width).
        layers: Names of convolutions or linear layers, in the order of the forward pass.

    Raises:
        UsageError: A layer's filters cannot be taken out by slices of one piece each.
    """
    # Imported here: it brings torchvision along, about 2 s that most studies need not wait.
    declare_vision_ops()
    import torch_pruning

    training = model.training
    graph = torch_pruning.DependencyGraph().build_dependency(model.eval(), example)
    modules = dict(model.named_modules())
    names = {module: name for name, module in modules.items()}
    plans = []
    for layer in layers:
        module = modules.get(layer)
        if not isinstance(module, nn.Conv2d | nn.Linear):
            raise UsageError(f"{layer!r} is no convolution or linear layer of this model.")
        filters = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features
        prune = graph.get_pruner_of_module(module).prune_out_channels
        own: list[Slice] = []
        following: list[Slice] = []
        for dependency, indices in graph.get_pruning_group(module, prune, list(range(filters))):
            target = dependency.target.module
            if target not in names or next(target.parameters(), None) is None:
                continue
            if list(indices) != list(range(len(indices))) or len(indices) % filters:
                raise UsageError(
                    f"The filters of {layer!r} cannot be pruned: {names[target]!r} reads them "
                    "beside those of other layers; choose another layer."
                )
            produces = graph.is_out_channel_pruning_fn(dependency.handler)
            slices = _slices(names[target], target, produces, len(indices) // filters)
            (own if target is module and produces else following).extend(slices)
        plans.append(LayerPlan(layer, filters, tuple(own), tuple(following)))
    model.train(training)
    return SlicePlan(tuple(plans))


def _slices(name: str, module: nn.Module, produces: bool, block: int) -> list[Slice]:
    """A producer or norm has its filters in dimension 0 of every tensor, a consumer in 1."""
    if not produces:
        return [Slice(f"{name}.weight", 1, block)]
    return [
        Slice(f"{name}.{tensor}", 0, block)
        for tensor in _PER_CHANNEL
        if getattr(module, tensor, None) is not None
    ]
