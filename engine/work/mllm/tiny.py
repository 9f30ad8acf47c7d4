"""Tiny-LLaVA: a real LLaVA of transformers in small, built from its configs. No weights ship."""

from __future__ import annotations

from typing import Any

from engine.work.mllm.availability import transformers
from engine.work.mllm.fashion import questions_file, vocabulary

_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
_PATCH = 7
_LONGEST = 64
# The constants of Fashion-MNIST, one for each of the three equal channels.
_MEAN, _STD = 0.2860, 0.3530


def tiny_config(size: int) -> Any:
    """Returns the LlavaConfig: a CLIP tower, a projector, and a Llama whose heads share keys."""
    library = transformers()
    vision = library.CLIPVisionConfig(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        image_size=size, patch_size=_PATCH, num_channels=3, hidden_act="gelu",
    )  # fmt: skip
    text = library.LlamaConfig(
        vocab_size=len(_SPECIAL) + len(vocabulary()), hidden_size=96, intermediate_size=192,
        num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=4,
        max_position_embeddings=_LONGEST, bos_token_id=1, eos_token_id=2, pad_token_id=3,
        tie_word_embeddings=False,
    )  # fmt: skip
    return library.LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=4, image_seq_length=_tokens(size),
        vision_feature_layer=-1, vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )  # fmt: skip


def tiny_processor(size: int) -> Any:
    """Returns the LlavaProcessor: every word a token, images as they are, normalised."""
    library = transformers()
    tokenizer = tiny_tokenizer()
    images = library.CLIPImageProcessor(
        do_resize=True, size={"height": size, "width": size}, do_center_crop=False,
        image_mean=[_MEAN] * 3, image_std=[_STD] * 3,
    )  # fmt: skip
    return library.LlavaProcessor(
        images, tokenizer, patch_size=_PATCH, vision_feature_select_strategy="default",
        image_token="<image>", num_additional_image_tokens=1,
        chat_template=questions_file()["chat_template"],
    )  # fmt: skip


def tiny_tokenizer() -> Any:
    """Returns a tokenizer for which words are what blanks separate."""
    library = transformers()
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = {word: place for place, word in enumerate((*_SPECIAL, *vocabulary()))}
    words = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return library.PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<pad>", extra_special_tokens={"image_token": "<image>"},
        model_max_length=_LONGEST, padding_side="right",
    )  # fmt: skip


def _tokens(size: int) -> int:
    return (size // _PATCH) ** 2
