"""One study under every executor: the same numbers, also when workers and drivers are killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from engine.check import check_run
from engine.store.reader import RunReader
from engine.store.requests import send_request
from tests.engine.conftest import finished, start, wait_for, work_through
from tests.engine.test_study import table

Place = Callable[..., Path]

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra [ray] is not installed"
)
PROCESSES = "processes:2"
ELSEWHERE = [
    PROCESSES,
    pytest.param("ray:local", marks=[needs_ray, pytest.mark.slow]),
]


def same_numbers(one: Path, other: Path) -> None:
    for name in ("candidates", "curves"):
        pd.testing.assert_frame_equal(table(one, name), table(other, name), check_exact=True)


def workers_of(engine: int, run: Path) -> list[int]:
    """The ids of a run's worker processes, as its log says them."""
    said = [line for line in RunReader(run).log_tail(200) if "worker: process " in line]
    pids = [int(line.split("worker: process ")[1].split()[0]) for line in said]
    return [pid for pid in pids if pid != engine and psutil.pid_exists(pid)]


def retraining_seen(run: Path) -> bool:
    live = RunReader(run).live()
    return live is not None and live["stage"] == "retraining" and bool(live["provisional"])


@pytest.mark.parametrize("executor", ELSEWHERE)
def test_the_same_spec_gives_the_same_tables(place: Place, executor: str) -> None:
    """Undisturbed, and with a worker killed while it works."""
    inline, elsewhere = place(), place(executor, epochs="2")
    work_through(inline)
    work_through(elsewhere)
    same_numbers(inline, elsewhere)
    config = RunReader(elsewhere).config
    assert config["executor"] == executor
    places = config["environment"]["workers"]
    assert len({worker["pid"] for worker in places}) >= 2
    assert {worker["device"] for worker in places} == {"cpu"}


@pytest.mark.parametrize("executor", ELSEWHERE)
def test_a_killed_worker_changes_no_number(place: Place, executor: str) -> None:
    # One candidate lasts for seconds, so that there is a middle to be killed in.
    long = {"epochs": "25", "candidates": "4", "repeats": "1"}
    undisturbed, killed = place(**long), place(executor, **long)
    work_through(undisturbed)
    engine = start(killed)
    wait_for(lambda: retraining_seen(killed), "the first epoch", engine)
    wait_for(lambda: len(workers_of(engine.pid, killed)) >= 2, "two workers", engine)
    os.kill(workers_of(engine.pid, killed)[0], signal.SIGKILL)
    assert engine.wait(240) == 0
    log = "\n".join(RunReader(killed).log_tail(200))
    assert "tried again" in log
    same_numbers(undisturbed, killed)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ELSEWHERE)
def test_a_killed_driver_is_resumed_to_the_same_numbers(place: Place, executor: str) -> None:
    """Only the driver is killed; its workers must end by themselves."""
    long = {"epochs": "20", "candidates": "8"}
    undisturbed, killed = place(**long), place(executor, **long)
    work_through(undisturbed)
    for _ in range(2):
        before = len(finished(killed))
        engine = start(killed)
        wait_for(lambda before=before: len(finished(killed)) > before, "a candidate", engine)
        workers = workers_of(engine.pid, killed)
        os.kill(engine.pid, signal.SIGKILL)
        engine.wait()
        wait_for(lambda pids=workers: not any(map(alive, pids)), "the end of the workers")
    kept = finished(killed)
    assert kept
    work_through(killed)
    assert RunReader(killed).status == "done"
    same_numbers(undisturbed, killed)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_pause_and_stop_reach_the_workers(place: Place) -> None:
    run = place(PROCESSES, epochs="400", candidates="4", repeats="1")
    engine = start(run)
    reader = RunReader(run)

    def provisional() -> list[list[float]]:
        live = reader.live()
        return live["provisional"] if live else []

    def status() -> str:
        reader.refresh()
        return reader.status

    wait_for(lambda: len(provisional()) >= 2, "points of both workers", engine)
    workers = workers_of(engine.pid, run)
    send_request(run, "pause")
    wait_for(lambda: status() == "paused", "the pause", engine)
    time.sleep(0.5)
    spent = cpu_seconds(workers)
    time.sleep(1.5)
    assert cpu_seconds(workers) - spent < 0.3
    send_request(run, "resume")
    wait_for(lambda: cpu_seconds(workers) - spent > 0.5, "going on", engine)
    send_request(run, "stop")
    assert engine.wait(60) == 0
    assert status() == "stopped"
    wait_for(lambda: not any(map(alive, workers)), "the end of the workers")


def cpu_seconds(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def test_a_shard_studies_its_part(place: Place) -> None:
    whole, parts = place(repeats="1"), [place(shard=(i, 2), repeats="1") for i in range(2)]
    for run in (whole, *parts):
        work_through(run)
    together = pd.concat([table(part) for part in parts]).sort_values("candidate")
    pd.testing.assert_frame_equal(table(whole), together.reset_index(drop=True), check_exact=True)
    assert [len(table(part)) for part in parts] == [6, 6]
    assert [RunReader(part).status for part in parts] == ["done", "done"]
    assert [check_run(part).whole for part in parts] == [True, True]
