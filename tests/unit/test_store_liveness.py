from pathlib import Path

import pytest

from engine.store.liveness import HeartbeatClock, effective_status, engine_state
from engine.store.writer import RunWriter
from tests.store_harness.cases import config, write_lock


@pytest.fixture
def run(tmp_path: Path) -> Path:
    RunWriter.create(tmp_path / "case", config())
    return tmp_path / "case"


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_silence_is_thirty_seconds_without_a_new_heartbeat_on_our_clock(run: Path) -> None:
    time = Time()
    clock = HeartbeatClock(time)
    assert engine_state(run, clock) == "none"
    with RunWriter.open(run) as writer:
        assert engine_state(run, clock) == "alive"
        time.seconds = 29
        writer.beat({})
        assert engine_state(run, clock) == "alive"
        time.seconds = 58
        assert engine_state(run, clock) == "alive"
        time.seconds = 60
        assert engine_state(run, clock) == "silent"
        writer.beat({})
        assert engine_state(run, clock) == "alive"
    assert engine_state(run, clock) == "none"


def test_restarted_engine_with_the_same_count_is_a_change(run: Path) -> None:
    time = Time()
    clock = HeartbeatClock(time)
    for _ in range(2):
        with RunWriter.open(run) as writer:
            writer.beat({})
            assert engine_state(run, clock) == "alive"
            time.seconds += 40
            assert engine_state(run, clock) == "silent"


def test_dead_and_remote_engines_are_told_by_the_lock(run: Path) -> None:
    write_lock(run / "lock", started=1.0)
    assert engine_state(run, HeartbeatClock()) == "dead"
    write_lock(run / "lock", host="elsewhere")
    assert engine_state(run, HeartbeatClock()) == "remote"


@pytest.mark.parametrize(
    ("status", "state", "shown"),
    [
        ("running", "alive", "running"),
        ("running", "remote", "running"),
        ("running", "none", "stalled"),
        ("running", "dead", "stalled"),
        ("running", "silent", "stalled"),
        ("queued", "none", "queued"),
        ("queued", "dead", "stalled"),
        ("paused", "none", "paused"),
        ("paused", "alive", "paused"),
        ("paused", "dead", "stalled"),
        ("done", "dead", "done"),
        ("failed", "none", "failed"),
        ("stopped", "silent", "stopped"),
    ],
)
def test_stalled_is_a_run_that_waits_for_an_engine_that_is_not_there(
    status: str, state: str, shown: str
) -> None:
    assert effective_status(status, state) == shown
