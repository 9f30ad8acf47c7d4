"""`runs`, `show` and `export`, on runs that the store wrote."""

import csv
import io
import json
import os
import shutil

import h5py
import pandas as pd
import pytest
from scipy.stats import kendalltau

from engine.folders import shipped_folder
from engine.store.reader import RunReader
from engine.tables import TABLES, summary_table
from oracle_tui import actions

STATUSES = {"queued", "running", "paused", "stopped", "stalled", "failed", "done"}
CANDIDATE_COLUMNS = (
    "candidate",
    "repeat",
    "pruned",
    "pruned_train_loss",
    "best_test_acc",
    "best_test_loss",
    "best_epoch",
    "last_test_acc",
    "last_test_loss",
    "last5_test_acc",
    "last5_test_loss",
    "final_train_loss",
)
STATISTICS = (
    "n",
    "kendall_tau_acc",
    "kendall_p_acc",
    "kendall_tau_loss",
    "kendall_p_loss",
    "spearman_acc",
    "pearson_acc",
    "anomaly_ratio_acc",
    "anomaly_ratio_loss",
)


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_no_runs_yet(oracle_tui):
    assert oracle_tui("runs", "--json").json == []
    answer = oracle_tui("runs")
    assert (answer.code, answer.out) == (0, "")
    assert "oracle-tui demo" in answer.err


def test_runs_json_is_a_list_of_summary_objects(oracle_tui, make_run):
    run = make_run()
    other = make_run({"seed": "1"}, finished=10, status="stopped")
    found = {record["id"]: record for record in oracle_tui("runs", "--json").json}
    assert set(found) == {run.name, other.name}
    assert (found[run.name]["status"], found[other.name]["status"]) == ("done", "stopped")
    assert (found[other.name]["n_done"], found[other.name]["n_total"]) == (10, 45)
    for name, record in found.items():
        assert record["status"] in STATUSES
        assert set(summary_table(RunReader(run.parent / name)).columns) <= set(record)
        shown = oracle_tui("show", name, "--json").json
        assert {key: shown[key] for key in record} == record


def test_runs_lists_one_line_a_run(oracle_tui, make_run):
    make_run()
    make_run({"seed": "1"}, finished=0, status="failed")
    answer = oracle_tui("runs")
    assert answer.err == ""
    _, *lines = answer.out.splitlines()
    done, failed = sorted(lines, key=lambda line: "failed" in line)
    assert "45/45" in done
    assert "n=45" in done
    assert "0/45" in failed


def test_a_damaged_run_is_told_and_the_listing_goes_on(oracle_tui, make_run):
    run = make_run()
    broken = make_run({"seed": "1"})
    (broken / "run.h5").write_bytes(b"\x89HDF\r\n\x1a\n and nothing more")
    answer = oracle_tui("runs", "--json")
    assert answer.code == 0
    assert [record["id"] for record in answer.json] == [run.name]
    assert broken.name in answer.err
    assert answer.err.count("\n") == 1


def test_show_without_results_has_null_and_no_nan(oracle_tui, make_run):
    run = make_run(finished=0, status="stopped")
    shown = oracle_tui("show", run.name, "--json").json
    assert shown["n"] == 0
    assert shown["kendall_tau_acc"] is None
    assert shown["oracle_candidate"] is None
    text = oracle_tui("show", run.name)
    assert text.code == 0
    assert "0 of 45" in text.out
    assert "nan" not in text.out.lower()


def test_show_says_what_is_studied_and_what_came_out(oracle_tui, make_run):
    run = make_run()
    answer = oracle_tui("show", run.name[:4])
    assert (answer.code, answer.err) == (0, "")
    tau = kendalltau(range(45), [0.95 if i == 3 else 0.9 - i / 100 for i in range(45)]).statistic
    for expected in (
        run.name,
        "done, 45 of 45",
        "lenet5-mini on mnist-5k",
        f"{tau:+.3f} (n 45, p ",
        "candidate 0, pruned train loss 0.0000, test accuracy 0.9000",
        "candidate 3, pruned train loss 3.0000, test accuracy 0.9500",
        "2.2 %",
    ):
        assert expected in answer.out


def test_statistics_are_over_finished_candidates_with_all_their_repeats(oracle_tui, make_run):
    run = make_run({"repeats": "2"}, finished=21, status="stopped")
    shown = oracle_tui("show", run.name, "--json").json
    assert (shown["n"], shown["n_done"], shown["n_total"]) == (10, 21, 90)


