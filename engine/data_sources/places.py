"""Where the data sets of the catalog are looked for, and whether they are there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from engine.folders import cache_folder, shipped_folder

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SHIPPED = frozenset({"mnist-5k"})
# Where distributions put a set; Debian's package dataset-fashion-mnist is one.
SYSTEM_FOLDERS: Mapping[str, Path] = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
ARCHIVE_NAMES: Mapping[str, str] = {
    "cifar10": "cifar-10-binary.tar.gz",
    "cifar100": "cifar-100-binary.tar.gz",
}
# Sets that ask questions about the images of another.
IMAGES_OF: Mapping[str, str] = {"fashion-qa": "fashion-mnist"}
IMAGENET = "imagenet"
IMAGENET_VARIABLE = "ORACLE_TUI_IMAGENET"


def cache_of(name: str) -> Path:
    """Returns the folder that a set is downloaded into, or put by hand."""
    return cache_folder() / "datasets" / name


def places(name: str) -> list[Path]:
    """Returns where a set of the catalog is looked for, in this order."""
    name = IMAGES_OF.get(name, name)
    if name in SHIPPED:
        return [shipped_folder() / name]
    if name == IMAGENET:
        named = os.environ.get(IMAGENET_VARIABLE)
        return [Path(named).expanduser().absolute()] if named else [cache_of(name)]
    system = [SYSTEM_FOLDERS[name]] if name in SYSTEM_FOLDERS else []
    return [*system, cache_of(name)]


def found_at(name: str) -> Path | None:
    """Returns the first of a set's places that holds all its files, or None; opens none of them."""
    return next((place for place in places(name) if _complete(name, place)), None)


def idx_files(folder: Path) -> list[Path] | None:
    """Returns the four idx files where all are there, each gzipped or not."""
    files = []
    for name in IDX_NAMES:
        found = [path for path in (folder / f"{name}.gz", folder / name) if path.is_file()]
        if not found:
            return None
        files.append(found[0])
    return files


def _complete(name: str, folder: Path) -> bool:
    if name == IMAGENET:
        return (folder / "train").is_dir() and (folder / "val").is_dir()
    if name in ARCHIVE_NAMES:
        return (folder / ARCHIVE_NAMES[name]).is_file()
    return idx_files(folder) is not None
