import json
import time
from pathlib import Path

import pytest

from engine.store.liveness import (
    HeartbeatClock,
    effective_status,
    engine_life,
    engine_state,
    heartbeat_changes,
)
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


def test_silence_of_this_machines_engine_is_known_at_the_first_look(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.set_status("running")
        writer.beat({"status": "running"})
        assert engine_life(run, "running", HeartbeatClock()).status == "running"
        document = json.loads((run / "live.json").read_text())
        document["monotonic"] = time.monotonic() - 31
        (run / "live.json").write_text(json.dumps(document))
        life = engine_life(run, "running", HeartbeatClock())
        assert (life.state, life.status, life.remote) == ("silent", "stalled", False)
        # That of an engine before this one says nothing about this one.
        (run / "live.json").write_text(json.dumps(document | {"pid": document["pid"] + 1}))
        assert engine_life(run, "running", HeartbeatClock()).state == "alive"


def test_another_hosts_engine_is_silent_only_after_listening(run: Path) -> None:
    write_lock(run / "lock", host="elsewhere")
    now = Time()
    clock = HeartbeatClock(now)
    life = engine_life(run, "running", clock)
    assert (life.state, life.status, life.remote) == ("remote", "running", True)
    now.seconds = 31
    life = engine_life(run, "running", clock)
    assert (life.state, life.status, life.remote) == ("silent", "stalled", True)
    assert life.holder is not None
    assert life.holder.host == "elsewhere"


def test_a_restart_of_the_machine_is_told(run: Path) -> None:
    write_lock(run / "lock", boot="another start")
    life = engine_life(run, "running", HeartbeatClock())
    assert (life.state, life.status, life.restarted) == ("dead", "stalled", True)
    write_lock(run / "lock", started=1.0)
    assert not engine_life(run, "running", HeartbeatClock()).restarted


def test_an_engine_that_waits_for_room_is_paused_and_says_so(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.set_status("running")
        writer.beat({"status": "paused", "note": "The disk is full."})
        life = engine_life(run, "running", HeartbeatClock())
        assert (life.state, life.status, life.note) == ("alive", "paused", "The disk is full.")
        # A stopped run, resumed where there is no room even for the word that it runs.
        life = engine_life(run, "stopped", HeartbeatClock())
        assert (life.status, life.note) == ("paused", "The disk is full.")
        # What an engine before this one said says nothing about this one.
        document = json.loads((run / "live.json").read_text())
        (run / "live.json").write_text(json.dumps(document | {"pid": document["pid"] + 1}))
        assert engine_life(run, "stopped", HeartbeatClock()).status == "stopped"


def test_heartbeat_changes_are_seen(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.beat({})
        assert not heartbeat_changes(run, 0.3)


def test_a_writer_knows_who_took_its_run_over(run: Path) -> None:
    writer = RunWriter.open(run)
    assert writer.taken_over_by() is None
    write_lock(run / "lock", host="elsewhere", pid=7)
    taker = writer.taken_over_by()
    assert taker is not None
    assert str(taker) == "process 7 on elsewhere"
    writer.close()
    assert (run / "lock").exists()  # it is the other's
