"""Building a run's HDF5 file in memory. Nothing here touches a file: HDF5 never writes to disk."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.store.documents import dump_document
from engine.store.layout import (
    CURVE_COLUMNS,
    PRUNED_DTYPE,
    SCHEMA,
    SCHEMA_VERSION,
    Curves,
    Pruned,
    Rows,
    count_finished,
)
from engine.store.seal import sealed
from engine.store.summary import RunState, summary_document
from engine.store.table import RunTable

CHUNK_BYTES = 1 << 18
_CORE_GROWTH = 1 << 22


def build_image(table: RunTable, state: RunState, *, compress: bool) -> bytes:
    """Return the run as a sealed HDF5 file.

    Rows stand sorted by (candidate, repeat); the pruned indices of a candidate stand once, and
    all its rows point at them.

    Args:
        table: the rows, curves and pruned indices.
        state: config, status and summary.
        compress: shuffle and gzip the data (for a finished run).
    """
    order = table.order()
    rows: Rows = table.rows[order]
    flat = _place_pruned(rows, table.pruned)
    layout = table.layout
    summary = summary_document(state, layout, len(rows), count_finished(rows, layout.epochs))
    options: dict[str, Any] = {"fletcher32": True}
    if compress:
        options |= {"shuffle": True, "compression": "gzip", "compression_opts": 4}
    with _memory_file() as file:
        root = file.attrs
        root.create("schema", np.bytes_(SCHEMA))
        root.create("schema_version", SCHEMA_VERSION, dtype="<u4")
        root.create("run_id", np.bytes_(layout.run_id))
        root.create("summary", np.bytes_(summary))
        config = np.frombuffer(dump_document(state.config), np.uint8)
        _write(file, "config", config, options)
        _write(file, "candidates", rows, options)
        _write(file, "pruned", flat, options)
        _write_curves(file, table.curves, order, options)
        file.flush()
        body = file.id.get_file_image()
    return sealed(body, summary)


def _memory_file() -> Any:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(_CORE_GROWTH, False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    return h5py.File(h5py.h5f.create(b"run", h5py.h5f.ACC_TRUNC, fapl=access))


def _place_pruned(rows: Rows, pruned: dict[int, Pruned]) -> Pruned:
    """Set the rows' offset and length, and return the indices they point at, in row order."""
    parts: list[Pruned] = []
    offset = 0
    placed: dict[int, tuple[int, int]] = {}
    offsets: NDArray[np.uint64] = np.zeros(len(rows), np.uint64)
    lengths: NDArray[np.uint32] = np.zeros(len(rows), np.uint32)
    for i, candidate in enumerate(rows["candidate"].tolist()):
        if candidate not in placed:
            flat = pruned.get(candidate)
            length = 0 if flat is None else len(flat)
            placed[candidate] = (offset, length)
            if flat is not None:
                parts.append(flat)
            offset += length
        offsets[i], lengths[i] = placed[candidate]
    rows["pruned_offset"], rows["pruned_length"] = offsets, lengths
    return np.concatenate(parts) if parts else np.empty(0, PRUNED_DTYPE)


def _write(file: Any, name: str, data: NDArray[Any], options: dict[str, Any]) -> None:
    most = max(1, CHUNK_BYTES // data.dtype.itemsize)
    dataset = file.create_dataset(
        name,
        shape=data.shape,
        maxshape=(None,),
        chunks=(min(most, max(1, len(data))),),
        dtype=data.dtype,
        **options,
    )
    if len(data):
        dataset[:] = data


def _write_curves(
    file: Any, curves: Curves, order: NDArray[np.intp], options: dict[str, Any]
) -> None:
    n, epochs, columns = len(order), curves.shape[1], len(CURVE_COLUMNS)
    if epochs == 0:
        file.create_dataset("curves", shape=(n, 0, columns), dtype="<f4")
        return
    step = min(max(1, CHUNK_BYTES // (epochs * columns * 4)), max(1, n))
    dataset = file.create_dataset(
        "curves",
        shape=(n, epochs, columns),
        maxshape=(None, epochs, columns),
        chunks=(step, epochs, columns),
        dtype="<f4",
        fillvalue=np.float32(np.nan),
        **options,
    )
    for start in range(0, n, step):
        block = curves[order[start : start + step]]
        if not np.isnan(block).all():  # a chunk never written reads as NaN and takes no room
            dataset[start : start + step] = block
