"""A simulated cluster: where driver, store and data set transfer saturate, before one is rented.

    python -m benchmarks.cluster

Workers take chunks whose length scatters; one driver serves their reports one after another, as
ours does, and hands out what comes next. The driver's costs are those that
`python -m benchmarks.executors` measures; what was not measured here is marked as assumed.
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass

# Measured on two shared cores (docs/explanation/executors.md): what one chunk costs the driver, and
# what each candidate in it adds, wall time with fsync; and the run file's growth and rewriting.
CHUNK_SECONDS = 0.004
CANDIDATE_SECONDS = 0.00001
ROW_BYTES = 460
PUBLISH_SECONDS_PER_MB = 0.03

# Assumed: a word about progress by way of Ray (0.04 ms were measured without it), a 10 Gb/s
# network at 80 %, Ray's broadcast as a binary tree of whole copies, and the part of a second a
# worker needs between two chunks where the next one waits for it already.
PROGRESS_SECONDS = 0.001
NETWORK_MB_PER_SECOND = 1_000.0
TURNAROUND_SECONDS = 0.02


@dataclass(frozen=True)
class Study:
    """A study as the cluster sees it.

    Attributes:
        name: What it is called here.
        rows: Retrainings in all.
        pack: Candidates of a chunk.
        chunk_seconds: How long a worker needs for a chunk (assumed; the sizer aims at 20 s).
        scoring_seconds: How long the driver scores before anyone retrains (assumed).
        data_mb: The data set in memory.
    """

    name: str
    rows: int
    pack: int
    chunk_seconds: float
    scoring_seconds: float
    data_mb: float


STUDIES = (
    Study("LeNet5-Mini, 37,000 x 1, chunks of 20 s", 37_000, 64, 20.0, 60.0, 287.0),
    Study("the same in chunks of 2 s", 37_000, 6, 2.0, 60.0, 287.0),
    Study("ResNet56, 1,000 x 3, chunks of 30 min", 3_000, 4, 1_800.0, 600.0, 737.0),
)
CLUSTERS = (("8 GPUs", 1, 8), ("32 nodes of 8", 32, 256))


@dataclass(frozen=True)
class Outcome:
    """What became of a study on a cluster; `busy` are shares of the time of retraining."""

    seconds: float
    transfer: float
    workers_busy: float
    driver_busy: float
    publish_busy: float


def simulate(study: Study, nodes: int, workers: int, seed: int = 0) -> Outcome:
    """Plays a study through, event by event.

    The driver keeps two chunks a worker in flight, so a worker that reports has its next chunk
    already unless the driver's queue has grown longer than a chunk.
    """
    scatter = random.Random(seed)
    rounds = max(0, (nodes - 1).bit_length())
    transfer = rounds * study.data_mb / NETWORK_MB_PER_SECOND
    left = study.rows
    waiting = 0  # chunks the driver has handed out and no worker has begun
    flying = 0
    idle = workers
    driver_free = 0.0
    driver_busy = worked = now = 0.0
    file_mb, published_at, publish_busy = 0.0, 0.0, 0.0
    events: list[tuple[float, int, int]] = []  # (time, size, worker's chunk seconds in ms)
    serial = 0

    def begin(at: float) -> None:
        nonlocal waiting, idle, worked, serial
        while waiting and idle:
            waiting, idle = waiting - 1, idle - 1
            length = study.chunk_seconds * scatter.uniform(0.9, 1.1)
            worked += length
            serial += 1
            heapq.heappush(events, (at + TURNAROUND_SECONDS + length, serial, study.pack))

    def hand_out() -> None:
        nonlocal left, waiting, flying
        while left > 0 and flying < 2 * workers:
            left -= study.pack
            waiting, flying = waiting + 1, flying + 1

    hand_out()
    begin(0.0)
    while events:
        now, _, size = heapq.heappop(events)
        idle += 1
        begin(now)  # what waits is begun before the driver turns to the report
        began = max(now, driver_free)
        cost = CHUNK_SECONDS + size * CANDIDATE_SECONDS
        cost += progress_seconds(study, workers)
        file_mb += size * ROW_BYTES / 1e6
        if began - published_at > max(30.0, 20 * PUBLISH_SECONDS_PER_MB * file_mb):
            cost += PUBLISH_SECONDS_PER_MB * file_mb
            publish_busy += PUBLISH_SECONDS_PER_MB * file_mb
            published_at = began
        driver_free = began + cost
        driver_busy += cost
        flying -= 1
        hand_out()
        begin(driver_free)
    length = max(now, driver_free)
    return Outcome(
        study.scoring_seconds + transfer + length,
        transfer,
        worked / (workers * length),
        driver_busy / length,
        publish_busy / length,
    )


def progress_seconds(study: Study, workers: int) -> float:
    """Returns what the words about a chunk's progress cost the driver; see `quiet_seconds`."""
    return PROGRESS_SECONDS * study.chunk_seconds * min(5.0, 100.0 / workers)


def saturation(study: Study) -> float:
    """Returns how many workers keep the driver busy all the time."""
    workers = 1.0
    while workers * (CHUNK_SECONDS + study.pack * CANDIDATE_SECONDS) < study.chunk_seconds * (
        1 - PROGRESS_SECONDS * min(5.0 * workers, 100.0)
    ):
        workers *= 1.01
    return workers


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__).parse_args()
    print("study | cluster | total s | scoring s | transfer s | workers busy | driver | publish")
    for study in STUDIES:
        for name, nodes, workers in CLUSTERS:
            found = simulate(study, nodes, workers)
            print(
                f"{study.name} | {name} | {found.seconds:,.0f} | {study.scoring_seconds:,.0f} | "
                f"{found.transfer:.1f} | {found.workers_busy:.0%} | {found.driver_busy:.1%} | "
                f"{found.publish_busy:.1%}"
            )
        print(f"{study.name} | the driver saturates at {saturation(study):,.0f} workers")


if __name__ == "__main__":
    main()
