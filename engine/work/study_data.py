"""The data of a study, of whichever kind its model reads."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch

from engine.spec import StudySpec
from engine.work.datasets import ImageData, load_dataset


def require_memory(spec: StudySpec, data: ImageData, device: torch.device) -> None:
    """Refuses a study of a large model that cannot fit, before its weights are there.

    Raises:
        UsageError: It takes more memory than is free; with both numbers.
    """
    if spec.dataset_info.asks:
        from engine.work.mllm.memory import require_training_room
        from engine.work.mllm.samples import DialogueData
        from engine.work.mllm.sources import source_of

        assert isinstance(data, DialogueData)
        require_training_room(spec, source_of(spec.model_info), data, device)


def libraries_of(spec: StudySpec) -> dict[str, str]:
    """Returns the versions of the libraries that only some models are made of."""
    names = ("transformers", "peft") if spec.tuning.lora else ("transformers",)
    return {name: version(name) for name in names if spec.dataset_info.asks}


def study_data(
    spec: StudySpec,
    *,
    download: bool = True,
    progress: Callable[[str], None] | None = None,
    count: Callable[[int, int], None] | None = None,
    room: int | None = None,
) -> ImageData:
    """Loads a study's data set, prepared for its model; see `load_dataset`."""
    model, info = spec.model_info, spec.dataset_info
    if info.asks:
        from engine.work.mllm.loading import load_dialogues

        return load_dialogues(
            info, model, scored=spec.tuning.scored, seed=spec.seed, download=download,
            progress=progress,
        )  # fmt: skip
    return load_dataset(
        info,
        size=model.size,
        channels=model.channels,
        download=download,
        progress=progress,
        count=count,
        room=room,
    )
