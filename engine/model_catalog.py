"""The models that come with the program. What is counted of them is a shipped file of facts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from engine.errors import UsageError
from engine.folders import shipped_folder
from engine.model_info import LayerInfo, ModelInfo
from engine.recipe import (
    CIFAR_PRETRAIN,
    CIFAR_RETRAIN,
    IMAGENET_PRETRAIN,
    LENET_PRETRAIN,
    LENET_RETRAIN,
    RESNET18_RETRAIN,
    RESNET50_RETRAIN,
    VGG_PRETRAIN,
    VGG_RETRAIN,
    VIT_PRETRAIN,
    VIT_RETRAIN,
    Recipe,
)

FACTS_FILE = "models.json"

# Vision-language models, for which the protocol has no recipe: AdamW, as LLaVA was tuned.
DIALOGUE_PRETRAIN = Recipe(
    16, 1.5e-3, weight_decay=0.05, batch_size=64, optimiser="adamw", schedule="cosine", warmup=1,
    clip=1.0,
)  # fmt: skip
DIALOGUE_RETRAIN = replace(DIALOGUE_PRETRAIN, epochs=2, learning_rate=1e-3, warmup=0)
# As LLaVA 1.5 was tuned. What comes with its weights is not trained before it is pruned, and this
# stands where a spec needs a recipe for that.
DIALOGUE_TUNE = Recipe(
    1, 2e-5, weight_decay=0.0, batch_size=16, optimiser="adamw", schedule="cosine", clip=1.0
)

# What the protocol prunes: the first convolution of every block; of blocks with three, also the
# second, and the stem.
_FIRST_CONVS = "layer*.conv1"
_INNER_CONVS = "conv1,layer*.conv1,layer*.conv2"


def _lenet(
    name: str, title: str, widths: tuple[int, int, int], hidden: tuple[int, ...]
) -> ModelInfo:
    layers = tuple(LayerInfo(f"conv{i}", width) for i, width in enumerate(widths, start=1))
    return ModelInfo(name, title, "lenet", 1, 32, layers, hidden, LENET_PRETRAIN, LENET_RETRAIN)


def _other(
    name: str,
    title: str,
    family: str,
    source: str,
    size: int,
    recipes: tuple[Recipe, Recipe],
    usual: str,
) -> ModelInfo:
    return ModelInfo(name, title, family, 3, size, (), (), *recipes, source=source, usual=usual)


def uncounted() -> Iterator[ModelInfo]:
    """Walks the catalog without what is counted: no costs, and layers only where they define it."""
    yield _lenet("lenet5-mini", "LeNet5-Mini", (10, 10, 10), (10,))
    for width in (20, 30, 40):
        title = f"LeNet5-Mini w{width}"
        yield _lenet(f"lenet5-mini-w{width}", title, (width, 10, 10), (10,))
    for depth in (6, 7, 8, 9):
        title = f"LeNet5-Mini d{depth}"
        yield _lenet(f"lenet5-mini-d{depth}", title, (10, 10, 10), (10,) * (depth - 4))
    yield _lenet("lenet5", "LeNet5", (6, 16, 120), (84,))
    for depth in (11, 13, 16, 19):
        name = f"vgg{depth}"
        recipes = VGG_PRETRAIN, VGG_RETRAIN
        yield _other(name, f"VGG{depth}-BN", "cifar-vgg", name, 32, recipes, "features.*")
    for depth in (20, 56, 110):
        name = f"resnet{depth}"
        recipes = CIFAR_PRETRAIN, CIFAR_RETRAIN
        yield _other(name, f"ResNet{depth}", "cifar-resnet", name, 32, recipes, _FIRST_CONVS)
    for depth in (18, 34):
        name = f"resnet{depth}"
        recipes = IMAGENET_PRETRAIN, RESNET18_RETRAIN
        yield _other(name, f"ResNet{depth}", "torchvision", name, 224, recipes, _FIRST_CONVS)
    for depth in (50, 101):
        name = f"resnet{depth}"
        recipes = IMAGENET_PRETRAIN, RESNET50_RETRAIN
        yield _other(name, f"ResNet{depth}", "torchvision", name, 224, recipes, _INNER_CONVS)
    for name, title, family, source in (
        ("vit-b16", "ViT-B/16", "torchvision", "vit_b_16"),
        ("vit-b16-timm", "ViT-B/16 (timm)", "timm", "vit_base_patch16_224"),
    ):
        yield _other(name, title, family, source, 224, (VIT_PRETRAIN, VIT_RETRAIN), "*")
    recipes = DIALOGUE_PRETRAIN, DIALOGUE_RETRAIN
    yield _other("tiny-llava", "Tiny-LLaVA", "mllm", "tiny-llava", 28, recipes, "*")


def with_facts(info: ModelInfo, facts: Mapping[str, Any]) -> ModelInfo:
    """Returns a model with what was counted of it; raises UsageError where that is no such thing.

    The recipes, the title and what its builder is told stay those of the catalog.
    """
    try:
        told = {**info.to_json(), **{key: facts[key] for key in ("layers", "cost", "refused")}}
    except KeyError as error:
        raise UsageError(f"The facts of {info.name} lack {error}.") from error
    counted = ModelInfo.from_json(told)
    return replace(info, layers=counted.layers, cost=counted.cost, refused=counted.refused)


def load_models() -> dict[str, ModelInfo]:
    """Returns the catalog, keyed by name.

    Raises:
        UsageError: The shipped facts are missing or damaged.
    """
    path = shipped_folder() / FACTS_FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return {info.name: with_facts(info, facts[info.name]) for info in uncounted()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"The facts of the models, {path}, are damaged ({error!r}); install the package again."
        ) from error
