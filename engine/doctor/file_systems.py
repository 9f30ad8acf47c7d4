"""Which file system holds a folder, and what can be relied on there."""

from __future__ import annotations

from pathlib import Path

import psutil

#: File systems whose server is elsewhere, by the beginning of the name the system gives them.
NETWORK = (
    "nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "9p", "afs", "davfs",
    "orangefs", "pvfs", "panfs", "wekafs", "quobyte", "fuse.sshfs", "fuse.ceph", "fuse.gluster",
    "fuse.beegfs", "fuse.moosefs", "fuse.juicefs", "fuse.rclone", "fuse.davfs", "virtiofs",
)  # fmt: skip
OBJECTS = ("fuse.s3fs", "fuse.gcsfuse", "fuse.goofys", "fuse.mountpoint", "fuse.blobfuse")
MEMORY = ("tmpfs", "ramfs")


def file_system_of(folder: Path) -> tuple[str, str]:
    """Returns the type and the mount point of the file system of a folder; "" where unknown."""
    return match_mount(
        folder.resolve(),
        [(each.mountpoint, each.fstype) for each in psutil.disk_partitions(all=True)],
    )


def match_mount(folder: Path, mounts: list[tuple[str, str]]) -> tuple[str, str]:
    """Returns the type and point of the mount that a path lies in: the deepest, the last of two."""
    best = ("", "")
    for point, kind in mounts:
        if folder.is_relative_to(point) and len(point) >= len(best[1]):
            best = (kind, point)
    return best


def is_network(kind: str) -> bool:
    """Whether a file system's server is elsewhere."""
    return kind.lower().startswith(NETWORK + OBJECTS)


def warning_of(what: str, kind: str, mount: str) -> str:
    """Returns what a person should know of a folder on this file system; "" for a local disk."""
    kind = kind.lower()
    if kind.startswith(OBJECTS):
        return (
            f"{what} is on {kind} ({mount}), which keeps objects and not files: appending, fsync "
            "and locks do not hold there, so choose a local disk for runs."
        )
    if is_network(kind):
        return (
            f"{what} is on {kind} ({mount}): what is acknowledged is as safe as its server makes "
            "fsync, locks hold between hosts only if the server keeps them, and other hosts may "
            "see changes late; work on a run from one host at a time."
        )
    if kind.startswith(MEMORY):
        return f"{what} is on {kind} ({mount}), which is lost when the machine restarts."
    return ""
