"""Flip single bits of a run's files: each flip is noticed, and no wrong row is ever shown.

Full form: ``python -m tests.store_harness.flips`` (every bit of an uncompressed file, a final file
and a journal; minutes).
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import tempfile
from pathlib import Path

from engine.errors import RunFileError
from engine.store.listing import list_runs
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from tests.store_harness.cases import batch, config, wrong_rows
from tests.store_harness.hostile import good_file


def flipped(data: bytes, bit: int) -> bytes:
    """Return `data` with one bit turned over."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def verdict_on_file(path: Path, data: bytes, bit: int) -> str:
    """Return what a reader makes of a run file with one bit turned over."""
    path.write_bytes(flipped(data, bit))
    try:
        RunReader(path).close()
    except RunFileError:
        return "refused"
    return "READ ALL THE SAME"


def verdict_on_listing(path: Path, data: bytes, bit: int, expected: object) -> str:
    """Return what a listing makes of it: an error, or exactly the row of the sound file."""
    path.write_bytes(flipped(data, bit))
    listed = list_runs(path.parent)
    if listed == expected:
        return "listed as it was"
    return "listed with its error" if listed[0].error else "LISTED WRONGLY"


def verdict_on_journal(folder: Path, data: bytes, bit: int) -> str:
    """Return what a reader makes of a run whose journal has one bit turned over."""
    (folder / "run.journal").write_bytes(flipped(data, bit))
    try:
        with RunReader(folder) as reader:
            if wrong_rows(reader):
                return "WRONG ROWS"
            return "warned" if reader.warning else "NOT NOTICED"
    except RunFileError:
        return "refused"


def make_journalled_run(folder: Path) -> bytes:
    """Make a run with a published file and four frames after it; return its journal."""
    RunWriter.create(folder, config())
    with RunWriter.open(folder) as writer:
        writer.append(*batch(0, 6))
        writer.publish()
        writer.set_status("running")
        for start in (6, 9, 12):
            writer.append(*batch(start, 3))
    return (folder / "run.journal").read_bytes()


def main(share: float, seed: int) -> int:
    """Flip this share of all bits; return the number of flips that did harm."""
    rng = random.Random(seed)
    harm = 0
    with tempfile.TemporaryDirectory() as name:
        for compress in (False, True):
            path = Path(name) / str(compress) / "case.h5"
            path.parent.mkdir()
            data = good_file(path, compress=compress)
            expected = list_runs(path.parent)
            bits = [bit for bit in range(8 * len(data)) if rng.random() < share]
            read = collections.Counter(verdict_on_file(path, data, bit) for bit in bits)
            listed = collections.Counter(
                verdict_on_listing(path, data, bit, expected) for bit in bits
            )
            print(f"run file of {len(data)} bytes, {len(bits)} flips: {dict(read)} {dict(listed)}")
            harm += len(bits) - read["refused"] + listed["LISTED WRONGLY"]
        folder = Path(name) / "journalled"
        data = make_journalled_run(folder)
        bits = [bit for bit in range(8 * len(data)) if rng.random() < share]
        count = collections.Counter(verdict_on_journal(folder, data, bit) for bit in bits)
        print(f"journal of {len(data)} bytes, {len(bits)} flips: {dict(count)}")
        harm += len(bits) - count["warned"] - count["refused"]
    return harm


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(1 if main(arguments.share, arguments.seed) else 0)
