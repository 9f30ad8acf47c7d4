"""Whether the libraries of the extra `mllm` are here, and the sentence for when they are not."""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Any

from engine.errors import UsageError
from engine.work.vision_ops import declare_vision_ops

_HINT = "install it with `pip install 'oracle-tui[mllm]'`"


def transformers() -> Any:
    """Returns the library; raises UsageError where it is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise UsageError(f"Vision-language models need transformers; {_HINT}.")
    # Before it is imported: its image processors import torchvision, its loaders the hub's client.
    declare_vision_ops()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    library = importlib.import_module("transformers")
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


def peft() -> Any:
    """Returns the library that LoRA comes from; raises UsageError where it is not installed."""
    transformers()
    if importlib.util.find_spec("peft") is None:
        raise UsageError(f"LoRA needs peft; {_HINT}, or retrain all weights.")
    return importlib.import_module("peft")
