"""What a study of a vision-language model needs of memory, told before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.tuning import Tuning
from engine.work.mllm.room import require_room
from engine.work.mllm.samples import DialogueData
from engine.work.mllm.sources import Source

_FLOAT = 4
# Floats kept for the backward pass: of each token in each block, this many times the width; with
# checkpointing one width, and one block whole.
_KEPT_WIDTHS = 34


@dataclass(frozen=True, slots=True)
class Shape:
    """What memory depends on beside the number of weights.

    Attributes:
        weights: Numbers in the network that is trained.
        updated: Of those, how many are trained; with LoRA, its own.
        tokens: Tokens of a dialogue with its image.
        width: Width of the language model.
        blocks: Blocks of the language model and the tower together.
        vocabulary: How many tokens there are.
        answers: Most tokens of an answer.
    """

    weights: int
    updated: int
    tokens: int
    width: int
    blocks: int
    vocabulary: int
    answers: int


def training_bytes(shape: Shape, recipe: Recipe, tuning: Tuning) -> int:
    """Returns an estimate of the bytes that one candidate takes while it is retrained.

    Full AdamW keeps a weight, its gradient and two moments, 16 bytes; SGD with momentum 12. What
    is not trained takes 4. Activations come on top.
    """
    moments = 2 if recipe.optimiser == "adamw" else 1
    trained = _FLOAT * shape.updated * (1 + moments)
    batch = recipe.batch_size * shape.tokens * shape.width * _FLOAT
    widths = shape.blocks + _KEPT_WIDTHS if tuning.checkpointing else shape.blocks * _KEPT_WIDTHS
    logits = 3 * recipe.batch_size * shape.answers * shape.vocabulary * _FLOAT
    return _FLOAT * shape.weights + trained + batch * widths + logits


def require_training_room(
    spec: StudySpec, source: Source, data: DialogueData, device: torch.device
) -> None:
    """Refuses a study of which not even one candidate can be trained, before anything is built.

    Raises:
        UsageError: It takes more than is free; with both numbers.
    """
    info = spec.model_info
    kept = {
        layer: info.layer(layer).filters - count
        for layer, count in zip(spec.layers, spec.space.pruned, strict=True)
    }
    weights, whole = info.count(kept)[1], info.count({})[1]
    text = source.config.get_text_config()
    updates = _updated(text, spec.tuning.lora)
    shape = Shape(
        weights=weights + updates,
        updated=updates or weights,
        tokens=int(data.train.tokens.shape[1]),
        width=int(text.hidden_size),
        blocks=int(text.num_hidden_layers + source.config.vision_config.num_hidden_layers),
        vocabulary=source.words,
        answers=int(data.train.asked.sum(1).max()),
    )
    training = training_bytes(shape, spec.retrain, spec.tuning)
    what = f"Retraining a candidate of {info.title}"
    # The base network stays in memory, and is there once more while it is built or sliced.
    if device.type == "cuda":
        require_room(what, training, device)
        require_room(f"{info.title} and its candidates", 2 * _FLOAT * whole)
    else:
        require_room(what, training + 2 * _FLOAT * whole)


def _updated(text: Any, rank: int) -> int:
    """Returns how many numbers low-rank updates of that rank have in a language model."""
    width, inner, heads = text.hidden_size, text.intermediate_size, text.num_attention_heads
    head = getattr(text, "head_dim", None) or width // heads
    groups = getattr(text, "num_key_value_heads", None) or heads
    sides = 2 * (width + heads * head) + 2 * (width + groups * head) + 3 * (width + inner)
    return int(text.num_hidden_layers * rank * sides)
