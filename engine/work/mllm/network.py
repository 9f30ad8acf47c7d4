"""A vision-language model as the study trains it: logits for the answers' tokens, and no others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engine.work.mllm.samples import Questions


class Answerer(nn.Module):
    """The parts of a model of transformers, under its names, so that its states fit.

    All of the vocabulary's logits for all tokens would take more memory than the network; only
    those are computed which an answer is compared with.
    """

    def __init__(self, network: Any) -> None:
        """Takes a model with `model` and `lm_head`, as those for conditional generation are."""
        super().__init__()
        self.model = network.model
        self.lm_head = network.lm_head
        self.config = network.config
        self.tied = self.lm_head.weight is self.model.get_input_embeddings().weight

    def follow_shapes(self) -> None:
        """Has head and embedding share their weights again where the model does."""
        if self.tied:
            self.lm_head.weight = self.model.get_input_embeddings().weight

    def forward(self, questions: Questions) -> Tensor:
        """Returns logits (n, vocabulary) for the n tokens that answers consist of, in order."""
        # Padding is behind what is read, and no token sees what is behind it: no mask is needed.
        seen = self.model(
            input_ids=questions.tokens, pixel_values=questions.pixels, use_cache=False
        ).last_hidden_state
        logits: Tensor = self.lm_head(seen[questions.asked])
        return logits


def measure(logits: Tensor, answers: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the summed cross-entropy (float64), and how many dialogues are answered exactly.

    A dialogue is answered exactly where every token of its answers is the likeliest one after the
    right ones before it, which is where greedy decoding would give just these answers.

    Args:
        logits: (n, vocabulary).
        answers: (n,) the right tokens.
        asked: bool (batch, length), where they follow; n are set.
    """
    losses = nn.functional.cross_entropy(logits.float(), answers, reduction="none")
    rows = asked.nonzero()[:, 0]
    wrong = torch.zeros(len(asked), dtype=torch.int64, device=asked.device)
    wrong.index_add_(0, rows, (logits.argmax(1) != answers).to(torch.int64))
    return losses.double().sum(), (wrong == 0).sum()
