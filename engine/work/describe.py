"""Looks into a model: which layers can be pruned, which cannot and why, and what it costs.

What a plan claims is tried: a layer counts as prunable only where the slim network computes what
the whole one computes when nothing reads the pruned filters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.catalog import MODELS
from engine.described import (
    INSTALLED,
    digest_of,
    installed_model,
    release_of,
    split_file,
    split_hub,
    split_size,
)
from engine.errors import UsageError
from engine.model_info import CLASSES, CostTerm, LayerInfo, ModelInfo, pick
from engine.recipe import IMAGENET_PRETRAIN, RESNET18_RETRAIN
from engine.work.models import family_of
from engine.work.models.from_file import named_in_file
from engine.work.models.installed import loaded
from engine.work.models.libraries import default_size
from engine.work.models.vision_language import hub_facts
from engine.work.surgery import (
    LayerPlan,
    SlicePlan,
    emptied,
    fitted,
    slim_state,
    weight_tensors,
)
from engine.work.surgery.graph import OUTPUTS

_CLASSES = 10
_TRIED_IMAGES = 2
# Of float32 logits that are of the order of 1, after a hundred layers.
_TOLERANCE = 2e-3
# Statistics over the pruned dimension make the slim network another function, as intended.
_OTHER_FUNCTION = "dimensions"


def describe_model(name: str) -> ModelInfo:
    """Returns the facts of a model outside the catalog, in the notation of `engine.described`.

    Raises:
        UsageError: There is no such model, or nothing in it can be pruned.
    """
    return with_counts(_named(name))


def with_counts(info: ModelInfo) -> ModelInfo:
    """Returns the facts of a model with its prunable layers and its costs.

    Raises:
        UsageError: It cannot be built, or nothing in it can be pruned.
    """
    network = _randomised(family_of(info).build(info, _CLASSES))
    _check_answers(info, network)
    plan = _tried(info, network, family_of(info).plan(info, network))
    state = network.state_dict()
    if not plan.layers:
        why = "; ".join(f"{layer}: {reason}" for layer, reason in plan.refused[:3])
        raise UsageError(f"Nothing of {info.name} can be pruned ({why or 'it has no layers'}).")
    return replace(
        info,
        layers=tuple(
            LayerInfo(
                layer.layer,
                layer.filters,
                layer.kind,
                layer.members,
                sum(state[name].numel() for name in weight_tensors(layer, state)),
            )
            for layer in plan.layers
        ),
        cost=tuple(_cost(info, network, plan)),
        classes=_CLASSES,
        refused=plan.refused,
    )


def _named(name: str) -> ModelInfo:
    base, size = split_size(name)
    file = split_file(base)
    if file is not None:
        made = named_in_file(base)
        side = size or int(getattr(made, "size", 32))
        channels = int(getattr(made, "channels", 3))
        title = f"{file[1]} of {file[0].name}"
        return _facts(name, title, "file", base, channels, side, digest_of(file[0]))
    if split_hub(name) is not None:
        return hub_facts(name)
    family, _, source = base.partition(":")
    if family == INSTALLED:
        made = loaded(source)
        side = size or int(getattr(made, "size", 32))
        channels = int(getattr(made, "channels", 3))
        title = f"{source} of {installed_model(source).module}"
        release = release_of(installed_model(source))
        return _facts(name, title, family, source, channels, side, release)
    if source:
        side = size or default_size(family, source)
        return _facts(name, f"{source} ({family})", family, source, 3, side)
    info = pick(MODELS, base, "There is no model")
    return replace(info, name=name, title=f"{info.title} at {size}", size=size or info.size)


def _facts(
    name: str, title: str, family: str, source: str, channels: int, size: int, digest: str = ""
) -> ModelInfo:
    return ModelInfo(
        name, title, family, channels, size, (), (), IMAGENET_PRETRAIN, RESNET18_RETRAIN,
        source=source, digest=digest,
    )  # fmt: skip


def _randomised(network: nn.Module) -> nn.Module:
    """Gives every tensor values that no symmetry can hide behind; norms neither amplify nor mute.

    Draws from a generator of its own.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "running_var" in name:
                tensor.copy_(1 + 0.2 * noise.abs())
            elif tensor.ndim < 2:
                centre = 0.0 if "bias" in name or "running_mean" in name else 1.0
                tensor.copy_(centre + 0.1 * noise)
            else:
                fan_in = max(1, tensor[0].numel())
                tensor.copy_(noise * math.sqrt(2 / fan_in))
    return network.eval()


