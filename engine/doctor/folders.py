"""A folder this program writes to: where it is, how much room there is, and whether it works."""

from __future__ import annotations

import fcntl
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from engine.doctor.file_systems import file_system_of, is_network, warning_of
from engine.errors import OracleError
from engine.folders import ensure_private

LEAST_BYTES = 16 << 20
FEW_BYTES = 1 << 30
SLOW_FSYNC_SECONDS = 0.5
_FSYNCS = 5


@dataclass
class Folder:
    """What was found out about a folder.

    Attributes:
        name: What it is for.
        path: Where it is.
        exists: Whether it is there; it is made when it is needed.
        mode: Its permissions in octal, "" where it is not there.
        file_system: Type of the file system, for example `ext4`.
        mount: Where that is mounted.
        network: Whether its server is elsewhere.
        free_bytes: Room left for this user.
        fsync_ms: Median time to bring a small write to the disk; None where not tried.
        problems: Why runs cannot be kept there.
        warnings: What a person should know.
    """

    name: str
    path: str
    exists: bool = False
    mode: str = ""
    file_system: str = ""
    mount: str = ""
    network: bool = False
    free_bytes: int = 0
    fsync_ms: float | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def examine_folder(name: str, path: Path, *, probe: bool) -> Folder:
    """Looks at a folder; with `probe` also writes, locks, renames and removes a file in it."""
    found = Folder(name, str(path), exists=path.is_dir())
    nearest = next(each for each in (path, *path.parents) if each.exists())
    found.file_system, found.mount = file_system_of(nearest)
    found.network = is_network(found.file_system)
    what = f"The folder of {name}"
    warning = warning_of(f"{what}, {path},", found.file_system, found.mount)
    if warning:
        found.warnings.append(warning)
    try:
        found.free_bytes = shutil.disk_usage(nearest).free
    except OSError as error:
        found.problems.append(f"{what}, {path}, cannot be looked at: {error.strerror}.")
        return found
    if found.exists:
        mode = path.stat().st_mode & 0o777
        found.mode = f"{mode:04o}"
        if mode & 0o022:
            found.warnings.append(f"{what}, {path}, can be written by others (mode {mode:04o}).")
    if not probe:
        return found
    if found.free_bytes < LEAST_BYTES:
        free = f"{found.free_bytes / 1e6:.0f} MB"
        found.problems.append(f"{what}, {path}, has only {free} of room; free some.")
    elif found.free_bytes < FEW_BYTES:
        free = f"{found.free_bytes / 1e6:.0f} MB"
        found.warnings.append(f"{what}, {path}, has only {free} of room left.")
    try:
        _probe(ensure_private(path), found)
    except OracleError as error:
        found.problems.append(str(error))
    except OSError as error:
        found.problems.append(f"{what}, {path}, does not work: {error.strerror or error}.")
    return found


def _probe(folder: Path, found: Folder) -> None:
    """Does what a run does, on a file of its own; raises OSError where it cannot be done."""
    making = Path(tempfile.mkdtemp(prefix=".doctor-", dir=folder))
    try:
        first, second = making / "first", making / "second"
        fd = os.open(first, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            took = []
            for _ in range(_FSYNCS):
                began = time.perf_counter()
                os.write(fd, b"x" * 4096)
                os.fsync(fd)
                took.append(time.perf_counter() - began)
            found.fsync_ms = round(1000 * statistics.median(took), 3)
            _probe_lock(fd, found)
        finally:
            os.close(fd)
        second.write_bytes(b"old")
        os.replace(first, second)
        if second.stat().st_size != _FSYNCS * 4096 or first.exists():
            found.problems.append(f"{folder}: a renamed file is not the one that was written.")
        if second.stat().st_mode & 0o077:
            found.warnings.append(
                f"{folder}: the file system does not keep others out; files there are not private."
            )
        if found.fsync_ms / 1000 > SLOW_FSYNC_SECONDS:
            found.warnings.append(
                f"{folder}: bringing a write to the disk takes {found.fsync_ms:.0f} ms."
            )
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _probe_lock(fd: int, found: Folder) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        found.warnings.append(
            f"{found.path}: the file system has no locks ({error.strerror}); never start two "
            "engines on one run."
        )
