"""A study's dialogues, read and encoded for its model; the processor says how."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch

from engine.catalog import DatasetInfo, ModelInfo
from engine.data_sources.names import is_outside
from engine.errors import UsageError
from engine.seeds import derive_seed
from engine.work.mllm.dialogues import Split
from engine.work.mllm.fashion import fashion_splits
from engine.work.mllm.files import file_splits
from engine.work.mllm.room import require_room
from engine.work.mllm.samples import (
    DialogueData,
    Encoded,
    encoded,
    image_sign,
    image_text,
    pixels_of,
)
from engine.work.mllm.sources import Source, source_of


def load_dialogues(
    info: DatasetInfo,
    model: ModelInfo,
    *,
    scored: int = 0,
    seed: int = 0,
    download: bool = True,
    progress: Callable[[str], None] | None = None,
) -> DialogueData:
    """Loads a data set of dialogues, prepared for one model.

    Args:
        info: The set's facts.
        model: The model's.
        scored: How many train dialogues losses are measured on; 0 for all.
        seed: Draws those.
        download: Whether images may be downloaded when they are not on this machine.
        progress: Called with lines about a download; may raise to break it off.

    Raises:
        UsageError: The set is not here, is damaged, or does not fit the model or into memory.
    """
    source = source_of(model)
    say = progress or (lambda line: None)
    splits = (
        file_splits(info)
        if is_outside(info.name)
        else fashion_splits(info, download=download, say=say)
    )
    return prepared(source, info, *splits, scored, seed)


def prepared(
    source: Source, info: DatasetInfo, train: Split, test: Split, scored: int = 0, seed: int = 0
) -> DialogueData:
    """Returns the data of two splits, encoded for a model."""
    processor = source.processor
    one = pixels_of(processor, [train.images[0]])
    images = len(train.images) + len(test.images)
    require_room(f"{info.title}, prepared for this model,", images * one.nbytes)
    train_pixels, test_pixels = (pixels_of(processor, split.images) for split in (train, test))
    sign = image_sign(processor)
    text = image_text(processor, train.images[0])
    train_set, test_set = (
        encoded(processor, split, sign, text, source.longest) for split in (train, test)
    )
    if int(max(part.tokens.max() for part in (train_set, test_set))) >= source.words:
        raise UsageError(
            "The tokenizer has more tokens than the model; they do not belong together."
        )
    digest = hashlib.blake2b(digest_size=16)
    for tensor in (
        train_pixels, test_pixels, train_set.tokens, test_set.tokens,
        train_set.places, test_set.places, train_set.asked, test_set.asked,
    ):  # fmt: skip
        digest.update(repr(tuple(tensor.shape)).encode())
        digest.update(tensor.numpy().data)
    return DialogueData(
        train_images=train_pixels,
        train_labels=train_set.places,
        test_images=test_pixels,
        test_labels=test_set.places,
        classes=info.classes,
        digest=digest.hexdigest(),
        train=train_set,
        test=test_set,
        scored=_scored(len(train_set.tokens), scored, seed),
    )


def random_dialogues(model: ModelInfo, count: int) -> DialogueData:
    """Returns noise that takes a model as long as dialogues of the usual length do."""
    example = source_of(model).example(count, torch.Generator().manual_seed(0), model.size)
    lengths = torch.full((count,), example.tokens.shape[1])
    # The last token is followed by none.
    asked = example.asked.clone()
    asked[:, -1] = False
    one = Encoded(torch.arange(count), example.tokens, asked, lengths)
    return DialogueData(
        train_images=example.pixels,
        train_labels=one.places,
        test_images=example.pixels,
        test_labels=one.places,
        classes=model.classes,
        digest="",
        train=one,
        test=one,
        scored=torch.arange(count),
    )


def _scored(count: int, wanted: int, seed: int) -> torch.Tensor:
    """Returns the numbers of the train dialogues that are measured, in rising order."""
    if not wanted or wanted >= count:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(derive_seed(seed, "scored"))
    return torch.randperm(count, generator=generator)[:wanted].sort().values
