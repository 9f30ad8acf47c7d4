"""What every executor promises, held against each of them with real workers."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine.placement import Placement
from engine.work.executors.base import (
    Broken,
    Chunk,
    ChunkDone,
    EpochDone,
    Executor,
    Lost,
    PackDone,
    Report,
    Started,
    Trained,
)
from engine.work.executors.inline import InlineExecutor
from engine.work.executors.processes import ProcessExecutor, Seat
from tests.executors.synthetic import Synthetic, expected_curves

Open = Callable[[Synthetic], Executor]
PATIENCE = 120.0


def _inline(work: Synthetic) -> Executor:
    return InlineExecutor(work.open(), 1, "cpu")


def _processes(work: Synthetic) -> Executor:
    return ProcessExecutor([Seat(work, "cpu", 1)] * 2)


def _ray(work: Synthetic) -> Executor:
    from engine.work.executors.ray_tasks import RayExecutor

    return RayExecutor(work, Placement("ray", address="local"), "cpu")


needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra [ray] is not installed"
)
EVERYWHERE = [_inline, _processes, pytest.param(_ray, marks=[needs_ray, pytest.mark.slow])]
ELSEWHERE = EVERYWHERE[1:]


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens executors of the kind the test is asked for, and closes them."""
    executors: list[Executor] = []

    def open_one(work: Synthetic) -> Executor:
        executors.append(request.param(work))
        return executors[-1]

    yield open_one
    for executor in executors:
        executor.cancel()
        executor.close()


def gather(executor: Executor, chunks: list[Chunk]) -> list[Report]:
    """Has chunks worked on, never more of them at a time than the window; returns all reports."""
    waiting, flying, reports = list(chunks), set[int](), list[Report]()
    deadline = time.monotonic() + PATIENCE

    def tell(report: Report) -> None:
        reports.append(report)
        if isinstance(report, ChunkDone | Lost | Broken):
            flying.remove(report.chunk)

    while waiting or flying:
        assert time.monotonic() < deadline, f"still waiting for chunks {flying}"
        while waiting and len(flying) < executor.window:
            flying.add(waiting[0].number)
            executor.submit(waiting.pop(0))
        executor.collect(tell)
    return reports


def chunks_of(*packs: tuple[int, ...]) -> list[Chunk]:
    """Chunks of one pack of each of the given candidates, in two repeats."""
    return [
        Chunk(number, ((0, candidates), (1, candidates)))
        for number, candidates in enumerate(packs, start=1)
    ]


def steps(folder: Path) -> int:
    file = folder / "steps"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("opened", EVERYWHERE, indirect=True)
