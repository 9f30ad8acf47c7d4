"""Dialogues as a model sees them: pixels, tokens, and which tokens are answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from engine.errors import UsageError
from engine.work.datasets import ImageData
from engine.work.mllm.dialogues import Dialogue, Split

# Images prepared at a time.
_IMAGES = 256
_PADDING = 0


@dataclass(frozen=True, slots=True)
class Questions:
    """A batch of what a vision-language model reads.

    Attributes:
        pixels: float32 (batch, ...), as the model's image processor prepares them.
        tokens: int64 (batch, length), questions and answers, padded on the right.
        asked: bool (batch, length): where the next token belongs to an answer. Only there a
            model's logits are wanted.
    """

    pixels: Tensor
    tokens: Tensor
    asked: Tensor

    def __len__(self) -> int:
        """Returns how many dialogues there are."""
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A train or test set.

    Attributes:
        places: int64 (n,), which of the set's images each dialogue is about.
        tokens: int64 (n, longest).
        asked: bool (n, longest); see `Questions`.
        lengths: int64 (n,) tokens of each, on the CPU; what comes after is padding.
    """

    places: Tensor
    tokens: Tensor
    asked: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> Encoded:
        """Returns the same set on a device."""
        return Encoded(
            self.places.to(device), self.tokens.to(device), self.asked.to(device), self.lengths
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueData(ImageData):
    """A data set of dialogues about images, in memory.

    A dialogue counts where elsewhere an image does: in a batch's size and in an epoch's order. The
    labels of the base class are the numbers of the dialogues' images.

    Attributes:
        train: The train set.
        test: The test set.
        scored: int64 (m,), the train dialogues that scores and train losses are measured on.
    """

    train: Encoded
    test: Encoded
    scored: Tensor

    def to(self, device: torch.device) -> Self:
        """Returns the same data on a device."""
        moved = ImageData.to(self, device)
        return replace(
            moved,
            train=self.train.to(device),
            test=self.test.to(device),
            scored=self.scored.to(device),
        )

    @property
    def in_memory(self) -> bool:
        """Whether it is arrays that may be handed on; workers encode their dialogues themselves."""
        return False

    def taken(self, split: str, index: Tensor) -> tuple[Questions, Tensor]:
        """Returns some dialogues of a split, and the answers' tokens one after another, (n,)."""
        images, _ = self.split(split)
        encoded = self.train if split == "train" else self.test
        longest = int(encoded.lengths[index.cpu()].max())
        tokens = encoded.tokens[index, :longest]
        asked = encoded.asked[index, :longest]
        following = torch.roll(tokens, -1, dims=1)
        return Questions(images[encoded.places[index]], tokens, asked), following[asked]

    def measured(self, split: str) -> Tensor:
        """Returns the numbers of the dialogues that a split is evaluated on."""
        if split == "train":
            return self.scored
        return torch.arange(len(self.test.tokens), device=self.test.tokens.device)


def pixels_of(processor: Any, images: Any) -> Tensor:
    """Returns the images of a split as the model takes them, float32 (n, ...).

    Raises:
        UsageError: They come out in several sizes, or with parts that are masked.
    """
    found = []
    for start in range(0, len(images), _IMAGES):
        some = [images[place] for place in range(start, min(start + _IMAGES, len(images)))]
        prepared = _prepared(processor, some)
        mask = prepared.get("pixel_attention_mask")
        if mask is not None and not bool(mask.all()):
            raise UsageError(
                "The images of this data set have several shapes, and this model's processor pads "
                "them; bring all to one shape first."
            )
        found.append(prepared["pixel_values"].float())
    if len({piece.shape[1:] for piece in found}) > 1:
        raise UsageError("The model's processor gives images of several sizes; name another model.")
    return torch.cat(found)


def image_text(processor: Any, image: Any) -> str:
    """Returns the text that stands for one image: its tokens as this model's processor has them.

    Raises:
        UsageError: The tokenizer does not give those tokens back.
    """
    tokenizer, sign = processor.tokenizer, image_sign(processor)
    given = _with_settings(processor, images=[[image]], text=[sign], add_special_tokens=False)
    tokens = given["input_ids"][0]
    text = str(tokenizer.decode(tokens))
    again = tokenizer(text, add_special_tokens=False)["input_ids"]
    if list(again) != [int(token) for token in tokens]:
        raise UsageError("The tokens of an image are no tokens of this model's tokenizer.")
    return text


def image_sign(processor: Any) -> str:
    """Returns the word that stands for an image in a text."""
    return str(getattr(processor, "image_token", "<image>"))


def encoded(processor: Any, split: Split, sign: str, expanded: str, longest: int) -> Encoded:
    """Returns the dialogues of a split as tokens.

    Args:
        processor: The model's processor.
        split: The dialogues.
        sign: The word for an image.
        expanded: What takes its place; see `image_text`.
        longest: Tokens that a dialogue may have.

    Raises:
        UsageError: A dialogue is longer, or the tokenizer joins questions and answers.
    """
    tokenizer = processor.tokenizer
    texts, counts = [], []
    for dialogue in split.dialogues:
        pieces = list(_growing(processor, dialogue))
        texts += [piece.replace(sign, expanded) for piece in pieces]
        counts.append(len(pieces))
    # Templates of chats write the special tokens themselves.
    ids = tokenizer(texts, add_special_tokens=not _template_of(processor))["input_ids"]
    end = None if _template_of(processor) else tokenizer.eos_token_id
    rows, starts = [], 0
    for place, count in enumerate(counts):
        rows.append(_spans(ids[starts : starts + count], end, place))
        starts += count
    lengths = [len(tokens) for tokens, _ in rows]
    if max(lengths, default=0) > longest:
        raise UsageError(
            f"Dialogue {lengths.index(max(lengths)) + 1} has {max(lengths):,} tokens with its "
            f"image; this model takes {longest:,}."
        )
    tokens = np.full((len(rows), max(lengths)), _PADDING, np.int64)
    asked = np.zeros(tokens.shape, np.bool_)
    for place, (own, answers) in enumerate(rows):
        tokens[place, : len(own)] = own
        for start, stop in answers:
            asked[place, start - 1 : stop - 1] = True
    return Encoded(
        torch.tensor([dialogue.image for dialogue in split.dialogues]),
        torch.from_numpy(tokens),
        torch.from_numpy(asked),
        torch.tensor(lengths),
    )


def _spans(
    ids: Sequence[Sequence[int]], end: int | None, place: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns the tokens of a dialogue, and where its answers begin and end.

    `ids` are the tokens up to each question and up to each answer in turn.
    """
    whole = list(ids[-1])
    answers = []
    for before, after in zip(ids[::2], ids[1::2], strict=True):
        common = whole[: len(after)] == list(after) and whole[: len(before)] == list(before)
        if not (common and 0 < len(before) < len(after)):
            raise UsageError(
                f"The model's tokenizer joins question and answer of dialogue {place + 1}; "
                "such a model cannot be studied."
            )
        answers.append((len(before), len(after)))
    if end is not None and whole[-1] != end:
        whole.append(end)
        answers[-1] = (answers[-1][0], len(whole))
    return whole, answers


def _growing(processor: Any, dialogue: Dialogue) -> list[str]:
    """Returns the text up to each question, and up to each answer, in turn."""
    messages: list[dict[str, Any]] = []
    texts = []
    plain = ""
    for turn, (question, answer) in enumerate(dialogue.turns):
        content: list[dict[str, str]] = [{"type": "image"}] if turn == 0 else []
        messages.append({"role": "user", "content": [*content, _said(question)]})
        if _template_of(processor):
            texts.append(_applied(processor, messages, True))
            messages.append({"role": "assistant", "content": [_said(answer)]})
            texts.append(_applied(processor, messages, False))
        else:
            # The way LLaVA 1.5 was trained.
            image = f"{image_sign(processor)}\n" if turn == 0 else ""
            plain += f"{' ' if turn else ''}USER: {image}{question} ASSISTANT:"
            texts.append(plain)
            plain += f" {answer}"
            texts.append(plain)
    return texts


def _said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _template_of(processor: Any) -> bool:
    return bool(processor.chat_template or processor.tokenizer.chat_template)


def _applied(processor: Any, messages: list[dict[str, Any]], prompt: bool) -> str:
    chooser = processor if processor.chat_template else processor.tokenizer
    text: str = chooser.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    return text


def _prepared(processor: Any, images: list[Any]) -> Any:
    named = {"do_image_splitting": False} if _splits(processor) else {}
    nested = [[image] for image in images] if _splits(processor) else images
    return processor.image_processor(images=nested, return_tensors="pt", **named)


def _with_settings(processor: Any, *, images: Any, **told: Any) -> Any:
    if _splits(processor):
        return processor(images=images, do_image_splitting=False, **told)
    return processor(images=[image for some in images for image in some], **told)


def _splits(processor: Any) -> bool:
    """Whether the processor would cut a large image into several; one dialogue has one image."""
    return hasattr(processor.image_processor, "do_image_splitting")
