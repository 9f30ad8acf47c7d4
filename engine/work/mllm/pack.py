"""Vision-language models trained one by one: the plain way of packs, with what answers need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.catalog import ModelInfo
from engine.tuning import Tuning
from engine.work.mllm.availability import peft
from engine.work.mllm.network import Answerer, measure
from engine.work.mllm.plans import adapter_of
from engine.work.mllm.samples import DialogueData
from engine.work.packs.base import Evaluation
from engine.work.packs.solo import SoloPack

# Every candidate begins with the same updates: B is zero, A is drawn from this.
_LORA_SEED = 0


class DialoguePack(SoloPack):
    """K networks, each by itself; `Evaluation.accuracy` is the share answered exactly."""

    def __init__(
        self,
        info: ModelInfo,
        states: Mapping[str, Tensor],
        data: DialogueData,
        *told: Any,
        tuning: Tuning | None = None,
    ) -> None:
        """Builds the networks.

        Args:
            info: The model they were pruned from.
            states: Their states, stacked (K, ...).
            data: The data, on the device to train on.
            told: What `SoloPack` takes from its recipe on.
            tuning: What is trained; None for all weights.
        """
        self._tuning = tuning or Tuning()
        self._dialogues = data
        super().__init__(info, states, data, *told)

    def prepared(self, network: nn.Module) -> nn.Module:
        """Adds low-rank updates and checkpointing, where they are asked for."""
        assert isinstance(network, Answerer)
        if self._tuning.lora:
            with_updates(network, self._tuning)
        if self._tuning.checkpointing:
            _checkpoint(network.model)
            # Where nothing before a block is trained, its inputs have no gradient otherwise.
            network.model.enable_input_require_grads()
        return network

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on the dialogues of a split that are measured."""
        found = self._workers.run(
            [
                partial(evaluate_dialogues, network, self._dialogues, split, self._at_a_time)
                for network in self.networks
            ]
        )
        loss, accuracy = np.array(found, np.float64).T
        return Evaluation(loss, accuracy)


def _checkpoint(model: Any) -> None:
    told = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable(told)
    else:  # its name before
        model.gradient_checkpointing_enable(told)


def with_updates(network: Answerer, tuning: Tuning) -> None:
    """Freezes a network's weights and adds low-rank updates to its language model (Hu et al. 2022).

    Every linear layer of the language model's blocks has one.
    """
    library = peft()
    inner = adapter_of(network.config).language.removeprefix("model.")
    config = library.LoraConfig(
        r=tuning.lora,
        lora_alpha=tuning.alpha,
        lora_dropout=0.0,
        target_modules=rf"{re.escape(inner)}\..*layers\.\d+\..*proj|{re.escape(inner)}\..*"
        r"layers\.\d+\..*(dense|fc1|fc2)",
    )
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_LORA_SEED)
        library.inject_adapter_in_model(config, network.model)


def evaluate_dialogues(
    network: nn.Module, data: DialogueData, split: str, at_a_time: int
) -> tuple[float, float]:
    """Returns mean cross-entropy over the answers' tokens, and the share answered exactly.

    In eval mode and float32, over the dialogues of a split that are measured.
    """
    network.eval()
    index = data.measured(split)
    loss: Any = torch.zeros((), dtype=torch.float64, device=index.device)
    right: Any = torch.zeros((), dtype=torch.int64, device=index.device)
    tokens = 0
    with torch.no_grad():
        for piece in torch.split(index, at_a_time):
            questions, answers = data.taken(split, piece)
            more_loss, more_right = measure(network(questions), answers, questions.asked)
            loss, right, tokens = loss + more_loss, right + more_right, tokens + len(answers)
    return loss.item() / tokens, right.item() / len(index)
