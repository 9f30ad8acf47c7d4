"""`sweep`, `queue`, `merge` and `run --shard`: many runs, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from engine.control import create_run
from engine.entries import read_entries
from engine.presets import QUICK
from engine.store.layout import RowStatus
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from engine.tables import candidates_table

SWEEP = """
preset = "quick"
candidates = 3
epochs = 1
pretrain_epochs = 1
ratio = [0.2, 0.3, 0.4]
device = "cpu"
"""


@pytest.fixture
def swept(oracle_tui, tmp_path) -> list[str]:
    """The ids of three queued runs."""
    (tmp_path / "sweep.toml").write_text(SWEEP)
    answer = oracle_tui("sweep", str(tmp_path / "sweep.toml"))
    assert answer.code == 0, answer.err
    return answer.out.split()


def queued(oracle_tui) -> list[str]:
    return [run["id"] for run in oracle_tui("queue", "--json").json["runs"]]


def test_a_sweep_queues_its_runs_in_order(oracle_tui, swept):
    assert len(swept) == 3
    assert queued(oracle_tui) == swept
    answer = oracle_tui("queue", "--json").json
    assert answer["engine"] is None
    assert {run["status"] for run in answer["runs"]} == {"queued"}
    assert {run["n_total"] for run in answer["runs"]} == {3}


def test_a_dry_run_makes_nothing(oracle_tui, tmp_path, own_folders):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    answer = oracle_tui("sweep", str(tmp_path / "sweep.toml"), "--dry-run")
    assert (answer.code, len(answer.out.splitlines())) == (0, 3)
    assert not (own_folders / "runs").exists()


def test_a_dry_run_tells_studies_apart_by_recipe_and_granularity(oracle_tui, tmp_path):
    more = 'recipe = ["ema=.9", "optimizer=adamw"]\ngranularity = ["filters", "weights"]\n'
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("[0.2, 0.3, 0.4]", "0.2") + more)
    lines = oracle_tui("sweep", str(tmp_path / "sweep.toml"), "--dry-run").out.splitlines()
    assert len(set(lines)) == 4
    assert "recipe optimizer=adamw, granularity weights, scope layer: 3 of C(250,50)" in lines[3]


def test_the_order_can_be_changed_and_entries_removed(oracle_tui, swept):
    a, b, c = swept
    assert oracle_tui("queue", "move", c, "first").code == 0
    assert queued(oracle_tui) == [c, a, b]
    assert oracle_tui("queue", "move", c[:8], "2").code == 0
    assert queued(oracle_tui) == [a, c, b]
    assert oracle_tui("queue", "move", a, "last").code == 0
    assert queued(oracle_tui) == [c, b, a]
    assert oracle_tui("queue", "remove", b).code == 0
    assert queued(oracle_tui) == [c, a]
    assert oracle_tui("show", b, "--json").json["status"] == "queued"
    assert oracle_tui("queue", "add", b).code == 0
    assert queued(oracle_tui) == [c, a, b]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("move", "nothing", "1"), "No run in the queue begins with 'nothing'"),
        (("move", "", "1"), "No run in the queue"),
        (("remove", "nothing"), "No run in the queue"),
        (("add", "nothing"), "No run in"),
        (("stop",), "Nobody on this machine"),
    ],
)
def test_a_wrong_name_is_one_sentence(oracle_tui, swept, arguments, said):
    answer = oracle_tui("queue", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_damaged_queue_file_is_an_empty_queue(oracle_tui, swept, own_folders):
    (own_folders / "runs" / ".queue.json").write_text('{"runs": [1, "../x", ".hidden"], ')
    assert queued(oracle_tui) == []
    (own_folders / "runs" / ".queue.json").write_text('{"runs": [1, "../x", ".hidden"]}')
    assert queued(oracle_tui) == []


def work_through_the_queue(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", "--queue", str(folder), *more],
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_queue_is_worked_through_and_the_base_trained_once(oracle_tui, swept, own_folders):
    worked = work_through_the_queue(own_folders / "runs", "2")
    assert worked.returncode == 0, worked.stderr
    assert queued(oracle_tui) == []
    logs = []
    for name in swept:
        run = RunReader(own_folders / "runs" / name)
        assert (run.status, len(run.rows)) == ("done", 3)
        logs += run.log_tail(100)
    origins = sorted(line.split("base network ")[1].split(":")[0] for line in logs if "key" in line)
    assert origins == ["from the cache", "from the cache", "trained"]


@pytest.mark.slow
def test_a_stopped_queue_keeps_what_is_left_and_a_second_engine_is_refused(
    oracle_tui, tmp_path, own_folders
):
    (tmp_path / "sweep.toml").write_text(SWEEP.replace("epochs = 1\npre", "epochs = 900\npre"))
    names = oracle_tui("sweep", str(tmp_path / "sweep.toml")).out.split()
    folder = own_folders / "runs"
    worker = subprocess.Popen([sys.executable, "-m", "engine", "--queue", str(folder)])
    try:
        wait_for(lambda: RunReader(folder / names[0]).status == "running")
        again = work_through_the_queue(folder)
        assert again.returncode == 2
        assert str(worker.pid) in again.stderr
        assert oracle_tui("queue", "--json").json["engine"] == worker.pid
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0
    finally:
        worker.kill()
    assert RunReader(folder / names[0]).status == "stopped"
    assert queued(oracle_tui) == names


def wait_for(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# -- merging


def rows_of(run: Path) -> pd.DataFrame:
    return candidates_table(RunReader(run)).drop(columns="id")


def shard(make_run, folder: Path, source: Path, index: int, count: int) -> Path:
    """A run of a part of what `source` holds, as `run --shard` would leave it."""
    whole = RunReader(source)
    spec = read_entries({}, QUICK)
    part = create_run(folder, spec, "cpu", shard=(index, count))
    order = spec.space.work_order()[index::count]
    places = [i for i, row in enumerate(whole.rows) if row["candidate"] in order]
    rows, curves = whole.rows[places], whole.curves()[places]
    with RunWriter.open(part) as writer:
        writer.append(rows, curves, [whole.pruned(int(c)) for c in rows["candidate"]])
        writer.set_status("done")
        writer.publish(final=True)
    return part


def test_shards_merge_into_the_whole(oracle_tui, make_run, own_folders):
    whole = make_run()
    parts = [shard(make_run, own_folders / "runs", whole, i, 3) for i in range(3)]
    answer = oracle_tui("merge", *(part.name for part in parts))
    assert answer.code == 0, answer.err
    merged = own_folders / "runs" / answer.out.strip()
    pd.testing.assert_frame_equal(rows_of(whole), rows_of(merged))
    reader = RunReader(merged)
    assert (reader.status, reader.config["n_total"]) == ("done", 45)
    assert reader.config["merged_from"] == [part.name for part in parts]
    assert "shard" not in reader.config
    summary = oracle_tui("show", merged.name, "--json").json
    assert (
        summary["kendall_tau_acc"]
        == oracle_tui("show", whole.name, "--json").json["kendall_tau_acc"]
    )


def test_a_part_is_merged_as_a_run_to_be_resumed(oracle_tui, make_run, own_folders):
    whole = make_run()
    parts = [shard(make_run, own_folders / "runs", whole, i, 3) for i in range(2)]
    answer = oracle_tui("merge", *(part.name for part in parts))
    assert answer.code == 0
    assert "30 of 45" in answer.err
    assert RunReader(own_folders / "runs" / answer.out.strip()).status == "stopped"


def test_of_two_runs_the_further_row_is_kept(oracle_tui, make_run, own_folders):
    some, more = make_run(finished=20, status="stopped"), make_run(finished=45)
    for names in ((some.name, more.name), (more.name, some.name)):
        merged = own_folders / "runs" / oracle_tui("merge", *names).out.strip()
        pd.testing.assert_frame_equal(rows_of(more), rows_of(merged))


def test_runs_that_disagree_are_refused_in_one_sentence(oracle_tui, make_run, own_folders):
    one, other = make_run(), make_run()
    with RunWriter.open(other) as writer:
        rows = writer.rows[7:8]
        rows["best_test_acc"] = 0.123
        rows["status"] = RowStatus.DONE
        writer.append(rows)
        writer.publish()
    before = sorted(os.listdir(own_folders / "runs"))
    answer = oracle_tui("merge", one.name, other.name)
    assert answer.code == 2
    assert "disagree on best_test_acc of candidate 7, repeat 0" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert sorted(os.listdir(own_folders / "runs")) == before


def test_runs_of_other_specs_or_bases_are_refused(oracle_tui, make_run):
    one, other = make_run(), make_run({"seed": "1"})
    assert "different specs" in oracle_tui("merge", one.name, other.name).err
    bases = [make_run(), make_run()]
    for base, run in enumerate(bases):
        with RunWriter.open(run) as writer:
            writer.config = {**writer.config, "base_digest": str(base)}
            writer.publish()
    assert "different base networks" in oracle_tui("merge", *(run.name for run in bases)).err
    assert oracle_tui("merge", one.name).code == 2


def test_a_wrong_executor_or_shard_is_one_sentence(oracle_tui, own_folders):
    for arguments in (("--executor", "threads"), ("--shard", "4/4"), ("--shard", "99/100")):
        answer = oracle_tui("run", "--preset", "quick", "--detach", *arguments)
        assert answer.code == 2
        assert len(answer.err.splitlines()) == 1
    assert not list((own_folders / "runs").glob("*-lenet5*"))


def test_run_records_executor_and_shard(own_folders):
    command = [sys.executable, "-m", "oracle_tui", "run", "--preset", "quick", "--epochs", "1"]
    more = ["--pretrain-epochs", "1", "--candidates", "4", "--device", "cpu", "--json"]
    where = ["--executor", "processes:1", "--shard", "1/2"]
    done = subprocess.run(
        [*command, *more, *where], capture_output=True, text=True, timeout=180, check=True
    )
    summary = json.loads(done.stdout)
    assert (summary["status"], summary["n_done"], summary["n_total"]) == ("done", 2, 2)
    config = RunReader(own_folders / "runs" / summary["id"]).config
    assert (config["executor"], config["shard"]) == ("processes:1", [1, 2])
