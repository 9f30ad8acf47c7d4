"""Model power losses: what was not brought to the disk by fsync is there, or not, page by page.

After a loss, a file has all it had at its last fsync; of each 4 KiB page changed since, the old
or the new content; any length between the two. Each name that changed since the folder's last
fsync means, on its own, any of the files it has meant since then.
Full form: ``python -m tests.store_harness.power_loss``
"""

from __future__ import annotations

import argparse
import collections
import random
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


def state_after_loss(
    changes: list[Change], done: int, rng: random.Random
) -> tuple[int, dict[str, bytes]]:
    """Return the rows acknowledged and the files that the disk may hold."""
    acknowledged = 0
    safe: dict[int, bytearray] = collections.defaultdict(bytearray)
    pending: dict[int, list[Change]] = collections.defaultdict(list)
    names: dict[str, int] = {}
    pending_names: list[Change] = []
    for change in changes[:done]:
        if change.what == "ack":
            acknowledged = change.offset
        elif change.what in ("write", "truncate"):
            pending[change.inode].append(change)
        elif change.what != "fsync":
            pending_names.append(change)
        elif change.inode == FOLDER:
            for earlier in pending_names:
                apply_to_names(names, earlier)
            pending_names.clear()
        else:
            for earlier in pending.pop(change.inode, []):
                apply_to_data(safe[change.inode], earlier)
    names = _mixed_names(names, pending_names, rng)
    kept = rng.choice((0.0, 0.5, 0.9))
    for inode, unsafe in pending.items():
        safe[inode] = _mixed(safe[inode], unsafe, kept, rng)
    return acknowledged, {name: bytes(safe[inode]) for name, inode in names.items()}


def _mixed_names(old: dict[str, int], changes: list[Change], rng: random.Random) -> dict[str, int]:
    states = [dict(old)]
    for change in changes:
        states.append(dict(states[-1]))
        apply_to_names(states[-1], change)
    mixed = {}
    for name in sorted({name for state in states for name in state}):
        inode = rng.choice(states).get(name)
        if inode is not None:
            mixed[name] = inode
    return mixed


def _mixed(old: bytearray, changes: list[Change], kept: float, rng: random.Random) -> bytearray:
    new = bytearray(old)
    for change in changes:
        apply_to_data(new, change)
    lengths = sorted((len(old), len(new)))
    size = rng.choice(lengths) if rng.random() < 0.7 else rng.randint(*lengths)
    mixed = bytearray(size)
    for start in range(0, size, PAGE):
        source = new if rng.random() < kept else old
        page = source[start : min(start + PAGE, size)]
        mixed[start : start + len(page)] = page
    return mixed


def main(times: int, seed: int, *, without_fsync: bool = False) -> int:
    """Model `times` losses; return the number after which something was wrong.

    `without_fsync` forgets each fsync of a file, to see that the model would notice.
    """
    rng = random.Random(seed)
    count: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        changes = record_life(parent)
        start = 1 + changes.index(Change("fsync", FOLDER))
        if without_fsync:
            changes[start:] = [
                change for change in changes[start:] if change.what != "fsync" or change.inode < 0
            ]
        for _ in range(times):
            acknowledged, files = state_after_loss(changes, rng.randint(start, len(changes)), rng)
            restore(parent / "lost", files)
            count[problem(parent / "lost", acknowledged) or "good"] += 1
    print(f"power losses {times}: {dict(count)}")
    return times - count["good"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-fsync", action="store_true")
    arguments = parser.parse_args()
    bad = main(arguments.times, arguments.seed, without_fsync=arguments.without_fsync)
    sys.exit(1 if bad else 0)
