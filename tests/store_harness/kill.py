"""Kill a real writer process at random moments; nothing acknowledged may be missing or torn.

Full form: ``python -m tests.store_harness.kill --times 1000``
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from engine.errors import RunFileError
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from tests.store_harness.cases import batch, config, missing_rows, wrong_rows

ROWS_PER_RUN = 6_000
KILLS_PER_RUN = 25


def write_until_killed(folder: Path, acknowledge: int, seed: int) -> None:
    """Append, publish and beat without end, saying the number of rows after each append."""
    rng = random.Random(seed)
    with RunWriter.open(folder) as writer:
        writer.set_status("running")
        while writer.n_rows < ROWS_PER_RUN:
            n = rng.choice((1, 3, 45, 252))
            writer.append(*batch(writer.n_rows, n))
            os.write(acknowledge, writer.n_rows.to_bytes(4, "little"))
            if rng.random() < 0.4:
                writer.publish(rng.random() < 0.2)
            writer.beat({"status": "running"})
        while True:
            writer.publish()


def kill_once(folder: Path, seed: int, seconds: float) -> int:
    """Let a writer work, kill it, and return the last number of rows it acknowledged."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            write_until_killed(folder, write, seed)
        except BaseException as error:
            print(f"writer failed: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)
    os.close(write)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    said = b""
    while part := os.read(read, 1 << 16):
        said += part
    os.close(read)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the writer ended by itself")
    whole = len(said) - len(said) % 4
    return int.from_bytes(said[whole - 4 : whole], "little") if whole else 0


def main(times: int, seed: int) -> int:
    """Run the harness; return the number of kills after which something was wrong."""
    rng = random.Random(seed)
    count: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        for i in range(times):
            if i % KILLS_PER_RUN == 0:
                folder = Path(name) / f"run{i}"
                RunWriter.create(folder, config(folder.name, n_total=ROWS_PER_RUN))
                acknowledged = 0
            acknowledged = max(
                acknowledged, kill_once(folder, rng.getrandbits(30), rng.uniform(0.005, 0.1))
            )
            try:
                with RunReader(folder) as reader:
                    missing, wrong = missing_rows(reader, acknowledged), wrong_rows(reader)
                with RunWriter.open(folder) as writer:
                    resumed = writer.n_rows >= acknowledged
            except RunFileError as error:
                print(error, file=sys.stderr)
                count["unreadable"] += 1
                continue
            count["rows lost"] += missing > 0
            count["rows torn"] += wrong > 0
            count["not resumed"] += not resumed
            count["good"] += missing == 0 and wrong == 0 and resumed
            count["rows acknowledged before kills"] += acknowledged
    print(f"kills {times}: {dict(count)}")
    return times - count["good"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(1 if main(arguments.times, arguments.seed) else 0)
