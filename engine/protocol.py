"""The studies of the paper as data: one draft for each row of its table, and the names they go by.

A draft may name a model or a data set that the catalog does not have yet; it then says what it
waits for, and becomes a study by itself when that is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Self

from engine.catalog import DATASETS, MODELS
from engine.errors import UsageError
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN, VIT_RETRAIN, Recipe
from engine.spec import StudySpec
from engine.weights import PRETRAINED, Weights

RATIOS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
LAYERS = ("conv1", "conv2", "conv3")
SEVERAL_LAYERS = ("conv1+conv2", "conv1+conv3", "conv2+conv3", "conv1+conv2+conv3")
DEPTHS = ("d6", "d7", "d8")
WIDTHS = ("w20", "w30", "w40")

_CIFAR_RETRAIN = Recipe(120, 0.01, ((60, 0.001), (90, 1e-4)), weight_decay=5e-4)


@dataclass(frozen=True, slots=True)
class Draft:
    """A study as the paper tells it.

    Attributes:
        model: Name of a model, of the catalog or to come.
        dataset: Name of a data set, of the catalog or to come.
        layers: Names or patterns of the pruned layers, joined by "+".
        ratio: Pruning ratio of each of them.
        candidates: How many are sampled, or None for all.
        repeats: Retrainings of each candidate.
        pretrain: Recipe of the base network.
        retrain: Recipe of each candidate.
        weights: "pretrained" where the base network has a library's weights.
        label: What the layers are called in the study's name; "" for their own names.
        needs: What no spec can say yet, in words.
    """

    model: str
    dataset: str
    layers: str
    ratio: float
    candidates: int | None = None
    repeats: int = 3
    pretrain: Recipe = LENET_PRETRAIN
    retrain: Recipe = LENET_RETRAIN
    weights: str = ""
    label: str = ""
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The study as one word: `lenet5-mini-mnist-conv1-0.5`."""
        return f"{self.model}-{self.dataset}-{self.label or self.layers}-{self.ratio:g}"

    def missing(self) -> str:
        """Returns what the catalog lacks for this to be a study, in words; "" when nothing."""
        return ", ".join(
            (
                *(() if self.model in MODELS else (f"model {self.model}",)),
                *(() if self.dataset in DATASETS else (f"data set {self.dataset}",)),
                *self.needs,
            )
        )

    def spec(self) -> StudySpec:
        """Returns the study; raises UsageError saying what it waits for."""
        if missing := self.missing():
            raise UsageError(missing)
        layers = self._layers()
        return StudySpec(
            model=self.model,
            dataset=self.dataset,
            layers=layers,
            ratios=(self.ratio,) * len(layers),
            candidates=self.candidates,
            repeats=self.repeats,
            pretrain=self.pretrain,
            retrain=self.retrain,
            weights=Weights(self.weights) if self.weights else None,
        )

    def with_(self, **changes: object) -> Self:
        """Returns a copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def _layers(self) -> tuple[str, ...]:
        patterns = self.layers.split("+")
        found = tuple(
            layer.name
            for layer in MODELS[self.model].layers
            if any(fnmatchcase(layer.name, pattern) for pattern in patterns)
        )
        if not found:
            raise UsageError(f"prunable layers {self.layers} in {self.model}")
        return found


def lenet(
    layers: str = "conv1",
    ratio: float = 0.5,
    *,
    variant: str = "",
    dataset: str = "mnist",
    candidates: int | None = None,
) -> Draft:
    """Returns a study of LeNet5-Mini, or of its variant `d6` or `w20`, by the protocol."""
    model = f"lenet5-mini-{variant}" if variant else "lenet5-mini"
    return Draft(model, dataset, layers, ratio, candidates)


ONE_LAYER = tuple(lenet(layer, ratio) for layer in LAYERS for ratio in RATIOS)
MULTI_LAYER = tuple(lenet(layers, candidates=1_000) for layers in SEVERAL_LAYERS)
FMNIST = lenet(dataset="fashion-mnist")
KMNIST = lenet(dataset="kmnist")
DEEPER = tuple(lenet(variant=depth) for depth in DEPTHS)
WIDER = tuple(lenet(variant=width, candidates=1_000) for width in WIDTHS)
SMALL = (*ONE_LAYER, *MULTI_LAYER, FMNIST, KMNIST, *DEEPER, *WIDER)

RESNET56 = Draft(
    "resnet56",
    "cifar10",
    "layer*.conv1",
    0.5,
    candidates=1_000,
    pretrain=Recipe(200, 0.1, ((100, 0.01), (150, 0.001)), weight_decay=5e-4, batch_size=128),
    retrain=_CIFAR_RETRAIN,
    label="conv1",
)
VGG19 = Draft(
    "vgg19",
    "cifar100",
    "features.*",
    0.5,
    candidates=1_000,
    pretrain=Recipe(200, 0.1, ((100, 0.01), (150, 0.001)), weight_decay=5e-4, batch_size=256),
    retrain=_CIFAR_RETRAIN,
    label="all",
)
# The base networks of these are torchvision's, so their pretraining recipes stand for nothing.
RESNET18 = Draft(
    "resnet18",
    "imagenet",
    "layer*.conv1",
    0.5,
    candidates=160,
    repeats=1,
    retrain=Recipe(30, 0.01, ((10, 0.001), (20, 1e-4))),
    weights=PRETRAINED,
    label="conv1",
)
RESNET50 = Draft(
    "resnet50",
    "imagenet",
    "conv1+layer*.conv1+layer*.conv2",
    0.4375,
    candidates=20,
    repeats=1,
    retrain=Recipe(9, 0.08, ((3, 0.008), (6, 8e-4))),
    weights=PRETRAINED,
    label="inner",
)
VIT = Draft(
    "vit-b16",
    "imagenet",
    "*",
    0.5,
    repeats=1,
    retrain=VIT_RETRAIN,
    weights=PRETRAINED,
    label="all",
    needs=("the number of draws, which is not published",),
)
LARGE = (RESNET56, VGG19, RESNET18, RESNET50, VIT)


def ten_percent(draft: Draft) -> Draft:
    """Returns the same study, candidates and base network on a tenth of the retraining epochs."""
    return draft.with_(retrain=draft.retrain.lasting(max(1, draft.retrain.epochs // 10)))


def quick_twin(draft: Draft) -> Draft:
    """Returns a study of the same kind that a CPU finishes in minutes.

    It has the shipped digits in place of MNIST, one repeat, and so few candidates and epochs that
    the whole is below 10^13 multiply-adds.
    """
    on_digits = draft.dataset == "mnist"
    most = 60 if on_digits else 20
    return draft.with_(
        dataset="mnist-5k" if on_digits else draft.dataset,
        candidates=most if len(draft.spec().space) > most else draft.candidates,
        repeats=1,
        pretrain=draft.pretrain.lasting(15 if on_digits else 3),
        retrain=draft.retrain.lasting(6 if on_digits else 2),
    )
