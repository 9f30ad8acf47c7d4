"""Let the disk run full at many sizes: a clean error each time, and everything goes on after it.

Full form, as root (it mounts a small tmpfs): ``python -m tests.store_harness.disk_full``
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine.errors import OracleError, UsageError
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from tests.store_harness.cases import batch, config, missing_rows, wrong_rows

ROWS = 60


@contextlib.contextmanager
def small_disk(kilobytes: int) -> Iterator[Path]:
    """Mount a tmpfs of this size.

    Raises:
        OSError: the system does not allow it.
    """
    with tempfile.TemporaryDirectory() as name:
        size = f"size={kilobytes}k"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", name], capture_output=True, check=False
        )
        if mounted.returncode:
            raise OSError(mounted.stderr.decode())
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def fill_up(disk: Path, publish_every: int) -> str:
    """Write a run until the disk is full, make room, go on; return what happened."""
    folder = disk / "run"
    ballast = disk / "ballast"
    try:
        ballast.write_bytes(bytes(8 * 4096))
    except OSError:
        ballast.unlink(missing_ok=True)
    try:
        RunWriter.create(folder, config("run", n_total=100_000))
    except UsageError as error:
        left = sorted(path.name for path in disk.iterdir() if path != ballast)
        return f"LEFT {left}" if left or "room" not in str(error) else "create refused cleanly"
    try:
        writer = RunWriter.open(folder)
    except (OSError, OracleError):
        return "open refused cleanly" if reads(folder, 0) else "BAD"
    with writer:
        acknowledged, refused = 0, ""
        while not refused and acknowledged < 50_000:
            try:
                writer.append(*batch(acknowledged, ROWS))
                acknowledged += ROWS
                refused = "publish"
                if acknowledged % (publish_every * ROWS) == 0:
                    writer.publish()
                refused = ""
            except OSError:
                refused = refused or "append"
            writer.beat({"status": "running"})
        if not refused or not reads(folder, acknowledged):
            return "BAD"
        ballast.unlink(missing_ok=True)
        before = acknowledged
        with contextlib.suppress(OSError):  # the room of the ballast may be short for all of it
            writer.append(*batch(acknowledged, 1))
            acknowledged += 1
            writer.publish()
    good = acknowledged > before and reads(folder, acknowledged)
    return f"{refused} refused cleanly, resumed" if good else f"{refused}, NOT RESUMED"


def reads(folder: Path, acknowledged: int) -> bool:
    """Tell whether every acknowledged row is there and right."""
    with RunReader(folder) as reader:
        return missing_rows(reader, acknowledged) == 0 and wrong_rows(reader) == 0


def main(sizes: list[int]) -> int:
    """Fill a disk of each size in kilobytes; return how many went wrong."""
    count: collections.Counter[str] = collections.Counter()
    for i, kilobytes in enumerate(sizes):
        with small_disk(kilobytes) as disk:
            count[fill_up(disk, (4, 32, 10_000)[i % 3])] += 1
    print(f"disks filled {len(sizes)}: {dict(count)}")
    return sum(number for what, number in count.items() if "cleanly" not in what)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disks", type=int, default=60)
    arguments = parser.parse_args()
    sys.exit(1 if main([12 + 20 * i for i in range(arguments.disks)]) else 0)
