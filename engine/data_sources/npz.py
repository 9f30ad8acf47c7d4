"""A person's .npz file of four arrays, read without pickle and looked at before it is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.lib import format as npy_format

from engine.data_sources.arrays import NAMES, Arrays, checked, facts_of
from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import DataName
from engine.errors import UsageError

_known: dict[str, tuple[tuple[int, int], DatasetInfo]] = {}


def describe_npz(name: DataName) -> DatasetInfo:
    """Returns the facts of a file; one that has not changed is not read again.

    Raises:
        UsageError: It cannot be read, or holds no data set.
    """
    path = name.path
    assert path is not None
    augment = name.options.get("augment", "none")
    if augment not in ("shift", "none"):
        raise UsageError(f"augment= of an .npz is shift or none, not {augment!r}.")
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError(
            f"The data file {path} cannot be read ({error.strerror}); name one that is there."
        ) from error
    stamp = status.st_mtime_ns, status.st_size
    known = _known.get(str(name))
    if known is not None and known[0] == stamp:
        return known[1]
    facts = facts_of(read_npz(path), str(name), path.stem[:60], f"the file {path}")
    if augment == "shift":
        facts = DatasetInfo.from_json({**facts.to_json(), "augmented": True})
    _known[str(name)] = stamp, facts
    return facts


def read_npz(path: Path) -> Arrays:
    """Returns the four arrays of a file, checked.

    Raises:
        UsageError: It is no .npz file, holds pickles, is damaged, or does not fit in memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {info.filename: info for info in archive.infolist()}
            missing = [name for name in NAMES if f"{name}.npy" not in inside]
            if missing:
                raise UsageError(
                    f"{path} lacks the array {missing[0]}; it must hold {', '.join(NAMES)}."
                )
            needed = sum(_bytes_of(archive, inside[f"{name}.npy"], path) for name in NAMES)
            free = psutil.virtual_memory().available
            if needed > 0.5 * free:
                raise UsageError(
                    f"The arrays of {path} take {needed / 1e9:.1f} GB of memory and "
                    f"{free / 1e9:.1f} GB are free; save fewer images."
                )
        with np.load(path, allow_pickle=False) as loaded:
            arrays: list[Any] = [loaded[name] for name in NAMES]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise UsageError(
            f"{path} cannot be read as an .npz file ({error}); save it again with numpy.savez."
        ) from error
    return checked(arrays, str(path))


def _bytes_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> int:
    """Returns what an array takes, from its header; it must be as large as its member."""
    with archive.open(member) as file:
        version = npy_format.read_magic(file)
        read = {
            (1, 0): npy_format.read_array_header_1_0,
            (2, 0): npy_format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"{member.filename} is of an unknown version")
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise UsageError(
                f"{member.filename} in {path} holds Python objects; save numbers in it."
            )
        size = int(dtype.itemsize)
        for extent in shape:
            size *= int(extent)
        if size != member.file_size - file.tell():
            raise ValueError(f"{member.filename} is cut short")
    return size
