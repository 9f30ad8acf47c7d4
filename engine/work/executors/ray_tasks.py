"""The executor of a cluster: chunks as tasks of Ray Core, which finds them machines and GPUs."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from engine.errors import UsageError
from engine.placement import Placement, require_ray
from engine.work.executors.base import (
    Broken,
    Chunk,
    ChunkDone,
    Lost,
    Report,
    Setup,
    Started,
    Tell,
    Work,
)
from engine.work.executors.failures import broken, release_gpu_memory
from engine.work.executors.place import place_of
from engine.work.executors.throttle import Throttle, quiet_seconds

_WAIT_SECONDS = 0.5
_COUNT_SECONDS = 5.0
# Reports a task may be ahead of the driver. Beyond it the work rests: this is how a driver that
# pauses, and so collects nothing, holds the whole cluster.
_AHEAD = 4

# In a worker of Ray: the study it has opened. It serves one study at a time.
_opened: dict[str, Work] = {}


class RayExecutor:
    """Chunks in flight on a Ray cluster; data and base network lie once in each node's store.

    A task whose worker or machine dies is reported lost; Ray itself retries nothing, so that what
    is tried again, and how often, is the driver's decision here as elsewhere.
    """

    def __init__(self, setup: Setup, placement: Placement, device: str) -> None:
        """Connects to the cluster, or starts one on this machine, and hands the setup over.

        Args:
            setup: What every worker is given, once a node.
            placement: Which cluster, and what a task asks for.
            device: `cpu` or `cuda`: what the tasks compute on.

        Raises:
            UsageError: There is no Ray or no such cluster, or no node of it has room for a task.
        """
        require_ray()
        self._ray, self._local = _connect(placement)
        self._placement, self._device = placement, device
        self._asks = {"num_cpus": float(placement.cpus)}
        if device == "cuda":
            self._asks["num_gpus"] = placement.gpus or 1.0
        if placement.memory is not None:
            self._asks["memory"] = float(placement.memory)
        self._counted_at, self._workers = 0.0, 0
        self._flying: dict[Any, Chunk] = {}
        try:
            if self.workers == 0:
                raise UsageError(
                    f"No node of the Ray cluster has what a task asks for ({self._asks_text()}); "
                    "ask for less, or add nodes."
                )
            self._setup = self._ray.put(setup)
        except BaseException:
            self.close()
            raise
        self._token = uuid.uuid4().hex
        self._task = self._ray.remote(_serve).options(
            **self._asks,
            num_returns="streaming",
            max_retries=0,
            _generator_backpressure_num_objects=_AHEAD,
        )

    @property
    def workers(self) -> int:
        """How many tasks the nodes of this moment have room for."""
        if time.monotonic() - self._counted_at > _COUNT_SECONDS:
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            self._workers = sum(map(self._room, nodes))
            self._counted_at = time.monotonic()
        return self._workers

    @property
    def threads(self) -> int:
        """Threads of each task: the cores it asks for."""
        return self._placement.cpus

    @property
    def window(self) -> int:
        """Twice as many tasks as have room, so that each worker finds its next one waiting."""
        return 2 * max(1, self.workers)

    def submit(self, chunk: Chunk) -> None:
        """Hands a chunk to Ray."""
        reports = self._task.remote(
            [self._setup],
            self._token,
            chunk,
            self._device,
            self._placement.cpus,
            quiet_seconds(self.workers),
        )
        self._flying[reports] = chunk

    def collect(self, tell: Tell) -> None:
        """Tells what the tasks reported; waits up to half a second for a report."""
        if not self._flying:
            return
        ready, _ = self._ray.wait(
            list(self._flying), num_returns=1, timeout=_WAIT_SECONDS, fetch_local=False
        )
        for reports in ready:
            for report in self._next(reports):
                tell(report)

    def hold(self, held: bool) -> None:
        """Has nothing to do: tasks rest when nobody collects what they report."""

    def cancel(self) -> None:
        """Drops every chunk; the workers of those in work are ended."""
        flying, self._flying = list(self._flying), {}
        for reports in flying:
            self._ray.cancel(reports, force=True)

    def close(self) -> None:
        """Leaves the cluster; one that was started here ends."""
        self._flying = {}
        self._ray.shutdown()

    def _next(self, reports: Any) -> list[Report]:
        """Returns the next reports of a task."""
        from ray.exceptions import RayError, RayTaskError

        chunk = self._flying[reports]
        found: list[Report]
        try:
            found = list(self._ray.get(next(reports)))
        except StopIteration:
            found = [Lost(chunk.number, "a Ray task ended before its chunk was done")]
        except RayTaskError as error:  # not even the worker's own handler could run
            found = [broken(chunk.number, error)]
        except RayError as error:
            said = str(error).strip().splitlines() or [""]
            found = [Lost(chunk.number, f"{type(error).__name__}: {said[0]}")]
        if any(isinstance(report, ChunkDone | Broken | Lost) for report in found):
            del self._flying[reports]
        return found

    def _room(self, resources: dict[str, float]) -> int:
        """Returns how many tasks a node has room for."""
        names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
        return int(
            min(resources.get(names[ask], 0.0) / amount for ask, amount in self._asks.items())
        )

    def _asks_text(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self._asks.items())


def _connect(placement: Placement) -> tuple[Any, bool]:
    """Returns the module of Ray, connected, and whether the cluster was started here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Workers on this machine find the package where this process found it.
    root = str(Path(__file__).resolve().parents[3])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *(p for p in paths if p and p != root)])
    # Without this Ray blinds a task that asks for no GPU, which is what a CPU study wants.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    import ray

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if placement.address == "local":
            options |= {"include_dashboard": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=placement.address or None, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = placement.address or "this machine"
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"There is no Ray cluster to be had at {where}: {said}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return ray, placement.address == "local"


def _serve(
    setup: list[Any], token: str, chunk: Chunk, device: str, threads: int, quiet: float
) -> Iterator[list[Report]]:
    """Works on a chunk in a worker of Ray; yields what it reports, as it comes."""
    box: queue.Queue[Report] = queue.Queue(maxsize=_AHEAD)
    worker = threading.Thread(
        target=_work_on, args=(box, setup, token, chunk, device, threads, quiet), daemon=True
    )
    worker.start()
    ended = False
    while not ended:
        reports = deque([box.get()])
        while not box.empty():
            reports.append(box.get())
        ended = any(isinstance(report, ChunkDone | Broken) for report in reports)
        if ended:
            worker.join()
        yield list(reports)


def _work_on(
    box: queue.Queue[Report],
    setup: list[Any],
    token: str,
    chunk: Chunk,
    device: str,
    threads: int,
    quiet: float,
) -> None:
    try:
        torch.set_num_threads(threads)
        box.put(Started(chunk.number, place_of(device, threads)))
        if token not in _opened:
            import ray

            _opened.clear()
            _opened[token] = ray.get(setup[0]).open()
        _opened[token](chunk, Throttle(box.put, quiet))
        return
    except Exception as error:
        report = broken(chunk.number, error)
    release_gpu_memory()
    box.put(report)
