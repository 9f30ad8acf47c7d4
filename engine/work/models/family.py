"""What a family of models must offer the study. A new family is one class in one file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engine.catalog import ModelInfo
from engine.work.surgery import SlicePlan, plan_from_graph


class Family:
    """How the networks of a family are built, and where they can be pruned.

    Networks take images (batch, channels, size, size) and give logits (batch, classes).
    """

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns a whole network with torch's default initial weights.

        Args:
            info: The model's facts; its layers and costs may not be known yet.
            classes: How many classes it tells apart.

        Raises:
            UsageError: There is no such model.
        """
        raise NotImplementedError

    def plan(self, info: ModelInfo, network: nn.Module) -> SlicePlan:
        """Returns the slice plan of all layers that can be pruned, and why the others cannot.

        Here it comes from the dependency graph of the network; a family overrides it where it
        knows better.
        """
        return plan_from_graph(network, self.example(info, 1))

    def example(self, info: ModelInfo, count: int, generator: torch.Generator | None = None) -> Any:
        """Returns a batch that a network can be tried with.

        Args:
            info: The model's facts.
            count: How many images or dialogues.
            generator: Draws small numbers of all signs; where there is none, the images are zero.
        """
        shape = (count, info.channels, info.size, info.size)
        return torch.zeros(shape) if generator is None else torch.randn(shape, generator=generator)

    def answers(self, classes: int, count: int) -> tuple[int, ...] | None:
        """Returns the shape of what a network gives for so many images; None where it varies."""
        return (count, classes)

    def weights(self, info: ModelInfo) -> dict[str, Tensor] | None:
        """Returns the weights that a model comes with, or None where the study trains its own."""
        return None
