"""What an executor costs: a study of many candidates whose retraining is free, through the driver.

    python -m benchmarks.executors                        # every executor, 37,000 candidates
    python -m benchmarks.executors --executor inline --candidates 4625 9250 18500 37000

Everything is real but the work: a run on disk with its journal and publishes, the driver, the
pipes or Ray, learning curves of 30 epochs. Each measurement is a process of its own, so that its
memory is its own. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

EPOCHS = 30


@dataclass(frozen=True)
class Trivial:
    """Gives every candidate a learning curve at once, after some words about progress."""

    epochs: int
    words: int = 0

    def open(self):
        return self.work

    def work(self, chunk, tell):
        import numpy as np

        from engine.work.executors.base import ChunkDone, EpochDone, PackDone, Trained

        for repeat, candidates in chunk.packs:
            some = (0.5,) * len(candidates)
            for epoch in range(self.words):
                tell(Trained(chunk.number, 1_000))
                tell(EpochDone(chunk.number, repeat, candidates, epoch + 1, some, some))
            # Noise: curves that compress no better than real ones.
            curves = np.random.default_rng(candidates[0]).random((len(candidates), self.epochs, 4))
            tell(PackDone(chunk.number, repeat, candidates, curves, 0.0))
        tell(ChunkDone(chunk.number, 0.0))


def measure(name: str, candidates: int, pack: int, words: int) -> dict[str, object]:
    """Runs one study and returns what it cost."""
    import torch

    from engine.control import create_run
    from engine.entries import read_entries
    from engine.placement import read_placement
    from engine.store.layout import RowStatus, empty_rows
    from engine.store.writer import RunWriter
    from engine.summary import summarise_run
    from engine.work.bench import Bench
    from engine.work.datasets import load_dataset
    from engine.work.executors.inline import InlineExecutor
    from engine.work.executors.processes import ProcessExecutor, Seat
    from engine.work.models import slice_plan
    from engine.work.pretraining import BaseNetwork, initial_state
    from engine.work.retraining import Retraining
    from engine.work.session import Session
    from engine.work.sizing import PackSizer

    class Fixed(PackSizer):
        """Packs of one size."""

        def measured(self, size: int, seconds: float) -> None:
            pass

    entries = {
        "layers": "conv1,conv2,conv3",
        "ratio": "0.5",
        "candidates": str(candidates),
        "epochs": str(EPOCHS),
    }
    spec = read_entries(entries)
    work = Trivial(EPOCHS, words)
    placement = read_placement(name)
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder), spec, "cpu", executor=name)
        data = load_dataset(spec.dataset_info)
        base = BaseNetwork(initial_state(spec, 10), 0.1, 2.3, 0.1, 2.3, 0, "none", False)
        plan = slice_plan(spec.model_info, 10)
        bench = Bench(spec, torch.device("cpu"), 1, data, base, plan)
        with RunWriter.open(run) as writer, Session(writer, candidates) as session:
            writer.config = {**writer.config, "environment": {}}
            rows = empty_rows(candidates)
            rows["candidate"], rows["status"] = range(candidates), RowStatus.SCORED
            rows["pruned_train_loss"] = rows["candidate"] * 7919 % candidates
            space = spec.space
            for start in range(0, candidates, 4_096):
                part = rows[start : start + 4_096]
                pruned = [[list(layer) for layer in space[int(c)]] for c in part["candidate"]]
                writer.append(part, None, pruned)
            writer.set_summary(summarise_run(writer.config, "running", writer.rows))
            writer.publish()
            if placement.kind == "processes":
                executor = ProcessExecutor([Seat(work, "cpu", 1)] * (placement.processes or 2))
            elif placement.kind == "ray":
                from engine.work.executors.ray_tasks import RayExecutor

                executor = RayExecutor(work, placement, "cpu")
            else:
                executor = InlineExecutor(work.open(), 1, "cpu")
            sizer = Fixed(1, "cpu")
            sizer.size = pack
            # Workers start, and import torch, before the clock does.
            warm_up(executor)
            before = resource.getrusage(resource.RUSAGE_SELF)
            began = time.monotonic()
            Retraining(bench, executor, writer, session, sizer).run()
            seconds = time.monotonic() - began
            after = resource.getrusage(resource.RUSAGE_SELF)
            workers = executor.workers
            executor.close()
            assert writer.n_finished == candidates
            began = time.monotonic()
            writer.publish(final=True)
            final = time.monotonic() - began
            size = (run / "run.h5").stat().st_size
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "executor": name,
        "workers": workers,
        "candidates": candidates,
        "pack": pack,
        "words_per_pack": words,
        "seconds": round(seconds, 2),
        "ms_per_candidate": round(1_000 * seconds / candidates, 3),
        "driver_cpu_ms_per_candidate": round(1_000 * cpu / candidates, 3),
        "final_publish_seconds": round(final, 2),
        "driver_peak_mb": round(after.ru_maxrss / 1_000),
        "run_file_mb": round(size / 1e6, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def warm_up(executor) -> None:
    """Has every worker work on something once."""
    from engine.work.executors.base import Chunk, ChunkDone

    done = 0

    def tell(report) -> None:
        nonlocal done
        done += isinstance(report, ChunkDone)

    for number in range(executor.window):
        executor.submit(Chunk(-number - 1, ((0, (0,)),)))
    while done < executor.window:
        executor.collect(tell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--executor", nargs="+", default=["inline", "processes:2", "ray:local"])
    parser.add_argument("--candidates", nargs="+", type=int, default=[37_000])
    parser.add_argument("--pack", nargs="+", type=int, default=[16])
    parser.add_argument("--words", type=int, default=0, help="words about progress per pack")
    parser.add_argument("--here", action="store_true", help="measure in this process, once")
    given = parser.parse_args()
    if given.here:
        print(
            json.dumps(measure(given.executor[0], given.candidates[0], given.pack[0], given.words))
        )
        return
    for name in given.executor:
        for pack in given.pack:
            for candidates in given.candidates:
                command = [sys.executable, "-m", "benchmarks.executors", "--here"]
                command += ["--executor", name, "--candidates", str(candidates)]
                command += ["--pack", str(pack), "--words", str(given.words)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
