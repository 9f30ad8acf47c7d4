"""Small vision-language models of real classes, built from configs for tests."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from engine.catalog import find_dataset
from engine.work.datasets.files import locate
from engine.work.datasets.idx import read_images, read_labels

pytest.importorskip("transformers", reason="transformers is not installed: pip install .[mllm]")

from tokenizers import Tokenizer, models, pre_tokenizers

from engine.work.mllm.availability import transformers
from engine.work.mllm.fashion import questions_file, vocabulary
from engine.work.mllm.network import Answerer
from engine.work.mllm.tiny import tiny_config, tiny_processor

needs_peft = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="peft is not installed: pip install .[mllm]"
)

WORDS = 48
IMAGE = 47
_TEXT = {
    "vocab_size": WORDS, "hidden_size": 48, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 8,
    "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
_VISION = {
    "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 3,
    "image_size": 28, "patch_size": 7, "num_channels": 3,
}  # fmt: skip


def config_of(kind: str) -> Any:
    """Returns the config of a small model: llava, tinyllava, smolvlm or idefics3."""
    library = transformers()
    if kind == "llava":
        return library.LlavaConfig(
            vision_config=library.CLIPVisionConfig(**_VISION),
            text_config=library.LlamaConfig(**_TEXT, attention_bias=True),
            image_token_id=IMAGE, vision_feature_layer=-2,
        )  # fmt: skip
    if kind == "tinyllava":
        # As TinyLLaVA's: a SigLIP tower without a class token, and Phi.
        text = {**_TEXT, "partial_rotary_factor": 0.5}
        del text["head_dim"]
        return library.LlavaConfig(
            vision_config=library.SiglipVisionConfig(**_VISION, vision_use_head=False),
            text_config=library.PhiConfig(**text),
            image_token_id=IMAGE, vision_feature_layer=-1,
            vision_feature_select_strategy="full",
        )  # fmt: skip
    config, vision = {
        "smolvlm": (library.SmolVLMConfig, "SmolVLMVisionConfig"),
        "idefics3": (library.Idefics3Config, "Idefics3VisionConfig"),
    }[kind]
    module = getattr(library.models, kind)
    return config(
        vision_config=getattr(module, vision)(**_VISION),
        text_config=library.LlamaConfig(**_TEXT, tie_word_embeddings=True),
        image_token_id=IMAGE, scale_factor=2, tie_word_embeddings=True,
    )  # fmt: skip


def network_of_kind(kind: str) -> Answerer:
    """Returns a small model with the random weights that its classes draw."""
    library = transformers()
    return Answerer(library.AutoModelForImageTextToText.from_config(config_of(kind))).eval()


def idefics3_processor() -> Any:
    """Returns a processor of Idefics3's, whose tokens are those of `config_of("idefics3")`."""
    library = transformers()
    special = ["<pad>", "<s>", "</s>", "<unk>", "<fake_token_around_image>", "<global-img>",
               "<end_of_utterance>", "User:", "Assistant:"]  # fmt: skip
    words = [*special, *vocabulary()][: WORDS - 1]
    known = {word: place for place, word in enumerate(words)} | {"<image>": IMAGE}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    fast = library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>", additional_special_tokens=names,
    )  # fmt: skip
    side = {"longest_edge": 28}
    images = library.Idefics3ImageProcessor(size=side, max_image_size=side)
    template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}User: {% else %}Assistant: {% endif %}"
        "{% for part in m['content'] %}{% if part['type'] == 'image' %}<image> {% else %}"
        "{{ part['text'] }} {% endif %}{% endfor %}<end_of_utterance> {% endfor %}"
        "{% if add_generation_prompt %}Assistant: {% endif %}"
    )
    return library.Idefics3Processor(images, fast, image_seq_len=4, chat_template=template)


def save_tiny(folder: Path, size: int = 28) -> Path:
    """Saves Tiny-LLaVA with random weights in the hub's layout; returns the folder."""
    library = transformers()
    torch.manual_seed(0)
    library.AutoModelForImageTextToText.from_config(tiny_config(size)).save_pretrained(folder)
    tiny_processor(size).save_pretrained(folder)
    return folder


def save_digits(folder: Path, count: int = 60) -> Path:
    """Saves real digits and questions about them as LLaVA's data; returns the JSON file."""
    info = find_dataset("mnist-5k")
    files = locate(info, download=False, say=lambda line: None)
    images = read_images(files[0], info.train_images)[:count]
    labels = read_labels(files[1], info.train_images, info.classes)[:count]
    items = questions_file()["items"]
    (folder / "images").mkdir(parents=True)
    entries = []
    for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{place}.png")
        said = [("human", "<image>\nwhat is this ?"), ("gpt", items[label]),
                ("human", "is it footwear ?"), ("gpt", "yes" if label > 4 else "no")]  # fmt: skip
        conversations = [{"from": who, "value": text} for who, text in said[: 2 + 2 * (place % 2)]]
        entries.append({"id": place, "image": f"{place}.png", "conversations": conversations})
    entries.append({"id": "text", "conversations": entries[0]["conversations"]})
    path = folder / "digits.json"
    path.write_text(json.dumps(entries))
    return path
