"""Classification models of torchvision and timm, by the names these libraries give them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from engine.catalog import ModelInfo
from engine.errors import UsageError
from engine.work.models.family import Family
from engine.work.models.transformers import attention_plans, transformer_plan, with_free_heads
from engine.work.surgery import SlicePlan
from engine.work.vision_ops import declare_vision_ops


class LibraryFamily(Family):
    """Models of others, in which attentions may be found among what the graph follows."""

    def plan(self, info: ModelInfo, network: nn.Module) -> SlicePlan:
        """Returns a transformer's plan, or the graph's with the heads of attentions added."""
        plan = transformer_plan(network)
        if plan is not None:
            return plan
        found = super().plan(info, network)
        heads = tuple(attention_plans(network))
        inside = tuple(f"{head.layer}." for head in heads)
        return replace(
            found,
            layers=(*(p for p in found.layers if not p.layer.startswith(inside or "\0")), *heads),
        )


class TorchvisionFamily(LibraryFamily):
    """Any classification model that torchvision builds by name."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns a network with torchvision's initial weights.

        Raises:
            UsageError: torchvision has no such model, or not for this input size.
        """
        declare_vision_ops()
        from torchvision import models

        known = models.list_models(module=models)
        if info.source not in known:
            raise UsageError(_unknown("torchvision", info.source, known))
        options: dict[str, Any] = {"weights": None, "num_classes": classes}
        if info.source.startswith("vit_"):
            options["image_size"] = info.size
        if info.source in ("googlenet", "inception_v3"):
            # Auxiliary classifiers are outputs of their own, for which the study has no use.
            options |= {"aux_logits": False, "init_weights": True}
        try:
            network = models.get_model(info.source, **options)
        except Exception as error:  # whatever a constructor makes of numbers it cannot use
            raise UsageError(_not_built(info, error)) from error
        return with_free_heads(network)


class TimmFamily(LibraryFamily):
    """Any classification model that timm builds by name."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns a network with timm's initial weights.

        Raises:
            UsageError: timm has no such model, or not for this input size.
        """
        declare_vision_ops()
        import timm

        if not timm.is_model(info.source):
            raise UsageError(_unknown("timm", info.source, timm.list_models()))
        options: dict[str, Any] = {
            "pretrained": False,
            "num_classes": classes,
            "in_chans": info.channels,
        }
        try:
            try:
                network: nn.Module = timm.create_model(info.source, **options, img_size=info.size)
            except TypeError:
                # Convolutional networks take any size and do not want to be told.
                network = timm.create_model(info.source, **options)
        except Exception as error:  # whatever a constructor makes of numbers it cannot use
            raise UsageError(_not_built(info, error)) from error
        return network


def default_size(family: str, source: str) -> int:
    """Returns the input size a library's model is meant for; raises UsageError for an unknown one.

    Args:
        family: "timm" or "torchvision".
        source: The library's name of the model.
    """
    declare_vision_ops()
    if family == "timm":
        import timm

        if not timm.is_model(source):
            raise UsageError(_unknown("timm", source, timm.list_models()))
        config = timm.get_pretrained_cfg(source)
        return int(config.input_size[-1]) if config is not None else 224
    return 299 if source == "inception_v3" else 224


def _unknown(library: str, source: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(source, list(known), n=1)
    hint = f"did you mean {library}:{near[0]}?" if near else "its documentation lists them."
    return f"{library} has no classification model named {source!r}; {hint}"


def _not_built(info: ModelInfo, error: Exception) -> str:
    why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{info.name} cannot be built for images of {info.size} pixels: {why}"
