"""Makes torchvision importable where its compiled operators cannot load; no other repair may enter.

A CPU-only torch beside torchvision's CUDA wheel cannot load torchvision's extension, and importing
torchvision then fails with "operator torchvision::nms does not exist", because it registers fake
kernels for two operators it never checked for. Declaring their schemas first is enough.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@functools.cache
def declare_vision_ops() -> torch.library.Library | None:
    """Declares what torchvision needs to be imported; call it before every such import.

    Returns:
        The library that holds the declarations, or None where the real operators are there.
    """
    if _real_operators():
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS.values():
        library.define(schema)  # type: ignore[no-untyped-call]
    # The cache keeps the library alive: torch takes the schemas back when it is collected.
    return library


def _real_operators() -> bool:
    """Loads torchvision's extension as torchvision will; loading it twice changes nothing."""
    if _declared():
        return True
    found = importlib.util.find_spec("torchvision")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for extension in sorted(Path(folder).glob("_C*")):
            try:
                torch.ops.load_library(str(extension))  # type: ignore[no-untyped-call]
            except (ImportError, OSError):
                continue
    return _declared()


def _declared() -> bool:
    return all(hasattr(torch.ops.torchvision, name) for name in _SCHEMAS)
