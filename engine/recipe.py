"""Training recipes: how a network is trained, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from engine.errors import UsageError

MAX_EPOCHS = 10_000
OPTIMISERS = ("sgd", "adamw")
SCHEDULES = ("step", "cosine")

# Fields that came after the first studies: at these values they are left out of a recipe's JSON,
# so that no older study gets another name.
_EXTRAS: Mapping[str, Any] = {
    "optimiser": "sgd",
    "schedule": "step",
    "warmup": 0,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "clip": 0.0,
    "ema": 0.0,
}
# What changes a step itself, and not only its rate.
_OF_A_STEP = ("optimiser", "label_smoothing", "mixup", "cutmix", "clip", "ema")
_IN_WORDS = {
    "optimiser": "AdamW",
    "label_smoothing": "label smoothing",
    "clip": "gradient clipping",
    "ema": "averaged weights",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """An optimiser, a schedule, and what makes a step other than plain; docs/reference/recipes.md.

    Attributes:
        epochs: Passes over the train set.
        learning_rate: Rate of the first epoch, or of the first one after the warm-up.
        drops: (epoch, rate) pairs: `rate` holds from `epoch` (counted from 0) on.
        momentum: Momentum of SGD, as torch.optim.SGD defines it; AdamW's first beta.
        weight_decay: Added to the gradient, as torch.optim.SGD does; AdamW's own decay.
        batch_size: Images in a step; the last step of an epoch may be smaller.
        optimiser: "sgd" or "adamw".
        schedule: "step" for the drops, or "cosine" from the learning rate down to zero.
        warmup: Epochs in which the rate rises linearly to the schedule's.
        label_smoothing: Share of a label that is spread over all classes.
        mixup: Alpha of the beta distribution of mixup; 0 for none.
        cutmix: The same of cutmix; where both are given each batch has one of them.
        clip: Largest norm of a candidate's gradient; 0 for any.
        ema: Decay of the running average of the weights, which is evaluated in place of the
            weights; 0 for none.
    """

    epochs: int
    learning_rate: float
    drops: tuple[tuple[int, float], ...] = ()
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 256
    optimiser: str = "sgd"
    schedule: str = "step"
    warmup: int = 0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    clip: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        """Checks every value; raises UsageError with one sentence."""
        if not 1 <= self.epochs <= MAX_EPOCHS:
            raise UsageError(
                f"epochs must be from 1 to {MAX_EPOCHS:,}, not {self.epochs}; 30 is the paper's."
            )
        if not 1 <= self.batch_size <= 1 << 20:
            raise UsageError(f"The batch size must be at least 1, not {self.batch_size}.")
        rates = [self.learning_rate, *(rate for _, rate in self.drops)]
        if not all(math.isfinite(rate) and rate > 0 for rate in rates):
            raise UsageError(f"Learning rates must be finite and above 0, not {rates}.")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"Momentum must be in [0, 1), not {self.momentum}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UsageError(f"Weight decay must be 0 or more, not {self.weight_decay}.")
        starts = [epoch for epoch, _ in self.drops]
        if starts != sorted(set(starts)) or any(epoch < 0 for epoch in starts):
            raise UsageError(f"Learning rate drops must be at rising epochs, not {starts}.")
        self._check_extras()

    def _check_extras(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise UsageError(f"optimiser is {' or '.join(OPTIMISERS)}, not {self.optimiser!r}.")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"schedule is {' or '.join(SCHEDULES)}, not {self.schedule!r}.")
        if self.schedule == "cosine" and self.drops:
            raise UsageError("A cosine schedule has no drops; leave them out, or use step.")
        if not 0 <= self.warmup < max(2, self.epochs):
            raise UsageError(
                f"The warm-up must be from 0 to {self.epochs - 1} of {self.epochs} epochs, not "
                f"{self.warmup}."
            )
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be in [0, 1), not {getattr(self, name)}.")
        for name in ("mixup", "cutmix", "clip"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} must be 0 (for none) or more, not {value}.")

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed, by mixup or cutmix."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def beyond_plain(self) -> tuple[str, ...]:
        """What a step has beyond SGD with momentum and weight decay, in words; often nothing."""
        return tuple(
            _IN_WORDS.get(name, name) for name in _OF_A_STEP if getattr(self, name) != _EXTRAS[name]
        )

    def rate_at(self, epoch: int) -> float:
        """Returns the learning rate of one epoch (counted from 0).

        The warm-up's is that of torch's LinearLR with a start factor of 1 / (warmup + 1); the
        cosine's that of CosineAnnealingLR over the epochs after the warm-up.
        """
        rate = self.learning_rate
        for start, dropped in self.drops:
            if epoch >= start:
                rate = dropped
        if epoch < self.warmup:
            return rate * (epoch + 1) / (self.warmup + 1)
        if self.schedule == "cosine":
            done = min(1.0, (epoch - self.warmup) / (self.epochs - self.warmup))
            return rate * (1 + math.cos(math.pi * done)) / 2
        return rate

    def lasting(self, epochs: int) -> Self:
        """Returns the same recipe over another number of epochs, its drops moved in proportion.

        The paper's shortened schedules follow this rule: 30 epochs with a drop at 20 become 3
        with a drop at 2; 120 with drops at 60 and 90 become 12 with drops at 6 and 9. A warm-up
        keeps its share too.
        """
        if epochs == self.epochs:
            return self
        moved: dict[int, float] = {}
        for start, rate in self.drops:
            moved[self._moved(start, epochs)] = rate
        warmup = min(self._moved(self.warmup, epochs), max(0, epochs - 1))
        return replace(self, epochs=epochs, drops=tuple(sorted(moved.items())), warmup=warmup)

    def _moved(self, epoch: int, epochs: int) -> int:
        return (2 * epoch * epochs + self.epochs) // (2 * self.epochs)

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as a JSON object; what is as it usually is is left out of it."""
        data = {
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "drops": [list(drop) for drop in self.drops],
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "batch_size": self.batch_size,
        }
        extras = {name: getattr(self, name) for name in _EXTRAS}
        return data | {name: value for name, value in extras.items() if value != _EXTRAS[name]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            UsageError: A field is missing, unknown or of the wrong kind.
        """
        try:
            given = dict(data)
            drops = tuple((int(start), float(rate)) for start, rate in given.pop("drops", ()))
            extras = {
                name: type(usual)(given.pop(name))
                for name, usual in _EXTRAS.items()
                if name in given
            }
            recipe = cls(
                epochs=int(given.pop("epochs")),
                learning_rate=float(given.pop("learning_rate")),
                drops=drops,
                momentum=float(given.pop("momentum", 0.9)),
                weight_decay=float(given.pop("weight_decay", 1e-4)),
                batch_size=int(given.pop("batch_size", 256)),
                **extras,
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(f"This is not a recipe: {error!r}.") from error
        if given:
            raise UsageError(f"A recipe has no field named {sorted(given)[0]!r}.")
        return recipe

    def __str__(self) -> str:
        """Returns the protocol's shorthand, for example `30 ep, .01 -> .001@20, wd 1e-4`."""
        steps = "".join(f" -> {rate:g}@{start}" for start, rate in self.drops)
        curve = " cosine" if self.schedule == "cosine" else ""
        rise = f" after {self.warmup} ep of warm-up" if self.warmup else ""
        words = [f"{self.epochs} ep", f"{self.learning_rate:g}{steps}{curve}{rise}"]
        words.append(f"wd {self.weight_decay:g}")
        words += ["AdamW"] if self.optimiser == "adamw" else []
        for name in ("label_smoothing", "mixup", "cutmix", "clip", "ema"):
            if value := getattr(self, name):
                words.append(f"{name.replace('_', ' ')} {value:g}")
        return ", ".join(words)


FIELDS = tuple(field.name for field in fields(Recipe))

LENET_PRETRAIN = Recipe(epochs=30, learning_rate=0.01, drops=((20, 0.001),))
LENET_RETRAIN = Recipe(epochs=30, learning_rate=0.001, drops=((20, 1e-4),))

# lr .1 -> .01@100 -> .001@150; ResNets in batches of 128, VGGs of 256.
CIFAR_PRETRAIN = Recipe(200, 0.1, ((100, 0.01), (150, 0.001)), weight_decay=5e-4, batch_size=128)
CIFAR_RETRAIN = Recipe(120, 0.01, ((60, 0.001), (90, 1e-4)), weight_decay=5e-4, batch_size=128)
VGG_PRETRAIN = replace(CIFAR_PRETRAIN, batch_size=256)
VGG_RETRAIN = replace(CIFAR_RETRAIN, batch_size=256)
# torchvision's own recipe for its ResNets; the protocol starts from torchvision's weights.
IMAGENET_PRETRAIN = Recipe(90, 0.1, ((30, 0.01), (60, 0.001)))
RESNET18_RETRAIN = Recipe(30, 0.01, ((10, 0.001), (20, 1e-4)))
RESNET50_RETRAIN = Recipe(9, 0.08, ((3, 0.008), (6, 0.0008)))
VIT_RETRAIN = Recipe(
    300,
    1.5e-4,
    weight_decay=0.3,
    batch_size=128,
    optimiser="adamw",
    schedule="cosine",
    label_smoothing=0.11,
    mixup=0.2,
    cutmix=1.0,
    clip=1.0,
)
# From scratch, with the warm-up that torchvision's ViT had; the protocol starts from its weights.
VIT_PRETRAIN = replace(VIT_RETRAIN, warmup=30)
