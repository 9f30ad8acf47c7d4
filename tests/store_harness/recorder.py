"""Recording every change a writer makes to a folder, and making the folder again from a part of it.

The store writes through functions of `os` alone, so replacing those sees everything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = 4096
FOLDER = -1


@dataclass(frozen=True)
class Change:
    """One system call that changed the folder, or the acknowledgement of rows."""

    what: str  # create, write, truncate, fsync, rename, unlink, ack
    inode: int = 0  # FOLDER for an fsync of the folder
    name: str = ""
    to: str = ""
    offset: int = 0
    data: bytes = b""


class Recorder:
    """Collects the changes below one folder while `recording` is active."""

    def __init__(self, folder: Path) -> None:
        self.changes: list[Change] = []
        self._folder = str(folder)
        self._names: dict[str, int] = {}
        self._descriptors: dict[int, int] = {}
        self._inodes = 0
        for path in sorted(folder.iterdir()):  # what stands before the recording
            inode = self._created(path.name)
            self._add("write", inode, data=path.read_bytes())
            self._add("fsync", inode)
        self._add("fsync", FOLDER)

    def acknowledge(self, n: int) -> None:
        """Note that rows up to `n` have been acknowledged."""
        self._add("ack", offset=n)

    @contextlib.contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Replace the functions of `os` that change files."""
        wrapped = ("open", "close", "pwrite", "write", "ftruncate", "fsync", "unlink")
        real = {name: getattr(os, name) for name in (*wrapped, "replace", "rename")}
        try:
            for name in wrapped:
                setattr(os, name, self._wrap(name, real[name]))
            os.replace = os.rename = self._wrap("replace", real["replace"])
            yield self
        finally:
            for name, function in real.items():
                setattr(os, name, function)

    def _wrap(self, name: str, real: Any) -> Any:
        note = getattr(self, f"_note_{name}")

        def wrapper(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            note(result, *arguments)
            return result

        return wrapper

    def _add(self, what: str, inode: int = 0, **more: Any) -> None:
        self.changes.append(Change(what, inode, **more))

    def _created(self, name: str) -> int:
        self._inodes += 1
        self._names[name] = self._inodes
        self._add("create", self._inodes, name=name)
        return self._inodes

    def _below(self, path: Any) -> str | None:
        folder, name = os.path.split(os.fspath(path))
        return name if folder == self._folder else None

    def _note_open(self, fd: int, path: Any, flags: int, *_: Any) -> None:
        if os.fspath(path) == self._folder:
            self._descriptors[fd] = FOLDER
        elif (name := self._below(path)) is not None:
            known = name in self._names
            if not known and not flags & os.O_CREAT:
                raise AssertionError(f"{name} was made unseen")
            self._descriptors[fd] = self._names[name] if known else self._created(name)

    def _note_close(self, _: Any, fd: int) -> None:
        self._descriptors.pop(fd, None)

    def _note_pwrite(self, written: int, fd: int, data: Any, offset: int) -> None:
        if fd in self._descriptors:
            part = bytes(data)[:written]
            self._add("write", self._descriptors[fd], offset=offset, data=part)

    def _note_write(self, written: int, fd: int, data: Any) -> None:
        if fd in self._descriptors:  # only engine.log is written so, by appending
            end = os.fstat(fd).st_size - written
            part = bytes(data)[:written]
            self._add("write", self._descriptors[fd], offset=end, data=part)

    def _note_ftruncate(self, _: Any, fd: int, length: int) -> None:
        if fd in self._descriptors:
            self._add("truncate", self._descriptors[fd], offset=length)

    def _note_fsync(self, _: Any, fd: int) -> None:
        if fd in self._descriptors:
            self._add("fsync", self._descriptors[fd])

    def _note_unlink(self, _: Any, path: Any) -> None:
        if (name := self._below(path)) in self._names:
            self._names.pop(str(name))
            self._add("unlink", name=str(name))

    def _note_replace(self, _: Any, source: Any, target: Any) -> None:
        if (name := self._below(source)) in self._names:
            to = os.path.split(os.fspath(target))[1]
            self._names[to] = self._names.pop(str(name))
            self._add("rename", name=str(name), to=to)


def apply_to_data(data: bytearray, change: Change) -> None:
    """Do a write or truncation to the content of one file."""
    if change.what == "truncate":
        length = change.offset
        del data[length:]
        data.extend(bytes(length - len(data)))
    else:
        data.extend(bytes(max(0, change.offset - len(data))))
        data[change.offset : change.offset + len(change.data)] = change.data


def apply_to_names(names: dict[str, int], change: Change) -> None:
    """Do a creation, renaming or removal to the names of the folder."""
    if change.what == "create":
        names[change.name] = change.inode
    elif change.what == "rename":
        if change.name in names:
            names[change.to] = names.pop(change.name)
    else:
        names.pop(change.name, None)


def restore(folder: Path, files: dict[str, bytes]) -> None:
    """Make `folder` hold just these files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
