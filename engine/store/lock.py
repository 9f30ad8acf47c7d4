"""One writer per run: a lock file made with O_EXCL, held with flock, naming its holder.

The readers of a run never take this lock; they only read who holds it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from engine.errors import RunFileError
from engine.store.disk import read_small, reason, write_at
from engine.store.documents import dump_document, parse_document
from engine.store.layout import FILE_MODE
from engine.store.text import printable

_LOCK_BYTES = 4096
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Start times come in clock ticks of 10 ms; a process id is not used again within this time.
_START_TOLERANCE_SECONDS = 1.0

HolderState = Literal["alive", "dead", "remote"]


@dataclass(frozen=True)
class Holder:
    """The process that a lock names. `started` is in seconds (see `process_start`)."""

    host: str
    pid: int
    started: float
    boot: str

    @classmethod
    def this_process(cls) -> Holder:
        """Return the running process."""
        pid = os.getpid()
        return cls(socket.gethostname(), pid, process_start(pid) or 0.0, boot_id())

    def encode(self) -> bytes:
        """Return the content of a lock file."""
        return dump_document(
            {"host": self.host, "pid": self.pid, "started": self.started, "boot": self.boot}
        )

    def state(self) -> HolderState:
        """Tell whether the process lives; "remote" where only its own host could know."""
        if self.host != printable(socket.gethostname()):
            return "remote"
        if self.boot and boot_id() and self.boot != boot_id():
            return "dead"
        try:
            started = process_start(self.pid)
        except psutil.AccessDenied:  # it is there, which is what matters
            return "alive"
        if started is None or abs(started - self.started) > _START_TOLERANCE_SECONDS:
            return "dead"
        return "alive"

    def is_process_of(self, other: Holder) -> bool:
        """Tell whether both name the same process, however the host's name is written."""
        return (self.pid, self.started, self.boot) == (other.pid, other.started, other.boot)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def boot_id() -> str:
    """Return what names this start of this machine, or "" where the system has no such name."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def process_start(pid: int) -> float | None:
    """Return when a process started, or None where there is none (a zombie counts as none).

    On Linux the time counts from the start of the machine, because psutil derives the time of
    day from that and the clock, which may be set while the process runs.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        created = process.create_time()
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return None
    return created - psutil.boot_time() if sys.platform == "linux" else created


def read_holder(path: Path) -> Holder | None:
    """Return who a lock file names; None where it is empty or unreadable.

    Raises:
        FileNotFoundError: there is no lock.
    """
    try:
        document = parse_document(read_small(path, _LOCK_BYTES), "the lock", _LOCK_BYTES)
        host, pid, started, boot = (document[key] for key in ("host", "pid", "started", "boot"))
    except (RunFileError, KeyError):
        return None
    if (
        isinstance(host, str)
        and type(pid) is int
        and 0 < pid < 1 << 31
        and isinstance(started, (int, float))
        and isinstance(boot, str)
    ):
        return Holder(host, pid, float(started), boot)
    return None


class RunLock:
    """A held lock. Make one with `acquire`."""

    def __init__(self, path: Path, fd: int, holder: Holder) -> None:
        self._path = path
        self._fd = fd
        self._holder = holder

    @classmethod
    def acquire(cls, path: Path, *, takeover: bool = False) -> RunLock:
        """Take the lock of a run.

        A lock whose process is gone is taken over. One of another host is taken over only with
        `takeover`, because from here nobody can see whether its process lives. One of a living
        process of this host never is.

        Raises:
            RunFileError: another process holds it, or the folder cannot be written.
        """
        for _ in range(100):
            try:
                fd, existed = _open(path)
            except OSError as error:
                raise RunFileError(
                    f"{printable(str(path))} cannot be opened ({reason(error)}); see that the "
                    "run's folder can be written."
                ) from error
            try:
                flocked = _flock(fd)
                if flocked is False:
                    raise _held(path)
                if not _is_still(path, fd):  # its holder let go of it in between
                    os.close(fd)
                    continue
                if existed:
                    _require_free(path, takeover=takeover, flocked=flocked is True)
                holder = Holder.this_process()
                os.ftruncate(fd, 0)
                write_at(fd, holder.encode(), 0)
            except OSError as error:
                if not existed:  # an empty lock would look like an engine that is just starting
                    with contextlib.suppress(OSError):
                        os.unlink(path)
                os.close(fd)
                raise RunFileError(
                    f"{printable(str(path))} cannot be written ({reason(error)})."
                ) from error
            except BaseException:
                os.close(fd)
                raise
            return cls(path, fd, holder)
        raise RunFileError(f"{printable(str(path))} changed hands each time; try again.")

    def lost_to(self) -> Holder | None:
        """Return who took this lock over, as only another host can; None while it is ours.

        A lock that cannot be read at this moment counts as ours.
        """
        try:
            holder = read_holder(self._path)
        except OSError:
            return None
        if holder is None or holder.is_process_of(self._holder):
            return None
        return holder

    def release(self) -> None:
        """Remove the lock file, unless another host has taken it over, and let go of it."""
        with contextlib.suppress(OSError):  # a lock that stays names a dead process: harmless
            if _is_still(self._path, self._fd) and self.lost_to() is None:
                os.unlink(self._path)
        os.close(self._fd)


def _open(path: Path) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, FILE_MODE), False
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, flags), True


def _flock(fd: int) -> bool | None:
    """Return whether the lock was had; None where the file system has no locks."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        return None
    return True


def _is_still(path: Path, fd: int) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _require_free(path: Path, *, takeover: bool, flocked: bool) -> None:
    holder = read_holder(path)
    if holder is None:
        # Empty or garbled: its writer died while making it. With flock that is certain.
        if not flocked and not takeover:
            raise RunFileError(
                f"{printable(str(path))} names no process; if no engine works on this run, "
                "take it over explicitly."
            )
        return
    state = holder.state()
    # This very process having let go by closing, not by releasing, leaves its own name behind.
    if state == "dead" or (state == "alive" and flocked and holder.pid == os.getpid()):
        return
    if state == "remote" and takeover:
        return
    if state == "remote":
        raise RunFileError(
            f"the run in {printable(str(path.parent))} is locked by {holder}; if that engine is "
            "certainly gone, take the run over explicitly."
        )
    raise _held(path)


def _held(path: Path) -> RunFileError:
    holder = read_holder(path)
    by = f"{holder}" if holder else "a process that is just starting"
    return RunFileError(
        f"the run in {printable(str(path.parent))} is being written by {by}; stop that engine "
        "first."
    )
