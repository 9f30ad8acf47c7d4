"""What can be chosen: models with their prunable layers, and data sets. Facts only, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.described import is_outside_catalog, look_up
from engine.errors import UsageError
from engine.model_catalog import load_models
from engine.model_info import LayerInfo, ModelInfo, pick


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
        augmented: Whether train images are cropped and mirrored at random, as the protocol does.
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
    augmented: bool = False


MODELS: Mapping[str, ModelInfo] = load_models()

_MNIST = ((0.1307,), (0.3081,))
_FASHION = ((0.2860,), (0.3530,))
_KMNIST = ((0.1918,), (0.3483,))
_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_CIFAR100 = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
_CIFAR_SOURCE = "downloaded from its authors"

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
        DatasetInfo(
            "cifar10", "CIFAR-10", 10, 3, 50_000, 10_000, *_CIFAR10, _CIFAR_SOURCE, augmented=True
        ),
        DatasetInfo(
            "cifar100",
            "CIFAR-100",
            100,
            3,
            50_000,
            10_000,
            *_CIFAR100,
            _CIFAR_SOURCE,
            augmented=True,
        ),
    )
}


def find_model(name: str) -> ModelInfo:
    """Returns the model a person named; raises UsageError that suggests the nearest name.

    Of a model outside the catalog it returns what `engine.described.describe` found before; it
    builds none itself.
    """
    if is_outside_catalog(name):
        found = look_up(name)
        if found is None:
            raise UsageError(
                f"The model {name.strip()!r} has not been looked into on this machine."
            )
        return found
    return pick(MODELS, name, "There is no model")


def find_dataset(name: str) -> DatasetInfo:
    """Returns the data set a person named; raises UsageError that suggests the nearest name."""
    return pick(DATASETS, name, "There is no data set")


__all__ = [
    "DATASETS",
    "MODELS",
    "DatasetInfo",
    "LayerInfo",
    "ModelInfo",
    "find_dataset",
    "find_model",
]
