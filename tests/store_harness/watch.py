"""Watch a run from another process while its writer appends and publishes without a pause.

Every look must show all rows acknowledged before it, none of them wrong. Also says how long rows
take to become visible. Full form: ``python -m tests.store_harness.watch --seconds 60``
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path

from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from tests.store_harness.cases import batch, config, missing_rows, wrong_rows

_NOTE = struct.Struct("<Id")
N_TOTAL = 30_000


def write(folder: Path, notes: int) -> None:
    """Append small batches, sometimes publishing, and note each acknowledgement with its time."""
    rng = random.Random(1)
    with RunWriter.open(folder) as writer:
        while writer.n_rows < N_TOTAL:
            writer.append(*batch(writer.n_rows, rng.choice((1, 3, 45))))
            os.write(notes, _NOTE.pack(writer.n_rows, time.monotonic()))
            if rng.random() < 0.1:
                writer.publish(rng.random() < 0.2)
            time.sleep(rng.uniform(0, 0.01))


def notes_so_far(notes: int) -> list[tuple[int, float]]:
    """Return the (rows, time) acknowledged and not yet noted."""
    with contextlib.suppress(BlockingIOError):
        return list(_NOTE.iter_unpack(os.read(notes, 1000 * _NOTE.size)))
    return []


def main(seconds: float) -> int:
    """Watch for this long; return how many looks were wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        RunWriter.create(folder, config("run", n_total=N_TOTAL))
        read, notes = os.pipe()
        os.set_blocking(read, False)
        child = os.fork()
        if child == 0:
            try:
                write(folder, notes)
            finally:
                os._exit(0)
        looks = bad = 0
        delays: list[float] = []
        reader = RunReader(folder)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            waiting = notes_so_far(read)
            reader.refresh()
            now = time.monotonic()
            seen = len(reader.rows)
            bad += bool(waiting) and waiting[-1][0] > seen
            delays += [max(0.0, now - when) for _, when in waiting]
            looks += 1
            if looks % 500 == 0:
                bad += wrong_rows(reader) > 0
                with RunReader(folder) as fresh:
                    bad += missing_rows(fresh, seen) > 0 or wrong_rows(fresh) > 0
                notes_so_far(read)  # what waited for these checks says nothing about the store
            time.sleep(0.0005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        reader.refresh()
        bad += wrong_rows(reader) > 0
        reader.close()
    delays.sort()
    print(
        f"looks {looks}, wrong {bad}, batches {len(delays)}; acknowledged to visible: "
        f"median {1e3 * statistics.median(delays):.2f} ms, "
        f"99 % {1e3 * delays[int(0.99 * len(delays))]:.2f} ms"
    )
    return bad


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    sys.exit(1 if main(parser.parse_args().seconds) else 0)
