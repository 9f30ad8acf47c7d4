"""Commands that make engines work: real processes, real digits, studies of a few candidates."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from engine.store.reader import RunReader

TINY = ("--preset", "quick", "--candidates", "3", "--epochs", "1", "--pretrain-epochs", "1")
# Long enough that a person, or a test, can interfere.
LONG = ("--preset", "quick", "--candidates", "8", "--epochs", "400", "--pretrain-epochs", "1")
PATIENCE = 180.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "oracle_tui", *arguments]


def run(*arguments: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=PATIENCE, **more
    )


def until(condition, what: str):
    """Waits until a condition holds and returns what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.05)
    return found


def status_of(folder: Path) -> str:
    return RunReader(folder).status


def retraining_began(folder: Path) -> bool:
    live = RunReader(folder).live()
    return live is not None and live["stage"] == "retraining" and bool(live["provisional"])


@pytest.fixture
def runs(own_folders: Path):
    """The folder of runs; engines still working there at the end are killed."""
    folder = own_folders / "runs"
    yield folder
    for lock in folder.glob("*/lock"):
        os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)


def the_run(folder: Path) -> Path:
    (found,) = until(lambda: list(folder.glob("*-lenet5-mini-*")), "a run")
    until(lambda: (found / "run.h5").exists(), "its file")
    return found


def test_run_prints_one_summary_object(runs):
    done = run("run", *TINY, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["status"], summary["n_done"], summary["n_total"]) == ("done", 3, 3)
    assert summary["n"] == 3
    assert [path.name for path in runs.iterdir() if path.is_dir()] == [summary["id"]]
    # Not every stage of so small a study lasts long enough to be seen.
    assert done.stderr.startswith("starting")
    assert done.stderr.endswith("Done: 3 of 3 retrainings.\n")
    assert "\r" not in done.stderr


@pytest.mark.slow
def test_a_set_runs_its_studies_one_after_another(runs):
    few = ("--candidates", "2", "--epochs", "1", "--pretrain-epochs", "1")
    done = run("run", "--preset", "quick/depths", *few, "--json")
    assert done.returncode == 0, done.stderr
    summaries = json.loads(done.stdout)
    assert [summary["model"] for summary in summaries] == [f"lenet5-mini-d{n}" for n in (6, 7, 8)]
    assert all((summary["status"], summary["n_done"]) == ("done", 2) for summary in summaries)
    assert {path.name for path in runs.iterdir() if path.is_dir()} == {
        summary["id"] for summary in summaries
    }


