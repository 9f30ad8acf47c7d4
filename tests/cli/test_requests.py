"""`pause`, `resume` and `stop` where no engine is there to obey; with one, see test_engines."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from engine.store.requests import pending_request
from tests.store_harness.cases import write_lock

HOLD = """
import sys, time
from pathlib import Path
from engine.store.writer import RunWriter
writer = RunWriter.open(Path(sys.argv[1]))
writer.set_status("running")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def held_run(make_run):
    """A run whose lock a living process holds, which obeys nothing; yields run and process."""
    run = make_run(finished=10, status="stopped")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    yield run, holder
    holder.kill()
    holder.wait()
    holder.stdout.close()


@pytest.mark.parametrize(
    ("command", "status", "code", "says"),
    [
        ("stop", "stopped", 0, "stopped already"),
        ("stop", "done", 2, "no engine to stop"),
        ("stop", "failed", 2, "oracle-tui resume"),
        ("pause", "stopped", 2, "no engine to pause"),
        ("pause", "done", 2, "its status is done"),
        ("resume", "done", 2, "nothing to resume"),
    ],
)
def test_without_an_engine(oracle_tui, make_run, command, status, code, says):
    run = make_run(finished=45 if status == "done" else 10, status=status)
    answer = oracle_tui(command, run.name)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert pending_request(run) is None


def test_a_run_whose_engine_was_killed_is_stalled(oracle_tui, held_run):
    run, holder = held_run
    assert oracle_tui("show", run.name, "--json").json["status"] == "running"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert oracle_tui("show", run.name, "--json").json["status"] == "stalled"
    assert oracle_tui("runs", "--json").json[0]["status"] == "stalled"
    answer = oracle_tui("pause", run.name)
    assert answer.code == 2
    assert "its status is stalled; go on with `oracle-tui resume" in answer.err


def test_an_engine_that_does_not_answer_is_told(oracle_tui, held_run, monkeypatch):
    monkeypatch.setattr("oracle_tui.cli.requests._WAIT_SECONDS", 0.5)
    run, _ = held_run
    answer = oracle_tui("stop", run.name)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert "does not answer" in answer.err
    assert pending_request(run) == "stop"


def test_a_running_run_needs_no_resume(oracle_tui, held_run):
    run, _ = held_run
    answer = oracle_tui("resume", run.name)
    assert answer.code == 0
    assert "running already" in answer.err


def test_the_hint_names_the_folder_that_was_given(oracle_tui, make_run):
    run = make_run(finished=1, status="stopped")
    answer = oracle_tui("pause", run.name, "--runs-dir", str(run.parent))
    assert f"oracle-tui resume {run.name} --runs-dir {run.parent}" in answer.err


def test_another_hosts_engine_is_asked_and_taken_over_only_when_told(
    oracle_tui, make_run, monkeypatch
):
    monkeypatch.setattr("oracle_tui.cli.requests._WAIT_SECONDS", 0.3)
    monkeypatch.setattr("oracle_tui.cli.requests._LISTEN_SECONDS", 0.3)
    run = make_run(finished=10, status="running")
    write_lock(run / "lock", host="else\x1bwhere", pid=77)
    shown = oracle_tui("show", run.name, "--json").json
    assert (shown["status"], shown["engine"]) == ("running", "remote")
    assert r"process 77 on else\x1bwhere" in shown["hint"]
    assert "--takeover" in shown["hint"]
    listed = oracle_tui("runs", "--json").json[0]
    assert (listed["engine"], listed["hint"]) == (shown["engine"], shown["hint"])
    answer = oracle_tui("stop", run.name)
    assert (answer.code, pending_request(run)) == (2, "stop")
    assert "the request stays for it" in answer.err
    answer = oracle_tui("resume", run.name)
    assert (answer.code, "--takeover" in answer.err) == (0, True)
    assert (run / "lock").exists()


def test_a_dead_and_a_silent_engine_are_told_apart_with_the_way_out(oracle_tui, held_run):
    run, holder = held_run
    with contextlib.suppress(FileNotFoundError):
        (run / "live.json").unlink()
    (run / "live.json").write_text(
        json.dumps({"pid": holder.pid, "monotonic": time.monotonic() - 60, "status": "running"})
    )
    shown = oracle_tui("show", run.name, "--json").json
    assert (shown["status"], shown["engine"]) == ("stalled", "silent")
    assert f"kill -9 {holder.pid}" in shown["hint"]
    answer = oracle_tui("resume", run.name)
    assert (answer.code, f"kill -9 {holder.pid}" in answer.err) == (2, True)
    holder.kill()
    holder.wait()
    shown = oracle_tui("show", run.name, "--json").json
    assert (shown["status"], shown["engine"]) == ("stalled", "dead")
    assert f"oracle-tui resume {run.name}" in shown["hint"]
    listed = oracle_tui("runs")
    assert f"{run.name}: The engine, process" in listed.err
