"""From the name of an executor to one that is ready to work on a bench."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from engine.gpus import Gpu, choose, this_user, visible_gpus
from engine.placement import Placement, read_placement
from engine.work.bench import Bench
from engine.work.chunks import ChunkWork
from engine.work.executors.base import Executor
from engine.work.executors.failures import release_gpu_memory
from engine.work.executors.inline import InlineExecutor
from engine.work.executors.processes import ProcessExecutor, Seat
from engine.work.executors.setup import BenchSetup

# Each worker holds the data set in its own memory, so a machine of many cores gets no more unasked.
_PROCESSES_UNASKED = 8


def choose_gpus(name: str, device: str) -> list[Gpu]:
    """Returns the GPUs that an executor's workers would get, one a worker; none for a CPU study.

    Asked before the driver itself computes on one of them, and so would find it in use.

    Args:
        name: The executor.
        device: The run's device as it was asked for.

    Raises:
        UsageError: There are GPUs, but none is free.
    """
    placement = read_placement(name)
    if placement.kind != "processes" or device == "cpu" or not torch.cuda.is_available():
        return []
    gpus = visible_gpus()
    if ":" in device:
        # Named by its number: all workers share that one, because a person asked for it.
        place = int(device.partition(":")[2])
        return gpus[place : place + 1] * (placement.processes or 1)
    return choose(gpus, placement.processes, this_user()) if gpus else []


def open_executor(
    name: str,
    bench: Bench,
    folder: Path,
    gpus: Sequence[Gpu],
    say: Callable[[str], None],
) -> Executor:
    """Returns the executor of that name, ready to retrain chunks of a study.

    Args:
        name: `inline`, `processes[:N]` or `ray[:address]`.
        bench: The driver's bench, which the workers' are like.
        folder: The run's folder, where long packs are saved.
        gpus: What `choose_gpus` found.
        say: Called with sentences for the log.

    Raises:
        UsageError: There is no such executor, or no device or cluster for it.
    """
    placement = read_placement(name)
    if placement.kind == "processes":
        return ProcessExecutor(_seats(placement, bench, folder, gpus))
    if placement.kind == "ray":
        from engine.work.executors.ray_tasks import RayExecutor

        kind = bench.device.type
        setup = BenchSetup.of(bench, kind, placement.cpus, folder=None, with_data=True)
        say("on Ray a chunk whose worker dies begins anew; packs are not saved between epochs")
        return RayExecutor(setup, placement, kind)
    return InlineExecutor(ChunkWork(bench, folder), bench.threads, str(bench.device))


def _seats(placement: Placement, bench: Bench, folder: Path, gpus: Sequence[Gpu]) -> list[Seat]:
    if bench.device.type == "cuda":
        # What scoring left unused is for the worker beside the driver.
        release_gpu_memory()
        if gpus:
            return [_gpu_seat("cuda:0", bench, folder, gpu.uuid) for gpu in gpus]
        # Slices of GPUs have no names of their own here; torch counts them.
        seen = torch.cuda.device_count()
        return [
            _gpu_seat(f"cuda:{place % seen}", bench, folder, None)
            for place in range(placement.processes or seen)
        ]
    count = placement.processes or min(bench.threads, _PROCESSES_UNASKED)
    threads = max(1, bench.threads // count)
    setup = BenchSetup.of(bench, "cpu", threads, folder=folder, with_data=False)
    return [Seat(setup, "cpu", threads)] * count


def _gpu_seat(device: str, bench: Bench, folder: Path, uuid: str | None) -> Seat:
    # A worker that sees one GPU only, named by what no order of enumeration changes.
    setup = BenchSetup.of(bench, device, 1, folder=folder, with_data=False)
    return Seat(setup, device, 1, {} if uuid is None else {"CUDA_VISIBLE_DEVICES": uuid})
