"""Run files from strangers: sealed as the store seals them, with something wrong inside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.store.image import build_image
from engine.store.layout import PRUNED_DTYPE, RunLayout, row_dtype
from engine.store.seal import read_seal, sealed
from engine.store.summary import RunState
from engine.store.table import RunTable, flatten_pruned
from tests.store_harness.cases import EPOCHS, SCORES, batch, config

N = 30
Spoil = Callable[[h5py.File, Path], None]


def good_file(path: Path, n: int = N, *, compress: bool = False, epochs: int = EPOCHS) -> bytes:
    """Write a sound run file and return its bytes."""
    document = config(epochs=epochs)
    table = RunTable(RunLayout.of(document, "case"))
    rows, curves, pruned = batch(0, n, epochs)
    flat = [flatten_pruned(per_layer) for per_layer in pruned]
    table.upsert(rows, curves, dict(zip(rows["candidate"].tolist(), flat, strict=True)))
    state = RunState(document, "done", "", 3, {"tau": -0.5})
    data = build_image(table, state, compress=compress)
    path.write_bytes(data)
    return data


def unseal(data: bytes, path: Path) -> tuple[bytes, bytes]:
    """Return the HDF5 part and the summary of a run file."""
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        seal = read_seal(fd, "case")
    finally:
        os.close(fd)
    return data[: seal.body_bytes], seal.summary


def spoiled_file(path: Path, spoil: Spoil) -> None:
    """Write a run file that `spoil` has changed from inside, with a seal that fits."""
    body, summary = unseal(good_file(path), path)
    path.write_bytes(body)
    with h5py.File(path, "r+") as file:
        spoil(file, path.parent)
        if file and "summary" in file.attrs:
            summary = np.asarray(file.attrs["summary"]).tobytes()
    path.write_bytes(sealed(path.read_bytes(), summary[:30_000]))


def _secret(folder: Path) -> Path:
    secret = folder / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["rows"] = np.zeros(N, row_dtype(SCORES))
        file["curves"] = np.zeros((N, EPOCHS, 4), "<f4")
        file["pruned"] = np.zeros(40, PRUNED_DTYPE)
    return secret


def _replace(file: h5py.File, name: str, **options: Any) -> Any:
    del file[name]
    return file.create_dataset(name, **options)


def _external_link(file: h5py.File, folder: Path) -> None:
    del file["candidates"]
    file["candidates"] = h5py.ExternalLink(str(_secret(folder)), "/rows")


def _external_link_to_fifo(file: h5py.File, folder: Path) -> None:
    os.mkfifo(folder / "fifo.h5")
    del file["candidates"]
    file["candidates"] = h5py.ExternalLink(str(folder / "fifo.h5"), "/rows")


def _soft_link(file: h5py.File, _: Path) -> None:
    file.move("candidates", "elsewhere")
    file["candidates"] = h5py.SoftLink("/elsewhere")


def _soft_link_cycle(file: h5py.File, _: Path) -> None:
    del file["candidates"]
    file["candidates"] = h5py.SoftLink("/candidates")


def _group_cycle(file: h5py.File, _: Path) -> None:
    del file["candidates"]
    file["candidates"] = file["/"]


def _external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(b"secret" * 1000)
    where = [(str(folder / "secret.bin"), 0, 4 * 40)]
    _replace(file, "pruned", shape=(40,), dtype=PRUNED_DTYPE, external=where)


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(shape=(N, EPOCHS, 4), dtype="<f4")
    layout[:] = h5py.VirtualSource(str(_secret(folder)), "curves", shape=(N, EPOCHS, 4))
    del file["curves"]
    file.create_virtual_dataset("curves", layout)


def _virtual_of_fifo(file: h5py.File, folder: Path) -> None:
    os.mkfifo(folder / "source.h5")
    layout = h5py.VirtualLayout(shape=(N, EPOCHS, 4), dtype="<f4", maxshape=(None, EPOCHS, 4))
    source = h5py.VirtualSource(
        str(folder / "source.h5"), "curves", shape=(N, EPOCHS, 4), maxshape=(None, EPOCHS, 4)
    )
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    del file["curves"]
    file.create_virtual_dataset("curves", layout)


def _huge_shape(file: h5py.File, _: Path) -> None:
    options = {"maxshape": (None,), "chunks": (1024,), "fletcher32": True}
    _replace(file, "candidates", shape=(1 << 40,), dtype=row_dtype(SCORES), **options)


def _huge_curves(file: h5py.File, _: Path) -> None:
    options = {"maxshape": (None, None, 4), "chunks": (1, 1024, 4), "fletcher32": True}
    _replace(file, "curves", shape=(N, 1 << 40, 4), dtype="<f4", **options)


def _bomb(file: h5py.File, _: Path) -> None:
    n = 1 << 25
    options = {"chunks": (n,), "compression": "gzip", "fletcher32": True}
    _replace(file, "pruned", shape=(n,), dtype=PRUNED_DTYPE, **options)[:] = 0


def _config_bomb(file: h5py.File, _: Path) -> None:
    n = 1 << 26
    options = {"chunks": (1 << 22,), "compression": "gzip", "fletcher32": True}
    _replace(file, "config", shape=(n,), dtype="u1", **options)[:] = 32


def _deep_config(file: h5py.File, _: Path) -> None:
    data = np.frombuffer(b'{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}", np.uint8)
    _replace(file, "config", data=data, chunks=(1 << 18,), fletcher32=True)


def _large_attribute(file: h5py.File, _: Path) -> None:
    del file.attrs["summary"]
    path = file.filename
    file.close()
    with h5py.File(path, "r+", libver="latest") as again:
        again.attrs["summary"] = np.bytes_(b"x" * 200_000_000)


def _variable_attribute(file: h5py.File, _: Path) -> None:
    summary = bytes(file.attrs["summary"]).decode()
    del file.attrs["summary"]
    file.attrs["summary"] = summary  # h5py writes a str with variable length


def _array_attribute(file: h5py.File, _: Path) -> None:
    file.attrs["summary"] = np.full(1000, b"x" * 1000)


def _other_summary(file: h5py.File, **changes: Any) -> None:
    summary = json.loads(bytes(file.attrs["summary"])) | changes
    file.attrs["summary"] = np.bytes_(json.dumps(summary).encode())


def _float_columns(file: h5py.File, _: Path) -> None:
    options = {"chunks": (N,), "fletcher32": True}
    _replace(file, "candidates", shape=(N,), dtype="<f8", **options)


def _text_columns(file: h5py.File, _: Path) -> None:
    _replace(file, "config", shape=(N,), dtype=h5py.string_dtype(), chunks=(N,))


def _group(file: h5py.File, _: Path) -> None:
    del file["candidates"]
    file.create_group("candidates")


def _fewer_curves(file: h5py.File, _: Path) -> None:
    file["curves"].resize(N - 1, axis=0)


def _more_rows(file: h5py.File, _: Path) -> None:
    file["candidates"].resize(N + 1, axis=0)


def _unknown_filter(file: h5py.File, _: Path) -> None:
    data = file["pruned"][:]
    _replace(file, "pruned", data=data, chunks=True, compression="lzf", fletcher32=True)


def _no_checksum(file: h5py.File, _: Path) -> None:
    data = file["pruned"][:]
    _replace(file, "pruned", data=data, chunks=True)


def _set_rows(file: h5py.File, name: str, value: int, at: int = 3) -> None:
    rows = file["candidates"][:]
    rows[name][at] = value
    file["candidates"][:] = rows


SPOILS: dict[str, Spoil] = {
    "external link": _external_link,
    "external link to a fifo": _external_link_to_fifo,
    "soft link": _soft_link,
    "soft link cycle": _soft_link_cycle,
    "hard link cycle": _group_cycle,
    "external raw storage": _external_storage,
    "virtual data set": _virtual,
    "virtual data set of a fifo": _virtual_of_fifo,
    "2^40 rows": _huge_shape,
    "2^40 epochs": _huge_curves,
    "compression bomb": _bomb,
    "config bomb": _config_bomb,
    "deep config": _deep_config,
    "200 MB attribute": _large_attribute,
    "variable-length attribute": _variable_attribute,
    "array attribute": _array_attribute,
    "newer schema": lambda file, _: _other_summary(file, version=2),
    "schema in words": lambda file, _: _other_summary(file, version="nine"),
    "other schema": lambda file, _: _other_summary(file, schema="shopping-list"),
    "negative counts": lambda file, _: _other_summary(file, n_done=-1),
    "unknown status": lambda file, _: _other_summary(file, status="\x1b[2J"),
    "wrong row count": lambda file, _: _other_summary(file, n_rows=N + 1),
    "other columns": _float_columns,
    "text config": _text_columns,
    "group for rows": _group,
    "fewer curves": _fewer_curves,
    "row never written": _more_rows,
    "no config": lambda file, _: file.__delitem__("config"),
    "unknown filter": _unknown_filter,
    "no checksum": _no_checksum,
    "pruned outside": lambda file, _: _set_rows(file, "pruned_offset", 1 << 63),
    "unknown row status": lambda file, _: _set_rows(file, "status", 9),
    "too many epochs": lambda file, _: _set_rows(file, "epochs", EPOCHS + 1),
    "same row twice": lambda file, _: _set_rows(file, "repeat", 2, at=4),
}
