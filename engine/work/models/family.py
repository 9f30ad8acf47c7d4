"""What a family of models must offer the study. A new family is one class in one file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from torch import Tensor, nn

from engine.catalog import ModelInfo
from engine.work.surgery import SlicePlan


class Network(nn.Module):
    """A network of the study, whole or slim; families are subclasses.

    Its prunable layers are those of the catalog, under the same names in its state_dict.
    """

    @classmethod
    def build(cls, info: ModelInfo, classes: int, kept: Mapping[str, int]) -> Self:
        """Returns a network with torch's default initial weights.

        Args:
            info: The model's facts.
            classes: How many classes it tells apart.
            kept: Filters of the prunable layers that were pruned; the others keep all of theirs.
        """
        raise NotImplementedError

    @classmethod
    def plan(cls, info: ModelInfo) -> SlicePlan | None:
        """Returns the plan written by hand, or None where the dependency graph is to give it."""
        return None

    def before(self, images: Tensor, layer: str) -> Tensor:
        """Returns what `layer` has computed, as its readers see it: filters in dimension 1.

        Everything a candidate pruned at `layer` and after it shares with the whole network.
        """
        raise NotImplementedError

    def after(self, maps: Tensor, layer: str) -> Tensor:
        """Returns the logits, (batch, classes), from what `before` gives for `layer`."""
        raise NotImplementedError
