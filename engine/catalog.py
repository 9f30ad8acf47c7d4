"""What can be chosen: models with their prunable layers, and data sets. Facts only, no torch."""

from __future__ import annotations

from collections.abc import Mapping

from engine.data_sources.describe import look_up_data
from engine.data_sources.folder import IMAGENET_CLASSES, IMAGENET_MEAN, IMAGENET_STD
from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import is_outside
from engine.described import is_outside_catalog, look_up
from engine.errors import UsageError
from engine.model_catalog import load_models
from engine.model_info import LayerInfo, ModelInfo, pick

MODELS: Mapping[str, ModelInfo] = load_models()

_MNIST = ((0.1307,), (0.3081,))
_FASHION = ((0.2860,), (0.3530,))
_KMNIST = ((0.1918,), (0.3483,))
_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_CIFAR100 = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
_TORCHVISION = "downloaded through torchvision"
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
            size=28,
        ),
        DatasetInfo("mnist", "MNIST", 10, 1, 60_000, 10_000, *_MNIST, _TORCHVISION, size=28),
        DatasetInfo(
            "fashion-mnist",
            "Fashion-MNIST",
            10,
            1,
            60_000,
            10_000,
            *_FASHION,
            "Debian's dataset-fashion-mnist, or downloaded through torchvision",
            size=28,
        ),
        DatasetInfo("kmnist", "KMNIST", 10, 1, 60_000, 10_000, *_KMNIST, _TORCHVISION, size=28),
        DatasetInfo(
            "cifar10",
            "CIFAR-10",
            10,
            3,
            50_000,
            10_000,
            *_CIFAR10,
            _CIFAR_SOURCE,
            augmented=True,
            size=32,
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
            size=32,
        ),
        DatasetInfo(
            "imagenet",
            "ImageNet-1K",
            IMAGENET_CLASSES,
            3,
            1_281_167,
            50_000,
            IMAGENET_MEAN,
            IMAGENET_STD,
            "your folder with its train/ and val/, named by ORACLE_TUI_IMAGENET",
            crops=True,
        ),
        DatasetInfo(
            "fashion-qa",
            "Fashion-QA, questions about Fashion-MNIST",
            10,
            1,
            6_000,
            2_000,
            *_FASHION,
            "generated; its images are Fashion-MNIST's",
            asks=True,
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
    """Returns the data set a person named; raises UsageError that suggests the nearest name.

    Of a data set outside the catalog it returns what `describe_data` found before; it looks at no
    disk itself.
    """
    if is_outside(name):
        found = look_up_data(name)
        if found is None:
            raise UsageError(f"The data set {name.strip()!r} has not been looked at here.")
        return found
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