def _check_answers(info: ModelInfo, network: nn.Module) -> None:
    try:
        with torch.no_grad():
            logits = network(family_of(info).example(info, _TRIED_IMAGES))
    except Exception as error:  # whatever a model's forward raises
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"{info.name} does not take {info.channels} x {info.size} x {info.size} images: {why}"
        ) from error
    shape = family_of(info).answers(_CLASSES, _TRIED_IMAGES)
    if not isinstance(logits, Tensor) or shape not in (None, logits.shape):
        raise UsageError(f"{info.name} gives no logits of shape (images, classes).")


def _tried(info: ModelInfo, network: nn.Module, plan: SlicePlan) -> SlicePlan:
    """Returns the plan without the layers for which it does not hold, all tried at once if it can.

    The images are small numbers of all signs: what the network makes of them is compared.
    """
    generator = torch.Generator().manual_seed(1)
    images = family_of(info).example(info, _TRIED_IMAGES, generator)
    template = emptied(family_of(info).build(info, _CLASSES)).eval()

    def trouble(layers: Sequence[LayerPlan]) -> str:
        return _trouble(network, template, SlicePlan(tuple(layers)), images)

    if not trouble(plan.layers):
        return plan
    good: list[LayerPlan] = []
    refused = list(plan.refused)
    for layer in plan.layers:
        why = trouble([layer])
        if why:
            refused.append((layer.layer, why))
        else:
            good.append(layer)
    return SlicePlan(tuple(good), tuple(refused))


