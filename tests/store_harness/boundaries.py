"""Cut a writer off after every change it makes, and at every 4 KiB inside larger writes.

Full form: ``python -m tests.store_harness.boundaries``
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
from pathlib import Path

from tests.store_harness.recorder import (
    FOLDER,
    PAGE,
    Change,
    apply_to_data,
    apply_to_names,
    restore,
)
from tests.store_harness.scenario import problem, record_life


def points(changes: list[Change]) -> list[tuple[int, int]]:
    """Return (changes done, bytes done of the next write) for every point of a cut."""
    start = 1 + changes.index(Change("fsync", FOLDER))  # what stood before the recording
    found = []
    for done in range(start, len(changes) + 1):
        found.append((done, 0))
        if done < len(changes) and changes[done].what == "write":
            change = changes[done]
            split = PAGE - change.offset % PAGE
            found.extend((done, part) for part in range(split, len(change.data), PAGE))
    return found


def state_at(changes: list[Change], done: int, part: int) -> tuple[int, dict[str, bytes]]:
    """Return the rows acknowledged and the files after a cut; the system itself goes on."""
    acknowledged, names, data = 0, {}, collections.defaultdict(bytearray)
    cut = list(changes[:done])
    if part:
        last = changes[done]
        cut.append(Change("write", last.inode, offset=last.offset, data=last.data[:part]))
    for change in cut:
        if change.what == "ack":
            acknowledged = change.offset
        elif change.what in ("write", "truncate"):
            apply_to_data(data[change.inode], change)
        elif change.what != "fsync":
            apply_to_names(names, change)
    return acknowledged, {name: bytes(data[inode]) for name, inode in names.items()}


def main(every: int) -> int:
    """Try every `every`-th point; return the number of points with a problem."""
    count: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        changes = record_life(parent)
        tried = points(changes)[::every]
        for done, part in tried:
            acknowledged, files = state_at(changes, done, part)
            restore(parent / "cut", files)
            found = problem(parent / "cut", acknowledged)
            count[found or "good"] += 1
    print(f"points {len(tried)} ({len(changes)} changes): {dict(count)}")
    return len(tried) - count["good"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    sys.exit(1 if main(parser.parse_args().every) else 0)