class TestEveryExecutor:
    def test_gives_the_results_of_every_chunk_once(self, opened: Open, tmp_path: Path) -> None:
        chunks = chunks_of(*((3 * i, 3 * i + 1, 3 * i + 2) for i in range(6)))
        reports = gather(opened(Synthetic(2, str(tmp_path))), chunks)
        found = {(r.candidates, r.repeat): r.curves for r in reports if isinstance(r, PackDone)}
        assert len(found) == sum(isinstance(r, PackDone) for r in reports) == 12
        for (candidates, repeat), curves in found.items():
            np.testing.assert_array_equal(curves, expected_curves(candidates, repeat, 2))
        assert sorted(r.chunk for r in reports if isinstance(r, ChunkDone)) == [1, 2, 3, 4, 5, 6]

    def test_reports_a_chunk_from_its_start_to_its_end(self, opened: Open, tmp_path: Path) -> None:
        reports = gather(opened(Synthetic(3, str(tmp_path), seconds=0.25)), chunks_of((7, 8)))
        assert isinstance(reports[0], Started)
        assert isinstance(reports[-1], ChunkDone)
        assert sum(r.samples for r in reports if isinstance(r, Trained)) == 2 * 3 * 20
        epochs = [(r.repeat, r.epoch) for r in reports if isinstance(r, EpochDone)]
        assert epochs == sorted(epochs)
        assert {repeat for repeat, _ in epochs} == {0, 1}
        kept = [r.repeat for r in reports if isinstance(r, PackDone)]
        assert kept == [0, 1]

    def test_opens_the_setup_once_a_worker(self, opened: Open, tmp_path: Path) -> None:
        executor = opened(Synthetic(1, str(tmp_path)))
        gather(executor, chunks_of(*((i,) for i in range(8))))
        assert 1 <= len(list(tmp_path.glob("opened-*"))) <= executor.workers

    def test_an_exception_is_told_once_with_its_trace(self, opened: Open, tmp_path: Path) -> None:
        executor = opened(Synthetic(1, str(tmp_path), wrong=2))
        reports = gather(executor, chunks_of((1,), (2,), (3,)))
        (broken,) = (r for r in reports if isinstance(r, Broken))
        assert broken.chunk == 2
        assert "ArithmeticError: candidate 2 is wrong" in broken.sentence
        assert "in interfere" in broken.trace
        assert not broken.out_of_memory
        assert steps(tmp_path) == 5
        assert sorted(r.chunk for r in reports if isinstance(r, ChunkDone)) == [1, 3]

    def test_what_the_driver_raises_comes_through(self, opened: Open, tmp_path: Path) -> None:
        executor = opened(Synthetic(1, str(tmp_path)))
        executor.submit(chunks_of((1,))[0])

        def tell(report: Report) -> None:
            raise KeyError(report.__class__.__name__)

        def collect_all() -> None:
            while True:
                executor.collect(tell)

        with pytest.raises(KeyError, match="Started"):
            collect_all()

    def test_after_a_cancel_it_takes_other_chunks(self, opened: Open, tmp_path: Path) -> None:
        executor = opened(Synthetic(1, str(tmp_path)))
        first, second = chunks_of((1,), (2,))
        executor.submit(first)
        executor.cancel()
        assert {r.chunk for r in gather(executor, [second])} == {2}


@pytest.mark.parametrize("opened", ELSEWHERE, indirect=True)
class TestWorkersElsewhere:
    def test_a_killed_worker_takes_only_its_chunk_along(self, opened: Open, tmp_path: Path) -> None:
        executor = opened(Synthetic(1, str(tmp_path), deadly=3))
        chunks = chunks_of((1,), (2,), (3,), (4,), (5,))
        reports = gather(executor, chunks)
        (lost,) = (r for r in reports if isinstance(r, Lost))
        assert lost.chunk == 3
        assert lost.why
        assert sorted(r.chunk for r in reports if isinstance(r, ChunkDone)) == [1, 2, 4, 5]
        again = gather(executor, [Chunk(9, chunks[2].packs)])
        assert [r.repeat for r in again if isinstance(r, PackDone)] == [0, 1]

    def test_a_hold_stops_the_work_and_lets_it_go_on(self, opened: Open, tmp_path: Path) -> None:
        executor = opened(Synthetic(60, str(tmp_path), seconds=0.05))
        executor.submit(Chunk(1, ((0, (1,)),)))
        reports: list[Report] = []
        while not any(isinstance(report, EpochDone) for report in reports):
            executor.collect(reports.append)
        executor.hold(True)
        # Steps under way, and on Ray the few reports that may run ahead, come to their end.
        time.sleep(1.5)
        held = steps(tmp_path)
        assert held < 60
        time.sleep(1.0)
        assert steps(tmp_path) == held
        executor.hold(False)
        while not isinstance(reports[-1], ChunkDone):
            executor.collect(reports.append)
        assert steps(tmp_path) == 60

    def test_nothing_is_left_after_a_close(self, opened: Open, tmp_path: Path) -> None:
        executor = opened(Synthetic(50, str(tmp_path), seconds=0.2))
        executor.submit(Chunk(1, ((0, (1,)),)))
        reports: list[Report] = []
        while not any(isinstance(report, Started) for report in reports):
            executor.collect(reports.append)
        (started,) = (r for r in reports if isinstance(r, Started))
        executor.cancel()
        executor.close()
        deadline = time.monotonic() + PATIENCE
        while psutil.pid_exists(started.place["pid"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
