"""One opened run.h5: verified as a whole, then read on demand. Journals and locks stay out."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.errors import RunFileError
from engine.store.checks import (
    check_attribute,
    hdf5_errors,
    open_dataset,
    read_slices,
)
from engine.store.disk import open_regular
from engine.store.documents import parse_document
from engine.store.layout import (
    CURVE_COLUMNS,
    MAX_CONFIG_BYTES,
    MAX_CURVE_BYTES,
    MAX_PRUNED,
    MAX_ROWS,
    PRUNED_DTYPE,
    Curves,
    Pruned,
    Rows,
    RunLayout,
    row_keys,
)
from engine.store.records import check_pruned, check_rows
from engine.store.seal import verify_seal
from engine.store.summary import parse_summary
from engine.store.text import printable


class Replaced(Exception):
    """The file was replaced while it was being opened; open it again."""


class Published:
    """A published run file. Rows are read at once; curves and pruned indices when asked for."""

    def __init__(self, path: Path, *, follow: bool = False) -> None:
        """Open and check `path`.

        Args:
            path: the HDF5 file.
            follow: allow it to be a symbolic link (a person named it).

        Raises:
            FileNotFoundError: there is no such file.
            RunFileError: it is not a whole, safe run file.
            Replaced: a writer published in the middle of this.
        """
        self.what = printable(str(path))
        fd = open_regular(path, follow=follow)
        try:
            found = os.fstat(fd)
            self.identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            with hdf5_errors(self.what):
                seal = verify_seal(fd, self.what)
                self.header = parse_summary(seal.summary, self.what)
                self._file = h5py.File(path, "r", locking=False)
        finally:
            os.close(fd)
        try:
            opened = os.fstat(self._file.id.get_vfd_handle())
            if (opened.st_dev, opened.st_ino) != self.identity[:2]:
                raise Replaced
            with hdf5_errors(self.what):
                check_attribute(self._file, "summary", seal.summary, self.what)
                self.config = self._read_config()
                self.layout = RunLayout.of(self.config, self.what)
                self.rows = self._read_rows()
                self._curves = self._open_curves()
                self._pruned = open_dataset(self._file, "pruned", PRUNED_DTYPE, 1, self.what)
                self._check_pruned_places()
        except BaseException:
            self._file.close()
            raise
        self.keys: NDArray[np.uint64] = row_keys(self.rows)

    def __enter__(self) -> Published:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the HDF5 file."""
        self._file.close()

    def curves(self) -> Curves:
        """Read all learning curves: float32[n, epochs, 4] aligned with `rows`.

        Raises:
            RunFileError: a stored checksum does not match.
        """
        with hdf5_errors(self.what):
            return read_slices(self._curves, 0, len(self.rows))

    def curve(self, position: int) -> Curves:
        """Read the learning curve of one row: float32[epochs, 4]."""
        with hdf5_errors(self.what):
            curve: Curves = read_slices(self._curves, position, position + 1)[0]
            return curve

    def pruned(self, position: int) -> Pruned:
        """Read the pruned indices of the candidate of one row, as (layer, index) pairs."""
        start = int(self.rows["pruned_offset"][position])
        return self._read_pruned(start, start + int(self.rows["pruned_length"][position]))

    def all_pruned(self) -> dict[int, Pruned]:
        """Read the pruned indices of every candidate that has any."""
        flat = self._read_pruned(0, self._pruned.shape[0])
        rows = self.rows[self.rows["pruned_length"] > 0]
        names, first = np.unique(rows["candidate"], return_index=True)
        starts = rows["pruned_offset"][first].tolist()
        lengths = rows["pruned_length"][first].tolist()
        return {
            candidate: flat[start : start + length]
            for candidate, start, length in zip(names.tolist(), starts, lengths, strict=True)
        }

    def _read_pruned(self, start: int, stop: int) -> Pruned:
        with hdf5_errors(self.what):
            flat = read_slices(self._pruned, start, stop)
            check_pruned(flat, self.layout)
            return flat

    def _read_config(self) -> dict[str, Any]:
        dataset = open_dataset(self._file, "config", np.dtype(np.uint8), 1, self.what)
        if dataset.shape[0] > MAX_CONFIG_BYTES:
            raise RunFileError(f"{self.what}: the config is longer than {MAX_CONFIG_BYTES} bytes.")
        data = read_slices(dataset, 0, dataset.shape[0]).tobytes()
        # Raw: the engine goes on from this very config. Readers for people make it printable.
        return parse_document(data, f"the config of {self.what}", MAX_CONFIG_BYTES, raw=True)

    def _read_rows(self) -> Rows:
        dataset = open_dataset(self._file, "candidates", self.layout.dtype, 1, self.what)
        n = dataset.shape[0]
        if n > MAX_ROWS or n != self.header["n_rows"]:
            raise RunFileError(f"{self.what}: the number of rows is not the one it declares.")
        rows: Rows = read_slices(dataset, 0, n)
        check_rows(rows, self.layout)
        keys = row_keys(rows)
        if n and not (keys[1:] > keys[:-1]).all():
            raise RunFileError(f"{self.what}: the rows are not sorted by candidate and repeat.")
        return rows

    def _open_curves(self) -> Any:
        dataset = open_dataset(self._file, "curves", np.dtype("<f4"), 3, self.what, sparse=True)
        if dataset.shape != (len(self.rows), self.layout.epochs, len(CURVE_COLUMNS)):
            raise RunFileError(f"{self.what}: the curves do not fit the rows.")
        if 4 * len(CURVE_COLUMNS) * len(self.rows) * self.layout.epochs > MAX_CURVE_BYTES:
            raise RunFileError(f"{self.what}: the curves are larger than a run's can be.")
        return dataset

    def _check_pruned_places(self) -> None:
        size = self._pruned.shape[0]
        offsets, lengths = self.rows["pruned_offset"], self.rows["pruned_length"]
        if size > MAX_PRUNED or (
            len(self.rows) and ((offsets > size).any() or (offsets + lengths > size).any())
        ):
            raise RunFileError(f"{self.what}: the rows point outside the pruned indices.")


def open_published(path: Path, *, follow: bool = False, attempts: int = 10) -> Published:
    """Open a run file, again where a writer replaces it at that moment.

    Raises:
        FileNotFoundError: there is no such file.
        RunFileError: it is not a whole, safe run file.
    """
    for _ in range(attempts):
        try:
            return Published(path, follow=follow)
        except Replaced:
            continue
    raise RunFileError(f"{printable(str(path))} was replaced each time it was opened; try again.")
