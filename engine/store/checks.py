"""What is required of an HDF5 file from a stranger before anything in it is believed.

HDF5 follows external links, external raw storage and virtual data sets without a word, so each
member is checked to be an ordinary data set of this very file before it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.errors import RunFileError
from engine.store.layout import MAX_CHUNK_BYTES, MAX_SUMMARY_BYTES
from engine.store.text import printable

_KNOWN_FILTERS = frozenset({h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE})
_CHECKSUM = h5py.h5z.FILTER_FLETCHER32
_SLICE_BYTES = 1 << 22


@contextmanager
def hdf5_errors(what: str) -> Iterator[None]:
    """Turn whatever h5py raises over a bad file into one RunFileError."""
    try:
        yield
    except RunFileError:
        raise
    except (OSError, LookupError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        said = printable(str(error).strip().splitlines()[0] if str(error).strip() else "no reason")
        raise RunFileError(f"{what} cannot be read as a run: {said}.") from error


def check_attribute(file: Any, name: str, expected: bytes, what: str) -> None:
    """Require a root attribute to be one fixed-length string with just these bytes."""
    key = name.encode()
    if not h5py.h5a.exists(file.id, key):
        raise RunFileError(f"{what} has no root attribute {name!r}, so it is not a run.")
    attribute = h5py.h5a.open(file.id, key)
    kind = attribute.get_type()
    if (
        not isinstance(kind, h5py.h5t.TypeStringID)
        or kind.is_variable_str()
        or kind.get_size() > MAX_SUMMARY_BYTES
        or attribute.get_space().get_simple_extent_type() != h5py.h5s.SCALAR
    ):
        raise RunFileError(f"{what}: the root attribute {name!r} is not a short, fixed text.")
    value: NDArray[np.bytes_] = np.zeros((), np.dtype(("S", kind.get_size())))
    attribute.read(value)
    if value.tobytes() != expected:
        raise RunFileError(f"{what}: the root attribute {name!r} differs from the file's seal.")


def open_dataset(
    file: Any, name: str, dtype: np.dtype[Any], rank: int, what: str, *, sparse: bool = False
) -> Any:
    """Open a root member that is an ordinary data set of this file.

    Args:
        file: the open HDF5 file.
        name: the member.
        dtype: the exact type it must have.
        rank: the number of dimensions it must have.
        what: names the file in the error.
        sparse: chunks may be missing (they read as the fill value).

    Raises:
        RunFileError: it is a link elsewhere, is stored elsewhere, or is not as declared.
    """
    key = name.encode()
    if not file.id.links.exists(key):
        raise RunFileError(f"{what} has no {name!r}, so it is not a run.")
    if file.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise RunFileError(f"{what}: {name!r} is a link to somewhere else and was not followed.")
    if h5py.h5o.get_info(file.id, key).type != h5py.h5o.TYPE_DATASET:
        raise RunFileError(f"{what}: {name!r} is not a data set.")
    handle = h5py.h5d.open(file.id, key)
    created = handle.get_create_plist()
    storage = created.get_layout()
    if storage == h5py.h5d.VIRTUAL or created.get_external_count():
        raise RunFileError(f"{what}: {name!r} takes its data from another file; it was not read.")
    dataset = h5py.Dataset(handle)
    if dataset.dtype != dtype or len(dataset.shape) != rank:
        raise RunFileError(f"{what}: {name!r} does not have the type of a run's {name}.")
    if math.prod(dataset.shape) == 0 and storage == h5py.h5d.CONTIGUOUS:
        return dataset
    if storage != h5py.h5d.CHUNKED:
        raise RunFileError(f"{what}: {name!r} is not stored in chunks.")
    _check_chunks(dataset, created, name, what, sparse=sparse)
    return dataset


def _check_chunks(dataset: Any, created: Any, name: str, what: str, *, sparse: bool) -> None:
    filters = [created.get_filter(i)[0] for i in range(min(created.get_nfilters(), 4))]
    if (
        created.get_nfilters() > 3
        or _CHECKSUM not in filters
        or len(set(filters)) < len(filters)
        or not set(filters) <= _KNOWN_FILTERS | {_CHECKSUM}
    ):
        raise RunFileError(f"{what}: {name!r} is stored with filters that a run does not have.")
    chunk = created.get_chunk()
    if math.prod(chunk) * dataset.dtype.itemsize > MAX_CHUNK_BYTES:
        raise RunFileError(f"{what}: {name!r} has chunks that are too large to be read.")
    wanted = math.prod(-(-size // step) for size, step in zip(dataset.shape, chunk, strict=True))
    stored = dataset.id.get_num_chunks()
    if stored > wanted or (stored < wanted and not sparse):
        raise RunFileError(f"{what}: {name!r} declares more data than it holds.")


def read_slices(dataset: Any, start: int, stop: int) -> NDArray[Any]:
    """Read entries `start` to `stop` of a data set, a few megabytes at a time."""
    out: NDArray[Any] = np.empty((stop - start, *dataset.shape[1:]), dataset.dtype)
    entry_bytes = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    step = max(1, _SLICE_BYTES // max(1, entry_bytes))
    for position in range(start, stop, step):
        end = min(stop, position + step)
        out[position - start : end - start] = dataset[position:end]
    return out
