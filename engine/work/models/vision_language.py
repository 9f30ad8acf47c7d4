"""The family of vision-language models, as the study knows families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.catalog import ModelInfo
from engine.described import split_hub
from engine.errors import UsageError
from engine.model_catalog import DIALOGUE_TUNE
from engine.work.models.family import Family
from engine.work.surgery import SlicePlan

FAMILY = "mllm"


class DialogueFamily(Family):
    """Networks take `Questions` and give logits (tokens of answers, vocabulary)."""

    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        """Returns a whole network with the initial weights of its classes.

        Raises:
            UsageError: transformers is not installed, or the model cannot be had.
        """
        from engine.work.mllm.sources import digest_of_folder, source_of

        source = source_of(info)
        folder = Path(source.folder or "")
        if info.digest and source.folder and folder.is_dir():
            _require_same(info, folder, digest_of_folder(folder))
        return source.built()

    def plan(self, info: ModelInfo, network: nn.Module) -> SlicePlan:
        """Returns the plan of heads and neurons of both transformers."""
        from engine.work.mllm.network import Answerer
        from engine.work.mllm.plans import dialogue_plan

        assert isinstance(network, Answerer)
        return dialogue_plan(network)

    def example(self, info: ModelInfo, count: int, generator: torch.Generator | None = None) -> Any:
        """Returns questions about noise, or about black images."""
        from engine.work.mllm.sources import source_of

        return source_of(info).example(count, generator, info.size)

    def answers(self, classes: int, count: int) -> tuple[int, ...] | None:
        """Has nothing to promise: there is a row of logits for every token of an answer."""
        return None

    def weights(self, info: ModelInfo) -> dict[str, Tensor] | None:
        """Returns the weights of a model's folder; None for the tiny one, which is trained."""
        from engine.work.mllm.sources import source_of

        return source_of(info).weights()


def _require_same(info: ModelInfo, folder: Path, digest: str) -> None:
    if digest != info.digest:
        raise UsageError(f"{folder} has changed since this study was made; make a new study.")


def hub_facts(name: str) -> ModelInfo:
    """Returns the facts of `hf:FOLDER` or `hf:OWNER/NAME`, before its layers are counted.

    Raises:
        UsageError: It cannot be had, or is of an unknown family.
    """
    from engine.work.mllm.plans import adapter_of
    from engine.work.mllm.sources import digest_of_folder, hub_source, processor_side

    source = hub_source(name)
    found = split_hub(name)
    assert found is not None
    folder = Path(found[0])
    return ModelInfo(
        name,
        f"{adapter_of(source.config).title} of {folder.name}",
        FAMILY,
        3,
        processor_side(source.processor),
        (),
        (),
        DIALOGUE_TUNE,
        DIALOGUE_TUNE,
        source=name,
        digest=digest_of_folder(folder) if folder.is_dir() else "",
        usual=f"{adapter_of(source.config).language}.*mlp",
    )
