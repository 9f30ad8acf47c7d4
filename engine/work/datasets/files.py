"""Where a set's files are found: shipped, on this machine, or downloaded into the cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.catalog import DatasetInfo
from engine.data_sources import places
from engine.data_sources.places import SHIPPED, SYSTEM_FOLDERS, idx_files
from engine.errors import UsageError
from engine.folders import ensure_private, shipped_folder
from engine.work.datasets.cifar import ARCHIVES, MIRRORS
from engine.work.vision_ops import declare_vision_ops

_TORCHVISION_NAMES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
_TIMEOUT_SECONDS = 30.0
_LARGEST_DOWNLOAD = 200 << 20
_PIECE = 1 << 18

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to download: its name, its MD5 sum, and the folders (URLs) it can be had from."""

    name: str
    md5: str
    mirrors: tuple[str, ...]


def locate(info: DatasetInfo, *, download: bool, say: Say) -> list[Path]:
    """Returns a set's files: its archive, or the four idx files in the order of `NAMES`.

    Looks among the shipped files, then where distributions put the set, then in the cache; what is
    missing there is downloaded.

    Args:
        info: The set.
        download: Whether it may be downloaded.
        say: Called with a line about the progress of a download.

    Raises:
        UsageError: The set is not here and cannot be had.
    """
    if info.name in SHIPPED:
        return _all_in(info, shipped_folder() / info.name, "install the package again")
    system = SYSTEM_FOLDERS.get(info.name)
    if system is not None and (files := idx_files(system)) is not None:
        return files
    folder = cache_of(info)
    if (files := _cached(info)) is not None:
        return files
    if not download:
        raise UsageError(
            f"{info.title} is not on this machine; allow its download, or put {_what(info)} "
            f"into {folder}."
        )
    download_all(info, say)
    return _cached(info) or _all_in(info, folder, "download it again")


def download_all(info: DatasetInfo, say: Say) -> None:
    """Downloads a set into the cache, over what is there; raises UsageError."""
    folder = ensure_private(cache_of(info))
    for remote in remote_files(info):
        fetch(info, remote, folder, say)


def cache_of(info: DatasetInfo) -> Path:
    """Returns the folder that a set is downloaded into."""
    return places.cache_of(info.name)


def remote_files(info: DatasetInfo) -> list[Remote]:
    """Returns what there is to download of a set."""
    if (archive := ARCHIVES.get(info.name)) is not None:
        return [Remote(archive.name, archive.md5, MIRRORS)]
    return torchvision_files(info)


def torchvision_files(info: DatasetInfo) -> list[Remote]:
    """Returns what torchvision knows about a set's files: names, MD5 sums, mirrors."""
    declare_vision_ops()
    from torchvision import datasets

    known = getattr(datasets, _TORCHVISION_NAMES[info.name])
    return [Remote(name, md5, tuple(known.mirrors)) for name, md5 in known.resources]


def fetch(info: DatasetInfo, remote: Remote, folder: Path, say: Say) -> None:
    """Downloads one file into a folder, whole and with the right MD5 sum, or not at all.

    Raises:
        UsageError: No mirror gave it.
    """
    target = folder / remote.name
    temporary = folder / f"{remote.name}.{os.getpid()}.part"
    reasons = []
    try:
        for mirror in remote.mirrors:
            try:
                if _download(mirror + remote.name, temporary, info, say) == remote.md5:
                    os.replace(temporary, target)
                    return
                reasons.append(f"{mirror} sent a damaged {remote.name}")
            except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
                reasons.append(f"{mirror}: {getattr(error, 'reason', error) or error!r}")
            except OSError as error:
                reasons.append(str(error))
    finally:
        temporary.unlink(missing_ok=True)
    raise UsageError(
        f"{info.title} could not be downloaded ({'; '.join(reasons)}); connect to the internet, or "
        f"put {_what(info)} into {folder}."
    )


def _download(url: str, target: Path, info: DatasetInfo, say: Say) -> str:
    """Writes what a URL gives to a file and returns its MD5 sum."""
    digest = hashlib.md5(usedforsecurity=False)
    name = url.rpartition("/")[2]
    done = 0
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer,
        target.open("wb") as file,
    ):
        total = int(answer.headers.get("Content-Length") or 0)
        while (piece := answer.read(_PIECE)) and done <= _LARGEST_DOWNLOAD:
            file.write(piece)
            digest.update(piece)
            done += len(piece)
            of_all = f" of {total / 1e6:.0f}" if total else ""
            say(f"downloading {info.title}: {done / 1e6:.0f}{of_all} MB of {name}")
    return digest.hexdigest()


def _what(info: DatasetInfo) -> str:
    archive = ARCHIVES.get(info.name)
    return "its four idx files" if archive is None else archive.name


def _cached(info: DatasetInfo) -> list[Path] | None:
    archive = ARCHIVES.get(info.name)
    if archive is None:
        return idx_files(cache_of(info))
    path = cache_of(info) / archive.name
    return [path] if path.is_file() else None


def _all_in(info: DatasetInfo, folder: Path, way_out: str) -> list[Path]:
    files = idx_files(folder)
    if files is None:
        raise UsageError(f"{info.title} is not complete in {folder}; {way_out}.")
    return files
