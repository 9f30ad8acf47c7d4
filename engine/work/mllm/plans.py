"""Slice plans of vision-language models, written by hand: heads and neurons of both transformers.

A dependency graph hangs on the attention of transformers' models. What is planned here is tried
like every plan: the slim network has to compute what the masked one does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from engine.errors import UsageError
from engine.work.mllm.network import Answerer
from engine.work.surgery import LayerPlan, Slice, SlicePlan

_BLOCK = re.compile(r"(?:.+\.)?layers\.(\d+)")
_QUERIES, _KEYS, _VALUES = "q_proj", "k_proj", "v_proj"
_PROJECTIONS = ("o_proj", "out_proj", "dense")
# What makes the neurons of an MLP, and what reads them.
_MLPS = ((("gate_proj", "up_proj"), "down_proj"), (("fc1",), "fc2"))


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where a family of models has its parts.

    Attributes:
        title: The family in words.
        vision: Name of the vision tower.
        language: Name of the language model.
    """

    title: str
    vision: str
    language: str


# By the model type that a config names. TinyLLaVA is LLaVA's classes around other parts: a SigLIP
# tower and a Phi or TinyLlama language model.
ADAPTERS: Mapping[str, Adapter] = {
    "llava": Adapter("LLaVA", "model.vision_tower", "model.language_model"),
    "idefics3": Adapter("Idefics3", "model.vision_model", "model.text_model"),
    "smolvlm": Adapter("SmolVLM", "model.vision_model", "model.text_model"),
}


def adapter_of(config: Any) -> Adapter:
    """Returns the adapter for a config; raises UsageError where there is none."""
    kind = str(getattr(config, "model_type", ""))
    if kind not in ADAPTERS:
        known = ", ".join(adapter.title for adapter in ADAPTERS.values())
        raise UsageError(
            f"Models of the type {kind!r} are not known here; choose one of {known}, or add an "
            "adapter."
        )
    return ADAPTERS[kind]


def dialogue_plan(network: Answerer) -> SlicePlan:
    """Returns the plan of a vision-language model: tower first, then the language model."""
    adapter = adapter_of(network.config)
    layers: list[LayerPlan] = []
    refused: list[tuple[str, str]] = []
    for root, read in (
        (adapter.vision, _blocks_read(network, adapter)),
        (adapter.language, None),
    ):
        for name, module in network.get_submodule(root).named_modules(prefix=root):
            if (block := _block_of(name.rpartition(".")[0])) is None:
                continue
            for plan in (*_heads(name, module), *_neurons(name, module)):
                if read is not None and block >= read:
                    refused.append((plan.layer, "the language model reads an earlier block"))
                else:
                    layers.append(plan)
    return SlicePlan(tuple(layers), tuple(refused))


def _block_of(name: str) -> int | None:
    found = _BLOCK.fullmatch(name)
    return int(found[1]) if found else None


def _blocks_read(network: Answerer, adapter: Adapter) -> int | None:
    """Returns how many of the tower's blocks come before the features that are read."""
    chosen = getattr(network.config, "vision_feature_layer", None)
    if chosen is None:
        return None
    chosen = [chosen] if isinstance(chosen, int) else list(chosen)
    tower = network.get_submodule(adapter.vision)
    count = sum(_block_of(name) is not None for name, _ in tower.named_modules())
    # The features of layer 0 are the embeddings; those of -1 come out of the last block.
    return max(int(layer) if layer >= 0 else count + 1 + int(layer) for layer in chosen)


def _heads(name: str, module: nn.Module) -> Iterator[LayerPlan]:
    """Yields the plan of an attention, whose heads go in groups that share keys and values."""
    parts = dict(module.named_children())
    projection = next((each for each in _PROJECTIONS if each in parts), None)
    if projection is None or not {_QUERIES, _KEYS, _VALUES} <= parts.keys():
        return
    width = int(module.head_dim)  # type: ignore[arg-type]
    groups = _rows(parts[_KEYS]) // width
    shared = _rows(parts[_QUERIES]) // (groups * width)
    own = [
        *_made(f"{name}.{_QUERIES}", parts[_QUERIES], shared * width),
        *_made(f"{name}.{_KEYS}", parts[_KEYS], width),
        *_made(f"{name}.{_VALUES}", parts[_VALUES], width),
    ]
    reads = Slice(f"{name}.{projection}.weight", 1, shared * width)
    kind = "heads" if shared == 1 else "head groups"
    yield LayerPlan(name, groups, tuple(own), (reads,), kind)


def _neurons(name: str, module: nn.Module) -> Iterator[LayerPlan]:
    parts = dict(module.named_children())
    for makers, reader in _MLPS:
        if reader in parts and all(maker in parts for maker in makers):
            own = [part for maker in makers for part in _made(f"{name}.{maker}", parts[maker], 1)]
            reads = Slice(f"{name}.{reader}.weight", 1)
            yield LayerPlan(name, _rows(parts[makers[0]]), tuple(own), (reads,), "neurons")


def _made(name: str, module: nn.Module, block: int) -> Iterator[Slice]:
    yield Slice(f"{name}.weight", 0, block)
    if module.bias is not None:
        yield Slice(f"{name}.bias", 0, block)


def _rows(module: nn.Module) -> int:
    return int(module.out_features)  # type: ignore[arg-type]