def test_the_reported_tau_is_that_of_the_exported_csv(oracle_tui, make_run):
    run = make_run()
    table = pd.read_csv(io.StringIO(oracle_tui("export", run.name).out))
    shown = oracle_tui("show", run.name, "--json").json
    for outcome in ("acc", "loss"):
        found = kendalltau(table["pruned_train_loss"], table[f"best_test_{outcome}"])
        assert shown[f"kendall_tau_{outcome}"] == pytest.approx(found.statistic, abs=1e-9)
        assert shown[f"kendall_p_{outcome}"] == pytest.approx(found.pvalue, abs=1e-9)


def test_candidates_table(oracle_tui, make_run):
    run = make_run({"repeats": "2"}, finished=30, status="stopped")
    rows = read_csv(oracle_tui("export", run.name).out)
    assert len(rows) == 90
    assert set(CANDIDATE_COLUMNS) <= set(rows[0])
    assert {(row["candidate"], row["repeat"]) for row in rows} == {
        (str(candidate), str(repeat)) for candidate in range(45) for repeat in range(2)
    }
    assert json.loads(rows[0]["pruned"]) == {"conv1": [0, 1]}
    assert (rows[29]["best_epoch"], rows[30]["best_epoch"]) == ("6", "")
    assert rows[30]["best_test_acc"] == ""


def test_rows_equal_those_of_plain_h5py(oracle_tui, make_run):
    run = make_run()
    table = pd.read_csv(io.StringIO(oracle_tui("export", run.name).out))
    with h5py.File(run / "run.h5", "r") as file:
        stored = file["candidates"][:]
    for column in CANDIDATE_COLUMNS:
        if column != "pruned":
            assert table[column].to_numpy() == pytest.approx(stored[column], abs=0), column


def test_summary_table_is_one_row_a_run(oracle_tui, make_run):
    names = [make_run().name, make_run({"seed": "1"}, finished=5, status="stopped").name]
    rows = read_csv(oracle_tui("export", *names, "--table", "summary").out)
    assert [row["id"] for row in rows] == names
    assert set(STATISTICS) <= set(rows[0])
    assert [row["n"] for row in rows] == ["45", "5"]


def test_curves_table_has_a_row_for_each_epoch(oracle_tui, make_run):
    run = make_run(finished=4, status="stopped")
    rows = read_csv(oracle_tui("export", run.name, "--table", "curves").out)
    assert len(rows) == 4 * 6
    assert [row["epoch"] for row in rows[:6]] == ["1", "2", "3", "4", "5", "6"]
    assert float(rows[-1]["test_acc"]) == pytest.approx(0.95)


@pytest.mark.parametrize("table", TABLES)
def test_a_file_holds_the_bytes_of_stdout(oracle_tui, make_run, tmp_path, table):
    run = make_run()
    target = tmp_path / "out.csv"
    target.write_text("old")
    answer = oracle_tui("export", run.name, "--table", table, "-o", str(target))
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    assert target.read_text() == oracle_tui("export", run.name, "--table", table).out
    assert list(tmp_path.iterdir()) == [target]


def test_the_app_exports_the_same_bytes(oracle_tui, make_run, tmp_path):
    run = make_run()
    for path in actions.export(run, run.name, tmp_path):
        table = path.stem.rpartition("-")[2]
        assert path.read_text() == oracle_tui("export", run.name, "--table", table).out


def test_what_is_exported_can_be_shared_and_stays_as_private_as_it_was(
    oracle_tui, make_run, tmp_path
):
    run, umask = make_run(), os.umask(0o022)
    try:
        target, private = tmp_path / "out.csv", tmp_path / "private.csv"
        private.touch(0o600)
        for path in (target, private):
            assert oracle_tui("export", run.name, "-o", str(path)).code == 0
        (app, _) = actions.export(run, run.name, tmp_path)
    finally:
        os.umask(umask)
    assert [path.stat().st_mode & 0o777 for path in (target, app, private)] == [
        0o644, 0o644, 0o600,
    ]  # fmt: skip
    assert private.read_bytes() == target.read_bytes()


def test_several_runs_with_one_damaged_write_nothing(oracle_tui, make_run, tmp_path):
    run = make_run()
    target = tmp_path / "out.csv"
    assert oracle_tui("export", run.name, "no-such-run", "-o", str(target)).code == 2
    assert not target.exists()


def test_a_file_that_cannot_be_written(oracle_tui, make_run, tmp_path):
    run = make_run()
    answer = oracle_tui("export", run.name, "-o", str(tmp_path / "missing" / "out.csv"))
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert "out.csv cannot be written" in answer.err