def _trouble(network: nn.Module, template: nn.Module, plan: SlicePlan, images: Any) -> str:
    """Says why the slim network is not the whole one without the filters; empty where it is."""
    state = network.state_dict()
    generator = torch.Generator().manual_seed(2)
    kept = {}
    for layer in plan:
        if layer.filters < 2:
            return "it has only one filter"
        order = torch.randperm(layer.filters, generator=generator).tolist()
        kept[layer.layer] = sorted(order[: -(-layer.filters // 2)])
    missing = [part.tensor for one in plan for part in (*one.own, *one.following)
               if part.tensor not in state]  # fmt: skip
    if missing:
        return f"{missing[0]} is no tensor of its own"
    with torch.no_grad():
        try:
            slim = fitted(template, slim_state(state, plan, kept)).eval()
            found = slim(images)
        except Exception as error:  # whatever shapes that do not fit raise
            why = str(error).strip().splitlines()[0][:120] if str(error).strip() else repr(error)
            return f"without some of its filters the network does not run ({_printable(why)})"
        if any(layer.kind == _OTHER_FUNCTION for layer in plan):
            return "" if bool(torch.isfinite(found).all()) else "the slim network is not finite"
        expected = torch.func.functional_call(network, masked_state(state, plan, kept), (images,))
    if found.shape != expected.shape:
        return OUTPUTS
    scale = float(expected.abs().max().clamp(min=1e-3))
    if not bool(torch.isfinite(expected).all()):
        return "the network is not finite on random weights"
    if float((found - expected).abs().max()) > _TOLERANCE * scale:
        return "something computes statistics over its filters, or uses them in another way"
    return ""


def masked_state(
    state: dict[str, Tensor], plan: SlicePlan, kept: dict[str, list[int]]
) -> dict[str, Tensor]:
    """Returns the state of the whole network in which nothing reads the pruned filters.

    The inputs of every consumer are zero for them; norms and depthwise convolutions do not matter.
    """
    masked = {name: tensor.clone() for name, tensor in state.items()}
    for layer, stay in kept.items():
        gone = sorted(set(range(plan[layer].filters)) - set(stay))
        for part in plan[layer].following:
            if part.dim == 1:
                for index in gone:
                    start = part.offset + index * part.block
                    masked[part.tensor].narrow(1, start, part.block).zero_()
    return masked


def _cost(info: ModelInfo, network: nn.Module, plan: SlicePlan) -> Iterator[CostTerm]:
    """Walks the parts of the cost, those that scale with the same layers added up."""
    uses, products = _watched(info, network)
    sums: dict[tuple[str, ...], tuple[int, int]] = {}

    def add(work: int, parameters: int, scales: tuple[str, ...]) -> None:
        before = sums.get(scales, (0, 0))
        sums[scales] = (before[0] + work, before[1] + parameters)

    cuts = _cuts(plan)
    heads = [name for name, reason in plan.refused if reason == OUTPUTS]
    classes = {f"{name}.{part}" for name in heads for part in ("weight", "bias")}
    for name, parameter in network.named_parameters():
        pieces = [
            _split(length, cuts.get((name, dim), [])) for dim, length in enumerate(parameter.shape)
        ]
        if name in classes:
            pieces[0] = [(parameter.shape[0], CLASSES)]
        for size, scales in _combined(pieces):
            add(size * uses.get(name, 0), size, scales)
    for name, work in products.items():
        add(work, 0, (name,) if any(layer.layer == name for layer in plan) else ())
    for scales, (work, parameters) in sums.items():
        yield CostTerm(work, parameters, scales)


def _cuts(plan: SlicePlan) -> dict[tuple[str, int], list[tuple[int, int, str]]]:
    """Returns, per tensor and dimension, the (start, length, layer) of what layers index there."""
    cuts: dict[tuple[str, int], list[tuple[int, int, str]]] = {}
    for layer in plan:
        for part in (*layer.own, *layer.following):
            piece = (part.offset, layer.filters * part.block, layer.layer)
            cuts.setdefault((part.tensor, part.dim), []).append(piece)
    return cuts


def _split(length: int, cuts: list[tuple[int, int, str]]) -> list[tuple[int, str]]:
    """Returns (length, layer) of the pieces of a dimension; "" for what always stays."""
    sizes: dict[str, int] = {}
    for _, size, layer in cuts:
        sizes[layer] = sizes.get(layer, 0) + size
    rest = length - sum(sizes.values())
    return [(size, layer) for layer, size in sizes.items()] + ([(rest, "")] if rest else [])


def _combined(pieces: list[list[tuple[int, str]]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Walks the products of the pieces of all dimensions, with the layers each scales with."""
    if not pieces:
        yield 1, ()
        return
    for size, layer in pieces[0]:
        for rest, layers in _combined(pieces[1:]):
            yield size * rest, (layer, *layers) if layer else layers


def _watched(info: ModelInfo, network: nn.Module) -> tuple[dict[str, int], dict[str, int]]:
    """Runs one image through the network.

    Returns:
        How often each weight is multiplied; and the multiply-adds that attentions spend beside
        their weights.
    """
    uses: dict[str, int] = {}
    products: dict[str, int] = {}

    def layer_ran(name: str, module: nn.Module, output: Tensor) -> None:
        width = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features
        times = output.numel() // int(width)  # type: ignore[arg-type]
        uses[f"{name}.weight"] = uses.get(f"{name}.weight", 0) + times

    def attention_ran(name: str, module: nn.Module, tokens: int) -> None:
        queries = getattr(module, "q_proj", None)
        heads = module.num_heads if queries is None else queries.out_features // module.head_dim
        width = int(heads) * int(module.head_dim)  # type: ignore[arg-type]
        products[name] = products.get(name, 0) + 2 * tokens * tokens * width
        if hasattr(module, "in_proj_weight"):
            uses[f"{name}.in_proj_weight"] = uses.get(f"{name}.in_proj_weight", 0) + tokens

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            hooks.append(
                module.register_forward_hook(lambda m, _, out, name=name: layer_ran(name, m, out))
            )
        elif hasattr(module, "head_dim") and (
            hasattr(module, "num_heads") or hasattr(module, "q_proj")
        ):
            hooks.append(
                module.register_forward_pre_hook(
                    lambda m, given, named, name=name: attention_ran(
                        name, m, (given[0] if given else named["hidden_states"]).shape[1]
                    ),
                    with_kwargs=True,
                )
            )
    try:
        with torch.no_grad():
            network(family_of(info).example(info, 1))
    finally:
        for hook in hooks:
            hook.remove()
    return uses, products


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
