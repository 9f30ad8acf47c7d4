"""Which versions are installed, read from their metadata: nothing is imported for it."""

from __future__ import annotations

import importlib.metadata
import platform

from engine import __version__

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "torch-pruning",
    "numpy",
    "scipy",
    "pandas",
    "h5py",
    "numba",
    "textual",
    "plotext",
    "nvidia-ml-py",
)


def versions() -> dict[str, str | None]:
    """Returns the versions of this program, Python, the system and the libraries; None: missing."""
    found: dict[str, str | None] = {
        "oracle-tui": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = None
    return found
