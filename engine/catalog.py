"""What can be chosen: models with their prunable layers, and data sets. Facts only, no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from engine.errors import UsageError
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN, Recipe

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A prunable layer: its name in the model and how many filters it has."""

    name: str
    filters: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model of the study.

    Attributes:
        name: What a person types.
        title: How it is shown.
        family: Models of one family share a builder on the working floor.
        channels: Input channels.
        size: Input height and width in pixels.
        layers: Prunable layers, in the order of the forward pass.
        hidden: Widths of the hidden fully connected layers.
        pretrain: The protocol's recipe for the base network.
        retrain: The protocol's recipe for a pruned candidate.
    """

    name: str
    title: str
    family: str
    channels: int
    size: int
    layers: tuple[LayerInfo, ...]
    hidden: tuple[int, ...]
    pretrain: Recipe
    retrain: Recipe

    def layer(self, name: str) -> LayerInfo:
        """Returns the prunable layer of that name; raises UsageError naming the ones there are."""
        return _pick(
            {layer.name: layer for layer in self.layers}, name, f"{self.name} has no layer"
        )


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A data set of the study.

    Attributes:
        name: What a person types.
        title: How it is shown.
        classes: Number of classes.
        channels: Image channels.
        train_images: Images in the train set.
        test_images: Images in the test set.
        mean: Per-channel mean that normalisation subtracts, on the scale 0..1.
        std: Per-channel deviation that normalisation divides by, on the scale 0..1.
        source: Where it is looked for, in words.
    """

    name: str
    title: str
    classes: int
    channels: int
    train_images: int
    test_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


def _lenet(
    name: str, title: str, widths: tuple[int, int, int], hidden: tuple[int, ...]
) -> ModelInfo:
    layers = tuple(LayerInfo(f"conv{i}", width) for i, width in enumerate(widths, start=1))
    return ModelInfo(name, title, "lenet", 1, 32, layers, hidden, LENET_PRETRAIN, LENET_RETRAIN)


MODELS: Mapping[str, ModelInfo] = {
    info.name: info
    for info in (
        _lenet("lenet5-mini", "LeNet5-Mini", (10, 10, 10), (10,)),
        _lenet("lenet5-mini-w20", "LeNet5-Mini w20", (20, 10, 10), (10,)),
        _lenet("lenet5-mini-w30", "LeNet5-Mini w30", (30, 10, 10), (10,)),
        _lenet("lenet5-mini-w40", "LeNet5-Mini w40", (40, 10, 10), (10,)),
        _lenet("lenet5-mini-d6", "LeNet5-Mini d6", (10, 10, 10), (10, 10)),
        _lenet("lenet5-mini-d7", "LeNet5-Mini d7", (10, 10, 10), (10, 10, 10)),
        _lenet("lenet5-mini-d8", "LeNet5-Mini d8", (10, 10, 10), (10, 10, 10, 10)),
        _lenet("lenet5", "LeNet5", (6, 16, 120), (84,)),
    )
}

_MNIST = ((0.1307,), (0.3081,))
_FASHION = ((0.2860,), (0.3530,))
_KMNIST = ((0.1918,), (0.3483,))

DATASETS: Mapping[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            "mnist-5k",
            "MNIST, 5,000 digits",
            10,
            1,
            4_000,
            1_000,
            *_MNIST,
            "shipped with oracle-tui",
        ),
        DatasetInfo(
            "mnist", "MNIST", 10, 1, 60_000, 10_000, *_MNIST, "downloaded through torchvision"
        ),
        DatasetInfo(
            "fashion-mnist",
            "Fashion-MNIST",
            10,
            1,
            60_000,
            10_000,
            *_FASHION,
            "Debian's dataset-fashion-mnist, or downloaded through torchvision",
        ),
        DatasetInfo(
            "kmnist", "KMNIST", 10, 1, 60_000, 10_000, *_KMNIST, "downloaded through torchvision"
        ),
    )
}


def find_model(name: str) -> ModelInfo:
    """Returns the model a person named; raises UsageError that suggests the nearest name."""
    return _pick(MODELS, name, "There is no model")


def find_dataset(name: str) -> DatasetInfo:
    """Returns the data set a person named; raises UsageError that suggests the nearest name."""
    return _pick(DATASETS, name, "There is no data set")


def _pick(entries: Mapping[str, Entry], name: str, complaint: str) -> Entry:
    """Looks a name up, forgiving case and underscores; the complaint opens the error's sentence."""
    wanted = name.strip().lower().replace("_", "-")
    if wanted in entries:
        return entries[wanted]
    near = difflib.get_close_matches(wanted, list(entries), n=1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(entries)}."
    raise UsageError(f"{complaint} named {name!r}; {hint}")
