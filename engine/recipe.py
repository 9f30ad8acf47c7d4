"""Training recipes: how a network is trained, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from engine.errors import UsageError

MAX_EPOCHS = 10_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """SGD with momentum and a step schedule.

    Attributes:
        epochs: Passes over the train set.
        learning_rate: Rate of the first epoch.
        drops: (epoch, rate) pairs: `rate` holds from `epoch` (counted from 0) on.
        momentum: Momentum of SGD, as torch.optim.SGD defines it.
        weight_decay: Added to the gradient, as torch.optim.SGD does.
        batch_size: Images in a step; the last step of an epoch may be smaller.
    """

    epochs: int
    learning_rate: float
    drops: tuple[tuple[int, float], ...] = ()
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int = 256

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

    def rate_at(self, epoch: int) -> float:
        """Returns the learning rate of one epoch (counted from 0)."""
        rate = self.learning_rate
        for start, dropped in self.drops:
            if epoch >= start:
                rate = dropped
        return rate

    def lasting(self, epochs: int) -> Self:
        """Returns the same recipe over another number of epochs, its drops moved in proportion.

        The paper's shortened schedules follow this rule: 30 epochs with a drop at 20 become 3
        with a drop at 2; 120 with drops at 60 and 90 become 12 with drops at 6 and 9.
        """
        if epochs == self.epochs:
            return self
        moved: dict[int, float] = {}
        for start, rate in self.drops:
            moved[(2 * start * epochs + self.epochs) // (2 * self.epochs)] = rate
        return replace(self, epochs=epochs, drops=tuple(sorted(moved.items())))

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as a JSON object."""
        return {
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "drops": [list(drop) for drop in self.drops],
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "batch_size": self.batch_size,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            UsageError: A field is missing, unknown or of the wrong kind.
        """
        try:
            fields = dict(data)
            drops = tuple((int(start), float(rate)) for start, rate in fields.pop("drops", ()))
            recipe = cls(
                epochs=int(fields.pop("epochs")),
                learning_rate=float(fields.pop("learning_rate")),
                drops=drops,
                momentum=float(fields.pop("momentum", 0.9)),
                weight_decay=float(fields.pop("weight_decay", 1e-4)),
                batch_size=int(fields.pop("batch_size", 256)),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UsageError(f"This is not a recipe: {error!r}.") from error
        if fields:
            raise UsageError(f"A recipe has no field named {sorted(fields)[0]!r}.")
        return recipe

    def __str__(self) -> str:
        """Returns the protocol's shorthand, for example `30 ep, .01 -> .001@20, wd 1e-4`."""
        steps = "".join(f" -> {rate:g}@{start}" for start, rate in self.drops)
        return f"{self.epochs} ep, {self.learning_rate:g}{steps}, wd {self.weight_decay:g}"


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
VIT_PRETRAIN = Recipe(300, 0.01, ((150, 0.001), (225, 1e-4)), batch_size=128)
VIT_RETRAIN = Recipe(300, 0.01, ((150, 0.001), (225, 1e-4)), batch_size=128)
