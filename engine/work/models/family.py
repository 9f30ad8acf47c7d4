"""What a family of models must offer the study. A new family is one class in one file."""

from __future__ import annotations

import torch
from torch import nn

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
        return plan_from_graph(network, torch.zeros(1, info.channels, info.size, info.size))