def test_an_engine_that_fails_gives_one_sentence_and_exit_code_1(runs, own_folders):
    damaged = own_folders / "cache" / "datasets" / "mnist"
    damaged.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (damaged / f"{name}-ubyte").write_bytes(b"not an idx file")
    failed = run("run", *TINY, "--dataset", "mnist")
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert str(damaged) in failed.stderr.splitlines()[-1]
    shown = json.loads(run("show", failed.stdout.strip(), "--json").stdout)
    assert shown["status"] == "failed"


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(runs):
    with subprocess.Popen(
        command("run", *LONG, "--repeats", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        folder = the_run(runs)
        until(lambda: retraining_began(folder), "retraining")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == folder.name + "\n"
    assert "Traceback" not in err
    assert f"oracle-tui resume {folder.name}" in err.splitlines()[-1]
    assert status_of(folder) == "stopped"
    assert not (folder / "lock").exists()

    resumed = run("resume", folder.name)
    assert resumed.returncode == 0, resumed.stderr
    until(lambda: retraining_began(folder) and status_of(folder) == "running", "going on")
    assert run("stop", folder.name).returncode == 0


@pytest.mark.slow
def test_detached_pause_resume_stop(runs):
    started = run("run", *LONG, "--detach")
    assert started.returncode == 0
    name = started.stdout.strip()
    folder = runs / name
    until(lambda: retraining_began(folder), "retraining")

    for action, status in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        asked = run(action, name)
        assert asked.returncode == 0, asked.stderr
        assert asked.stderr.count("\n") == 1
        until(lambda status=status: status_of(folder) == status, status)
        assert json.loads(run("runs", "--json").stdout)[0]["status"] == status


@pytest.mark.slow
def test_a_killed_engine_loses_nothing_that_was_shown(runs):
    """Killed with rows on disk and resumed, the study equals an uninterrupted one."""
    study = ("--preset", "quick", "--epochs", "3", "--pretrain-epochs", "2")
    whole = run("run", *study)
    assert whole.returncode == 0, whole.stderr
    (expected,) = [path for path in runs.iterdir() if path.is_dir()]

    started = run("run", *study, "--detach")
    folder = runs / started.stdout.strip()
    shown = until(
        lambda: json.loads(run("show", folder.name, "--json").stdout)["n_done"], "finished rows"
    )
    os.kill(json.loads((folder / "lock").read_text())["pid"], signal.SIGKILL)
    if shown < 45:
        assert json.loads(run("show", folder.name, "--json").stdout)["n_done"] >= shown
    resumed = run("resume", folder.name, "--follow")
    assert resumed.returncode == 0, resumed.stderr

    tables = [
        pd.read_csv(export(path)).drop(columns=["id", "seconds"]) for path in (expected, folder)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def export(folder: Path) -> Path:
    target = folder / "candidates.csv"
    assert run("export", folder.name, "-o", str(target)).returncode == 0
    return target


@pytest.mark.slow
def test_demo_without_a_terminal_prints_scatter_and_numbers(runs):
    done = run("demo", stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    folder = the_run(runs)
    first, *lines = done.stdout.splitlines()
    assert first == folder.name
    text = "\n".join(lines)
    assert "pruned train loss" in text
    assert "◆ oracle" in text
    assert "(45 points" in text
    assert re.search(r"tau accuracy [+-]\d\.\d{3} \(n 45, p ", text)
    assert "45 of 45 done" in text


def test_both_wirings_are_two_runs_of_the_same_study_that_know_each_other(runs):
    done = run("run", *TINY, "--wiring", "both", "--json")
    assert done.returncode == 0, done.stderr
    correct, released = json.loads(done.stdout)
    assert (correct["wiring"], released["wiring"]) == ("correct", "released")
    assert (correct["n_done"], released["n_done"]) == (3, 3)
    assert correct["base_test_acc"] == released["base_test_acc"]
    ours, theirs = (RunReader(runs / summary["id"]) for summary in (correct, released))
    pair = {"correct": correct["id"], "released": released["id"]}
    assert ours.config["wiring_pair"] == theirs.config["wiring_pair"] == pair
    assert [ours.pruned(c) for c in range(3)] == [theirs.pruned(c) for c in range(3)]
    assert ours.rows["seed"].tolist() == theirs.rows["seed"].tolist()
    shown = json.loads(run("show", released["id"], "--json").stdout)
    assert shown["paired_with"] == correct["id"]


def test_both_wirings_detached_come_one_after_the_other(runs):
    started = run("run", *TINY, "--wiring", "both", "--detach")
    assert started.returncode == 0, started.stderr
    first, second = (runs / name for name in started.stdout.split())
    until(lambda: status_of(first) == "done", "the first run")
    until(lambda: status_of(second) == "done", "the second run")
    assert started.stderr.count(second.name) == 1


def test_a_stop_of_the_first_wiring_leaves_the_second_queued(runs):
    started = run("run", *LONG, "--wiring", "both", "--detach")
    first, second = (runs / name for name in started.stdout.split())
    until(lambda: retraining_began(first), "the first run's retraining")
    assert run("stop", first.name).returncode == 0
    until(lambda: status_of(first) == "stopped", "the stop")
    until(lambda: not (first / "lock").exists(), "the engine's end")
    assert status_of(second) == "queued"
