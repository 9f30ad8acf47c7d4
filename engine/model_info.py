"""What is known of a model without building it: layers, input, cost. No torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Self, TypeVar

from engine.errors import UsageError
from engine.recipe import Recipe

Entry = TypeVar("Entry")

# What a cost scales with besides layers: the number of classes.
CLASSES = "number of classes"

_MAX_LAYERS = 4_096
_MAX_TERMS = 20_000
_MAX_TEXT = 300
_MAX_COUNT = 1 << 50


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What can be pruned in one place: a layer, or several that must lose the same filters.

    Attributes:
        name: The layer's name in the model; of several, that of the first in the forward pass.
        filters: How many filters (neurons, heads, ...) there are to choose from.
        kind: What one of them is: "filters", "groups" (of a grouped convolution), "neurons" (of a
            linear layer), "heads" (of attention), "head groups" (that share keys and values) or
            "dimensions" (of a transformer's embedding).
        members: The other layers that lose their filters along with it.
        weights: How many single weights the layer and its members have, without biases and norms;
            0 where nobody has counted.
    """

    name: str
    filters: int
    kind: str = "filters"
    members: tuple[str, ...] = ()
    weights: int = 0


@dataclass(frozen=True, slots=True)
class CostTerm:
    """A part of a model's cost that shrinks in proportion to what some layers keep.

    Attributes:
        multiply_adds: Of one image through the whole model.
        parameters: In the whole model.
        scales_with: The layers (or CLASSES) it is proportional to, each of them.
    """

    multiply_adds: int
    parameters: int
    scales_with: tuple[str, ...] = ()


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
        hidden: Widths of the hidden fully connected layers of a LeNet; else empty.
        pretrain: The protocol's recipe for the base network.
        retrain: The protocol's recipe for a pruned candidate.
        cost: The parts that its multiply-adds and parameters are the sum of.
        classes: How many classes the cost is counted for.
        source: What the family's builder is told, for example torchvision's name of it.
        refused: Layers that cannot be pruned, each with the reason in words.
        digest: Names the content of the file it is defined in, where a person wrote it.
        usual: The layers that the protocol prunes, as a person types them; "": the first.
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
    cost: tuple[CostTerm, ...] = ()
    classes: int = 10
    source: str = ""
    refused: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    digest: str = ""
    usual: str = ""

    def layer(self, name: str) -> LayerInfo:
        """Returns the prunable layer of that name; raises UsageError naming the ones there are."""
        wanted = name.strip()
        for layer in self.layers:
            if layer.name == wanted:
                return layer
            if wanted in layer.members:
                raise UsageError(
                    f"{wanted} loses its filters together with {layer.name}; name that layer."
                )
        for refused, reason in self.refused:
            if refused == wanted:
                raise UsageError(f"{wanted} of {self.name} cannot be pruned: {reason}.")
        return pick({layer.name: layer for layer in self.layers}, name, f"{self.name} has no layer")

    def matching(self, pattern: str) -> tuple[str, ...]:
        """Returns the layers that a name or a pattern such as `layer*.conv1` names, in order.

        A pattern that names a member of several layers pruned together names them all.

        Raises:
            UsageError: It names none.
        """
        wanted = pattern.strip()
        if not any(sign in wanted for sign in "*?["):
            return (self.layer(wanted).name,)
        names = tuple(
            layer.name
            for layer in self.layers
            if any(fnmatchcase(name, wanted) for name in (layer.name, *layer.members))
        )
        if not names:
            raise UsageError(
                f"No prunable layer of {self.name} matches {wanted!r}; "
                f"choose from {listed([layer.name for layer in self.layers])}."
            )
        return names

    def count(self, kept: Mapping[str, int], classes: int | None = None) -> tuple[int, int]:
        """Returns multiply-adds of one image, and parameters, of the model or a slim form of it.

        Args:
            kept: How many filters the pruned layers keep; the others keep all.
            classes: How many classes it tells apart; the ones of `cost` where None.
        """
        whole = {layer.name: layer.filters for layer in self.layers} | {CLASSES: self.classes}
        left = whole | dict(kept) | {CLASSES: classes or self.classes}
        multiply_adds = parameters = 0
        for term in self.cost:
            up = math.prod(left[name] for name in term.scales_with)
            down = math.prod(whole[name] for name in term.scales_with)
            # Exact: a term holds a whole number of pieces for every combination of filters.
            multiply_adds += term.multiply_adds * up // down
            parameters += term.parameters * up // down
        return multiply_adds, parameters

    def to_json(self) -> dict[str, Any]:
        """Returns the facts as a JSON object."""
        return {
            "name": self.name,
            "title": self.title,
            "family": self.family,
            "channels": self.channels,
            "size": self.size,
            "layers": [
                [layer.name, layer.filters, layer.kind, list(layer.members)]
                + [layer.weights] * (layer.weights > 0)
                for layer in self.layers
            ],
            "hidden": list(self.hidden),
            "pretrain": self.pretrain.to_json(),
            "retrain": self.retrain.to_json(),
            "cost": [
                [term.multiply_adds, term.parameters, list(term.scales_with)] for term in self.cost
            ],
            "classes": self.classes,
            "source": self.source,
            "refused": [list(pair) for pair in self.refused],
            "digest": self.digest,
            "usual": self.usual,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote, trusting nothing.

        Raises:
            UsageError: It is not the facts of a model.
        """
        try:
            info = cls(
                name=_text(data["name"]),
                title=_text(data["title"]),
                family=_text(data["family"]),
                channels=_count(data["channels"]),
                size=_count(data["size"]),
                layers=tuple(_layer(*row) for row in _bounded(data["layers"], _MAX_LAYERS)),
                hidden=tuple(map(_count, _bounded(data["hidden"], _MAX_LAYERS))),
                pretrain=Recipe.from_json(data["pretrain"]),
                retrain=Recipe.from_json(data["retrain"]),
                cost=tuple(
                    CostTerm(_count(work, 0), _count(weights, 0), tuple(map(_text, names)))
                    for work, weights, names in _bounded(data["cost"], _MAX_TERMS)
                ),
                classes=_count(data["classes"]),
                source=_text(data["source"]),
                refused=tuple(
                    (_text(name), _text(reason))
                    for name, reason in _bounded(data["refused"], _MAX_LAYERS)
                ),
                digest=_text(data["digest"]),
                usual=_text(data["usual"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"These are not the facts of a model: {error!r}.") from error
        names = [layer.name for layer in info.layers]
        known = {*names, CLASSES}
        if len(set(names)) != len(names) or not all(
            known.issuperset(term.scales_with) for term in info.cost
        ):
            raise UsageError(f"The facts of {info.name!r} contradict each other.")
        return info


def pick(entries: Mapping[str, Entry], name: str, complaint: str) -> Entry:
    """Looks a name up, forgiving case and underscores; the complaint opens the error's sentence.

    Raises:
        UsageError: It is not there; suggests the nearest.
    """
    wanted = name.strip().lower().replace("_", "-")
    forgiving = {key.lower().replace("_", "-"): entry for key, entry in entries.items()}
    if wanted in forgiving:
        return forgiving[wanted]
    near = difflib.get_close_matches(wanted, list(forgiving), n=1)
    near = [key for key in entries if key.lower().replace("_", "-") in near]
    hint = f"did you mean {near[0]}?" if near else f"choose one of {listed(list(entries))}."
    raise UsageError(f"{complaint} named {name!r}; {hint}")


def listed(names: list[str], most: int = 30) -> str:
    """Returns names as an enumeration, cut where it would fill the screen."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def either(words: Sequence[str]) -> str:
    """Returns what can be chosen as a sentence names it: `a or b`, `a, b or c`."""
    return " or ".join([part for part in (", ".join(words[:-1]), words[-1]) if part])


def _layer(name: Any, filters: Any, kind: Any, members: Any, weights: Any = 0) -> LayerInfo:
    named = tuple(map(_text, members))
    return LayerInfo(_text(name), _count(filters), _text(kind), named, _count(weights, 0))


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not value.isprintable():
        raise ValueError(f"{str(value)[:40]!r} is no short text")
    return value


def _count(value: Any, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX_COUNT:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return value


def _bounded(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError("a list is missing or too long")
    return value
