"""Where a vision-language model comes from: configs of ours, a folder, or the hub by name."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from engine.catalog import ModelInfo
from engine.described import split_hub
from engine.errors import UsageError
from engine.work.mllm.availability import transformers
from engine.work.mllm.network import Answerer
from engine.work.mllm.plans import adapter_of
from engine.work.mllm.room import require_room
from engine.work.mllm.samples import Questions, image_text, pixels_of
from engine.work.mllm.tiny import tiny_config, tiny_processor

TINY = "tiny-llava"
Result = TypeVar("Result")

# Tokens of the question and answer that a model's costs are counted with, and tried with.
_TEXT_TOKENS = 14
_FLOAT = 4
# Side of an image that shows nothing.
_BLANK = 32
# Files that determine a model's numbers, in the hub's layout.
_PARTS = frozenset({".json", ".safetensors", ".model", ".txt", ".jinja", ".py"})
_OFFLINE = (
    "connect",
    "couldn't",
    "offline",
    "is not a local folder",
    "not a valid model",
    "resolve",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A model before its weights are there.

    Attributes:
        config: Its config.
        processor: Its processor of images and texts.
        folder: Where its weights are; a folder, or the hub's name; None for random ones.
        trusted: Whether code that comes with it may be run.
    """

    config: Any
    processor: Any
    folder: str | None = None
    trusted: bool = False

    @property
    def longest(self) -> int:
        """How many tokens the language model takes."""
        text = self.config.get_text_config()
        return int(getattr(text, "max_position_embeddings", 2048))

    @property
    def words(self) -> int:
        """How many tokens there are."""
        return int(self.config.get_text_config().vocab_size)

    def built(self) -> Answerer:
        """Returns the network with random weights, as its classes draw them."""
        library = transformers()

        def make() -> Any:
            return library.AutoModelForImageTextToText.from_config(
                self.config, trust_remote_code=self.trusted
            )

        name = self.folder or TINY
        if self.folder is not None:
            with torch.device("meta"):
                numbers = sum(tensor.numel() for tensor in _said(name, make).parameters())
            # It is there twice while it is looked into, and while it is pruned.
            require_room(f"{Path(name).name}", 2 * _FLOAT * numbers)
        return Answerer(_said(name, make).float())

    def weights(self) -> dict[str, Tensor] | None:
        """Returns the weights that come with it, float32; None where it has none."""
        if self.folder is None:
            return None
        library = transformers()
        network, told = _said(
            self.folder,
            lambda: library.AutoModelForImageTextToText.from_pretrained(
                self.folder,
                dtype=torch.float32,
                trust_remote_code=self.trusted,
                use_safetensors=True,
                output_loading_info=True,
            ),
        )
        for what in ("missing_keys", "mismatched_keys"):
            if missing := sorted(map(str, told.get(what) or ())):
                raise UsageError(f"The weights in {self.folder} lack or misfit {missing[0]}.")
        return dict(Answerer(network).state_dict())

    def example(self, count: int, generator: torch.Generator | None, side: int) -> Questions:
        """Returns questions of this model's shapes: about noise, or about black images.

        They are about black images where no generator is given.
        """
        blank = np.zeros((side, side, 3), np.uint8)
        pixels = pixels_of(self.processor, [blank])
        pixels = pixels.expand(count, *(-1,) * (pixels.ndim - 1)).clone()
        if generator is not None:
            pixels = torch.randn(pixels.shape, generator=generator)
        image = self.processor.tokenizer(
            image_text(self.processor, blank), add_special_tokens=False, return_tensors="pt"
        )["input_ids"]
        plain = [token for token in range(self.words) if token not in image]
        chosen = torch.randint(0, len(plain), (count, _TEXT_TOKENS), generator=generator)
        tokens = torch.cat([image.expand(count, -1), torch.tensor(plain)[chosen]], 1)
        asked = torch.zeros(tokens.shape, dtype=torch.bool)
        asked[:, -_TEXT_TOKENS:] = True
        return Questions(pixels, tokens, asked)


def source_of(info: ModelInfo) -> Source:
    """Returns what a model is made from; raises UsageError where it cannot be had."""
    return _source(info.source, info.size)


def processor_side(processor: Any) -> int:
    """Returns the height and width that a processor brings images to."""
    blank = np.zeros((_BLANK, _BLANK, 3), np.uint8)
    return int(pixels_of(processor, [blank]).shape[-1])


def digest_of_folder(folder: Path) -> str:
    """Names the content of a model's folder: every file that determines its numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _PARTS:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                while piece := file.read(1 << 22):
                    digest.update(piece)
    return digest.hexdigest()


@functools.lru_cache(maxsize=2)
def _source(source: str, size: int) -> Source:
    if source == TINY:
        return Source(tiny_config(size), tiny_processor(size))
    return hub_source(source)


def hub_source(name: str) -> Source:
    """Returns what `hf:FOLDER`, `hf:OWNER/NAME` or `hf+code:...` names, without its weights.

    Raises:
        UsageError: It is not there, is no vision-language model, or is of an unknown family.
    """
    found = split_hub(name)
    if found is None:
        raise UsageError(f"{name!r} names no model; write hf:FOLDER or hf:OWNER/NAME.")
    place, trusted = found
    folder = Path(place)
    if folder.is_absolute() and not (folder / "config.json").is_file():
        raise UsageError(f"{place} is no model's folder: it has no config.json.")
    library = transformers()

    def config_and_processor() -> tuple[Any, Any]:
        config = library.AutoConfig.from_pretrained(place, trust_remote_code=trusted)
        adapter_of(config)
        return config, library.AutoProcessor.from_pretrained(place, trust_remote_code=trusted)

    config, processor = _said(place, config_and_processor)
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise UsageError(f"{place} has no processor of images and texts.")
    return Source(config, processor, place, trusted)


def _said(name: str, make: Callable[[], Result]) -> Result:
    """Runs one of the library's loaders; what it raises, of many kinds, becomes one sentence."""
    try:
        return make()
    except UsageError:
        raise
    except Exception as error:  # loaders raise whatever their files and their network do
        text = str(error).strip()
        if "trust_remote_code" in text:
            raise UsageError(
                f"{name} comes with code of its own; write hf+code: before its name to run it, "
                "if you trust it."
            ) from error
        if not Path(name).is_absolute() and any(sign in text for sign in _OFFLINE):
            raise UsageError(
                f"{name} could not be had from the hub; connect to the internet, or name a local "
                "folder behind hf:."
            ) from error
        first = text.splitlines()[0][:200] if text else type(error).__name__
        raise UsageError(f"{name} cannot be loaded: {first}") from error