def test_writing_to_a_device_leaves_the_device(oracle_tui, make_run):
    run = make_run()
    assert oracle_tui("export", run.name, "-o", "/dev/null").code == 0
    with open("/dev/null", "rb") as device:
        assert device.read() == b""


def test_a_run_is_named_by_id_prefix_or_path(oracle_tui, make_run, tmp_path):
    run = make_run()
    copied = shutil.copy(run / "run.h5", tmp_path / "copied.h5")
    for name in (run.name, run.name[:5], str(run), str(copied), str(run / "run.h5")):
        assert oracle_tui("show", name, "--json").json["n"] == 45


def test_a_prefix_of_two_runs_names_both(oracle_tui, make_run):
    run = make_run()
    again = make_run()
    assert again.name == run.name + "-2"
    answer = oracle_tui("show", run.name[:6])
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert run.name in answer.err
    assert again.name in answer.err
    assert oracle_tui("show", run.name, "--json").json["id"] == run.name


def test_runs_dir_may_stand_before_or_after_the_command(oracle_tui, make_run, tmp_path):
    run = make_run()
    moved = tmp_path / "elsewhere"
    shutil.move(run.parent, moved)
    assert oracle_tui("runs", "--json").json == []
    for arguments in (("--runs-dir", str(moved), "runs"), ("runs", "--runs-dir", str(moved))):
        assert [record["id"] for record in oracle_tui(*arguments, "--json").json] == [run.name]


def test_the_config_file_names_the_runs_folder(oracle_tui, make_run, own_folders, monkeypatch):
    run = make_run()
    monkeypatch.delenv("ORACLE_TUI_RUNS")
    assert oracle_tui("runs", "--json").json == []
    config = own_folders / "config" / "oracle-tui"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(f'runs_dir = "{run.parent}"\n')
    assert [record["id"] for record in oracle_tui("runs", "--json").json] == [run.name]


@pytest.mark.parametrize(
    "example", sorted((shipped_folder() / "runs").glob("*.h5")), ids=lambda path: path.stem
)
def test_the_shipped_examples_can_be_shown_and_exported(oracle_tui, example):
    shown = oracle_tui("show", example.stem, "--json").json
    assert shown["status"] == "done"
    assert shown["n_done"] == shown["n_total"] > 0
    table = pd.read_csv(io.StringIO(oracle_tui("export", example.stem).out))
    assert len(table) == shown["n_total"]
    assert oracle_tui("runs", "--json").json == []


def test_leaderboard_of_one_run_and_of_several(oracle_tui, make_run):
    run, other = make_run(), make_run({"seed": "1"})
    board = oracle_tui("leaderboard", run.name, "--json").json
    assert board["outcome"] == "best_test_acc"
    (scores,) = [one["scores"] for one in board["runs"]]
    shown = oracle_tui("show", run.name, "--json").json
    assert scores[0]["score"] == "pruned_train_loss"
    assert scores[0]["tau"] == pytest.approx(shown["kendall_tau_acc"], abs=1e-9)
    assert scores[0]["agreement"] == -scores[0]["tau"]
    assert scores[1]["agreement"] is None  # the other score is constant here
    both = oracle_tui("leaderboard", run.name, other.name, "--outcome", "last_test_loss", "--json")
    assert [one["id"] for one in both.json["runs"]] == [run.name, other.name]
    assert both.json["overall"][0]["runs"] == 2
    text = oracle_tui("leaderboard", run.name, other.name)
    assert (text.code, text.err) == (0, "")
    assert "over 2 runs" in text.out
    assert "nan" not in text.out.lower()
    table = read_csv(oracle_tui("export", run.name, "--table", "leaderboard").out)
    assert [row["score"] for row in table] == [one["score"] for one in scores]
    assert float(table[0]["tau"]) == scores[0]["tau"]


def test_show_gives_intervals_verdict_and_anomaly_range(oracle_tui, make_run):
    run = make_run({"repeats": "2"}, finished=90)
    shown = oracle_tui("show", run.name, "--json").json
    assert shown["tau_acc_lower"] < shown["kendall_tau_acc"] < shown["tau_acc_upper"]
    assert shown["tau_acc_bootstrap_lower"] <= shown["kendall_tau_acc"]
    assert shown["verdict"] == "valid"
    assert shown["anomaly_acc_lowest"] <= shown["anomaly_ratio_acc"] <= shown["anomaly_acc_highest"]
    # Repeats that agree in all leave no noise.
    assert shown["noise_ceiling"] == pytest.approx(1)
    text = oracle_tui("show", run.name).out
    for word in ("interval", "bootstrap", "verdict", "Oracle pruning holds here", "anomaly range"):
        assert word in text
