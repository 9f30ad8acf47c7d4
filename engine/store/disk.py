"""The store's only door to the disk: safe opens, whole replacement, fsync. No HDF5 may enter.

Every write of the store goes through functions of `os`, so a test can record or break them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import zlib
from pathlib import Path

from engine.errors import RunFileError
from engine.store.layout import FILE_MODE
from engine.store.text import printable

_READ_SLICE = 1 << 20


def reason(error: OSError) -> str:
    """Return what the system said, without the path it said it about."""
    return printable(error.strerror or str(error))


def open_regular(path: Path, *, follow: bool = False) -> int:
    """Open a regular file for reading and return its descriptor.

    A FIFO cannot make this wait, and a symbolic link is refused unless `follow`.

    Raises:
        FileNotFoundError: there is no such file.
        RunFileError: it is not a regular file or cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        said = reason(error) if isinstance(error, OSError) else printable(str(error))
        raise RunFileError(f"{printable(str(path))} cannot be opened ({said}).") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RunFileError(f"{printable(str(path))} is not a regular file, so it was not read.")
    return fd


def read_small(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        RunFileError: it is not a regular file, is longer than `limit`, or cannot be read.
    """
    fd = open_regular(path)
    try:
        data = read_range(fd, 0, limit + 1)
    except OSError as error:
        raise RunFileError(f"{printable(str(path))} cannot be read ({reason(error)}).") from error
    finally:
        os.close(fd)
    if len(data) > limit:
        raise RunFileError(f"{printable(str(path))} is longer than {limit} bytes.")
    return data


def read_range(fd: int, start: int, length: int) -> bytes:
    """Read up to `length` bytes from `start`; fewer only where the file ends."""
    parts = []
    while length > 0:
        part = os.pread(fd, min(length, _READ_SLICE), start)
        if not part:
            break
        parts.append(part)
        start += len(part)
        length -= len(part)
    return b"".join(parts)


def checksum(fd: int, length: int) -> int:
    """Return the CRC-32 of the first `length` bytes of an open file."""
    value = 0
    position = 0
    while position < length:
        part = os.pread(fd, min(length - position, _READ_SLICE), position)
        if not part:
            break
        value = zlib.crc32(part, value)
        position += len(part)
    return value


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        offset += written
        view = view[written:]


def replace_file(
    path: Path, data: bytes, *, durable: bool = True, shared: bool = False, mode: int = FILE_MODE
) -> None:
    """Put `data` at `path` so that readers, and a crash, see the old file or the new, whole.

    With `durable` the data has reached the disk, and was read back, before the name changes; such
    files have one writer. Without, or where `shared`, several processes may replace the same file
    at once. `mode` is the new file's, less the umask.

    Raises:
        OSError: it could not be written; what stood at `path` still stands.
    """
    temporary = temporary_name(path)
    if shared or not durable:
        temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    os.close(_write_new(temporary, data, durable=durable, mode=mode))
    try:
        os.replace(temporary, path)
    except OSError:
        remove(temporary)
        raise
    if durable:
        fsync_folder(path.parent)


def hand_over(path: Path, data: bytes) -> None:
    """Put `data` where a person asked for it, whole; it is theirs to share, unlike files of a run.

    Raises:
        OSError: it could not be written; what stood at `path` still stands, and stays as private.
    """
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666
    replace_file(path, data, mode=mode)


def begin_replacing(path: Path, data: bytes) -> int:
    """Bring `data` to the disk under the temporary name of `path`; return the open descriptor.

    Raises:
        OSError: it could not be written; the temporary file is removed.
    """
    return _write_new(temporary_name(path), data, durable=True)


def _write_new(temporary: Path, data: bytes, *, durable: bool, mode: int = FILE_MODE) -> int:
    remove(temporary)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(temporary, flags, mode)
    try:
        write_at(fd, data, 0)
        if durable:
            os.fsync(fd)
            if os.fstat(fd).st_size != len(data) or checksum(fd, len(data)) != zlib.crc32(data):
                raise OSError(f"{temporary} does not read back as it was written")
    except BaseException:
        os.close(fd)
        with contextlib.suppress(OSError):  # the first error is the one to report
            remove(temporary)
        raise
    return fd


def temporary_name(path: Path) -> Path:
    """Return the name under which the next durable content of `path` is written."""
    return path.with_name(path.name + ".tmp")


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def fsync_folder(folder: Path) -> None:
    """Make names that were created, replaced or removed in `folder` survive a power loss."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems know no such call
            raise
    finally:
        os.close(fd)
