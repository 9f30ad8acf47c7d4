"""Damage run files at random, and forge the seal so that the damage reaches the HDF5 library.

A forged file may read as other data, which no reader could know; it must not end or hang the
process. Full form: ``python -m tests.store_harness.damage --times 4000``
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

from engine.errors import RunFileError
from engine.store.reader import RunReader
from engine.store.seal import sealed
from tests.store_harness.hostile import good_file, unseal

SECONDS = 20


def verdict(path: Path, data: bytes) -> str:
    """Return what a reader in a process of its own makes of `data`."""
    path.write_bytes(data)
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        code = 2
        try:
            with RunReader(path) as reader:
                reader.curves()
                for candidate in set(reader.rows["candidate"].tolist()):
                    reader.pruned(candidate)
            code = 0
        except RunFileError as error:
            code = 1 if str(error).isprintable() else 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"ENDED BY SIGNAL {os.WTERMSIG(status)}"
    answers = {0: "read", 1: "refused", 2: "OTHER EXCEPTION", 3: "UNPRINTABLE"}
    return answers[os.waitstatus_to_exitcode(status)]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with a few bytes changed, near its start or anywhere."""
    changed = bytearray(data)
    most = rng.choice((64, 1024, 4096, len(data)))
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[rng.randrange(min(most, len(data)))] = rng.randrange(256)
    return bytes(changed)


def main(times: int, seed: int) -> int:
    """Damage `times` files; return how many did harm."""
    rng = random.Random(seed)
    plain: collections.Counter[str] = collections.Counter()
    forged: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "case.h5"
        good = [good_file(path, compress=compress) for compress in (False, True)]
        parts = [unseal(data, path) for data in good]
        for i in range(times):
            data, (body, summary) = good[i % 2], parts[i % 2]
            bad = damaged(data, rng)
            if bad != data:
                plain[verdict(path, bad)] += 1
            forged[verdict(path, sealed(damaged(body, rng), summary))] += 1
    print(f"damaged: {dict(plain)}")
    print(f"damaged with a forged seal: {dict(forged)}")
    return plain.total() - plain["refused"] + forged.total() - forged["refused"] - forged["read"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(1 if main(arguments.times, arguments.seed) else 0)
