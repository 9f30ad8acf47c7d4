"""`import`: other people's tables and logs become runs that everything else works on."""

import csv
import os
from collections import defaultdict
from pathlib import Path

import pytest
from scipy.stats import kendalltau

from engine.imports import lines as import_lines
from engine.statistics import read_published
from engine.store.reader import RunReader
from oracle_tui.listing import RunLister
from oracle_tui.reading import RunFollower

ROOT = Path(__file__).resolve().parents[2]
POINTS = Path(
    os.environ.get("ORACLE_TUI_PUBLISHED_POINTS") or ROOT.parent / "shared" / "published_points.csv"
)
PANELS = read_published(ROOT / "data" / "published.csv")
# The figures that the points were read from round accuracies; see test_published_points.
ROUNDING_CANDIDATES = 8

TABLE = """\
net,try,before,after,cost
a,1,0.1,0.95,0.20
a,2,0.1,0.93,0.22
b,1,0.4,0.90,0.30
b,2,0.4,0.92,0.28
c,1,0.9,0.94,0.21
c,2,0.9,0.96,0.19
"""
COLUMNS = ["--score-column", "before", "--acc-column", "after", "--loss-column", "cost"]
NAMED = [*COLUMNS, "--candidate-column", "net", "--repeat-column", "try"]

LOG = """\
[1/3] pruned_index_pair {((0, 1), (4,))}
[1/3] pruned_train_loss 0.500000
[1/3] final_train_loss 0.010000 final_test_loss 0.030000 final_test_acc 98.760000
[1/3] last5_train_loss 0.010000 last5_test_loss 0.040000 last5_test_acc 98.500000 (mean)
[1/3] last5_train_loss 0.001000 last5_test_loss 0.002000 last5_test_acc 0.030000 (std)
[2/3] pruned_index_pair {((0, 2), (3,))}
[2/3] pruned_train_loss 0.250000
[2/3] final_train_loss 0.020000 final_test_loss 0.050000 final_test_acc 97.500000
[3/3] pruned_index_pair {((1, 2), (3,))}
[3/3] pruned_train_loss 1.250000
[3/3] final_train_loss 0.020000 final_test_loss 0.060000 final_test_acc 96.500000
"""


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def assert_refused(answer, says):
    assert (answer.code, answer.out) == (2, ""), answer
    assert answer.err.count("\n") == 1
    assert says in answer.err
    assert "Traceback" not in answer.err


def only_run(own_folders):
    (run,) = (path for path in (own_folders / "runs").iterdir() if path.is_dir())
    return run


def test_a_table_with_named_columns(oracle_tui, write, own_folders):
    answer = oracle_tui("import", write("other study.csv", TABLE), *NAMED)
    assert (answer.code, answer.out) == (0, "imported-other-study\n")
    assert "6 retrainings of 3 candidates, accuracies read as fractions" in answer.err
    shown = oracle_tui("show", "imported", "--json").json
    means = [(0.1, 0.94, 0.21), (0.4, 0.91, 0.29), (0.9, 0.95, 0.20)]
    score, accuracy, loss = zip(*means, strict=True)
    assert (shown["status"], shown["n_done"], shown["n_total"], shown["n"]) == ("done", 6, 6, 3)
    assert (shown["candidates"], shown["repeats"]) == (3, 2)
    assert shown["kendall_tau_acc"] == pytest.approx(kendalltau(score, accuracy).statistic)
    assert shown["kendall_tau_loss"] == pytest.approx(kendalltau(score, loss).statistic)
    assert shown["oracle_test_acc"] == pytest.approx(0.94)
    assert shown["origin"] == "CSV: other study.csv"
    assert shown["model"] is shown["seed"] is shown["spec_hash"] is None
    assert only_run(own_folders).stat().st_mode & 0o777 == 0o700


def test_the_importer_says_what_was_studied(oracle_tui, write):
    known = "--model m --dataset d --layers conv1,conv2 --ratio .5 --epochs 30 --wiring released"
    answer = oracle_tui("import", write("a.csv", TABLE), *NAMED, *known.split(), "--json")
    assert answer.json["id"] == "imported-a"
    told = {name: answer.json[name] for name in ("model", "dataset", "layers", "ratio", "wiring")}
    assert list(told.values()) == ["m", "d", "conv1+conv2", "0.5", "released"]
    text = oracle_tui("show", "imported-a").out
    assert "m on d" in text
    assert "conv1+conv2 at 0.5, wiring released" in text
    assert "CSV: a.csv" in text
    assert "None" not in text


def test_everything_else_works_on_it(oracle_tui, write, own_folders):
    oracle_tui("import", write("a.csv", TABLE), *NAMED)
    assert "imported-a" in oracle_tui("runs").out
    candidates = list(csv.DictReader(oracle_tui("export", "imported-a").out.splitlines()))
    accuracies = [float(row["best_test_acc"]) for row in candidates]
    assert accuracies == [0.95, 0.93, 0.90, 0.92, 0.94, 0.96]
    assert {row["pruned"] for row in candidates} == {""}
    (summary,) = csv.DictReader(
        oracle_tui("export", "imported-a", "--table", "summary").out.splitlines()
    )
    assert summary["n"] == "3"
    assert oracle_tui("export", "imported-a", "--table", "curves").code == 0
    (row,) = RunLister(own_folders / "runs").read(examples=False)
    assert (row.status, row.n_done, row.n) == ("done", 6, 3)
    view = RunFollower(only_run(own_folders)).read()
    assert (view.title, view.repeats, view.numbers.n) == ("CSV: a.csv", 2, 3)
    assert ("origin", "CSV: a.csv") in view.spec
    refused = oracle_tui("resume", "imported-a")
    assert (refused.code, "is done" in refused.err) == (2, True)


def test_our_own_export_comes_back(oracle_tui, make_run, write):
    run = make_run({"repeats": "2"}, finished=30, status="stopped")
    table = write("ours.csv", oracle_tui("export", run.name).out)
    assert oracle_tui("import", table).code == 0
    ours, again = (oracle_tui("show", name, "--json").json for name in (run.name, "imported-ours"))
    for name in ("n", "n_done", "n_total", "kendall_tau_acc", "kendall_tau_loss", "best_test_acc",
                 "oracle_candidate", "anomaly_ratio_acc"):  # fmt: skip
        assert ours[name] == again[name], name
    rows = [list(csv.DictReader(oracle_tui("export", name).out.splitlines()))
            for name in (run.name, "imported-ours")]  # fmt: skip
    for name in ("candidate", "repeat", "status", "last5_test_acc", "final_train_loss"):
        assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]], name
    assert rows[1][0]["pruned"] == '{""layer1"": [0, 1]}'.replace('""', '"')


def test_a_diverged_retraining_stays_one(oracle_tui, write, own_folders):
    text = "pruned_train_loss,test_acc,status\n0.1,,diverged\n0.2,0.9,done\n0.3,,scored\n"
    assert oracle_tui("import", write("a.csv", text)).code == 0
    assert RunReader(only_run(own_folders)).rows["status"].tolist() == [3, 2, 1]


def test_without_candidates_every_row_is_one(oracle_tui, write):
    text = "before;after\n0.5;97\n0.4;98\n0.3;99\n"
    answer = oracle_tui("import", write("a.csv", text), *COLUMNS[:4], "--json")
    assert (answer.json["n"], answer.json["repeats"]) == (3, 1)
    assert answer.json["best_test_acc"] == pytest.approx(0.99)
    assert "percentages" in answer.err


def test_several_files_are_repeats_of_the_same_candidates(oracle_tui, write):
    tables = [write(f"{n}.csv", f"candidate,before,after\n7,0.5,0.9{n}\n9,0.4,0.8{n}\n")
              for n in (1, 2, 3)]  # fmt: skip
    answer = oracle_tui("import", *tables, *COLUMNS[:4], "--name", "mine", "--json")
    assert answer.json["id"] == "mine"
    assert (answer.json["candidates"], answer.json["repeats"]) == (2, 3)
    exported = list(csv.DictReader(oracle_tui("export", "mine").out.splitlines()))
    assert {row["candidate"] for row in exported} == {"7", "9"}


def test_by_a_column_gives_a_run_for_each_value(oracle_tui, write):
    text = "of,before,after\n" + "".join(
        f"{of},{score},{1 - score}\n" for of in ("x", "y/../z") for score in (0.1, 0.2, 0.3)
    )
    answer = oracle_tui("import", write("a.csv", text), *COLUMNS[:4], "--by", "of")
    assert answer.out.split() == ["imported-x", "imported-y-..-z"]
    assert oracle_tui("show", "imported-x", "--json").json["kendall_tau_acc"] == -1


@pytest.mark.parametrize(
    "prefix", ["", "[1201 2024-07-20 12:01:33] ", "2024-07-20 12:01:33,211 - INFO - "]
)
def test_a_log_of_the_released_code(oracle_tui, write, own_folders, prefix):
    noise = "Epoch 3 Step 10 [4/235] lr 0.001\n==> Pruned model: LeNet5_Mini(\n"
    text = noise + "".join(f"{prefix}{line}\n{noise}" for line in LOG.splitlines())
    answer = oracle_tui("import", write("record.txt", text), "--layers", "conv1,conv2")
    assert answer.code == 0, answer.err
    assert "3 retrainings of 3 candidates, accuracies read as percentages" in answer.err
    reader = RunReader(only_run(own_folders))
    assert reader.rows["pruned_train_loss"].tolist() == [0.5, 0.25, 1.25]
    assert reader.rows["best_test_acc"].tolist() == pytest.approx([0.9876, 0.975, 0.965])
    assert reader.rows["best_test_loss"].tolist() == [0.03, 0.05, 0.06]
    assert reader.rows["final_train_loss"].tolist() == [0.01, 0.02, 0.02]
    assert reader.rows["last5_test_acc"][0] == pytest.approx(0.985)
    assert reader.pruned(0) == [[0, 1], [4]]
    assert reader.config["layers"] == ["conv1", "conv2"]
    shown = oracle_tui("show", reader.config["run_id"], "--json").json
    assert shown["kendall_tau_acc"] == pytest.approx(-1 / 3)
    assert shown["oracle_candidate"] == 1


def test_repeats_in_logs_are_matched_by_filters_and_not_by_place(oracle_tui, write, own_folders):
    lines = LOG.splitlines(keepends=True)
    other = "".join(lines[5:8] + lines[8:] + lines[:3])
    for number, place in ((2, 1), (3, 2), (1, 3)):
        other = other.replace(f"[{number}/3]", f"[#{place}/3]")
    other = other.replace("[#", "[").replace("98.76", "98.00")
    answer = oracle_tui("import", write("t1.txt", LOG), write("t2.txt", other), "--json")
    assert (answer.json["candidates"], answer.json["repeats"], answer.json["n"]) == (3, 2, 3)
    rows = RunReader(only_run(own_folders)).rows
    first = rows[rows["candidate"] == 0]
    assert first["best_test_acc"].tolist() == pytest.approx([0.9876, 0.98])
    assert first["pruned_train_loss"].tolist() == [0.5, 0.5]


def test_repeats_in_one_merged_log(oracle_tui, write):
    answer = oracle_tui("import", write("t.txt", LOG * 3), "--json")
    assert (answer.json["candidates"], answer.json["repeats"], answer.json["n_done"]) == (3, 3, 9)


def test_a_log_that_stops_in_the_middle(oracle_tui, write):
    cut = LOG[: LOG.index("[3/3] final")]
    answer = oracle_tui("import", write("t.txt", cut), "--json")
    assert (answer.json["n_done"], answer.json["n_total"], answer.json["n"]) == (2, 3, 2)
    assert "1 without an outcome" in answer.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("before,after\n", "no rows"),
        ("x,y\n1,2\n", "no column 'before'; it has x, y: name one with --score-column"),
        ("before,before,after\n1,2,3\n", "two columns named 'before'"),
        ("before,after\n1,2,3\n", "There are 3 cells in line 2 of bad.csv under 2"),
        ("before,after\nlow,0.9\n", "The score in line 2 of bad.csv should be a number, not 'low'"),
        ("before,after\n0.1,1e999\n", "no percentage"),
        ("before,after\n0.1,-0.5\n", "no fraction from 0 to 1"),
        ("before,after\n0.1,250\n", "no percentage from 0 to 100"),
        ('before,after\n0.1,"0.9\n', "cannot be read as CSV"),
        ("candidate,repeat,before,after\n1,x,0.1,0.9\n", "The repeat in line 2"),
        ("candidate,repeat,before,after\n1,70000,0.1,0.9\n", "from 0 to 65535"),
        ("repeat,before,after\n0,0.1,0.9\n", "--candidate-column"),
        ("candidate,repeat,before,after\n1,0,.1,.9\n1,0,.1,.9\n", "again in line 3"),
        ("before,after,pruned\n.1,.9,[0\n", "pruned filters in line 2"),
        ("before,after,pruned\n.1,.9,5\n", "pruned filters in line 2"),
        ('before,after,pruned\n.1,.9,"[[70000]]"\n', "do not fit a run"),
        ("before,after\n\x1b[31m,0.9\n", "not '\\\\x1b[31m'"),
        (b"before,after\n\xff\xfe,0.9\n", "is not UTF-8 text"),
        (b"\x00" * 3_000_000, "longer than 1024 KiB"),
        (",".join(map(str, range(2_000))) + "\n", "2,000 columns"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_broken_table(oracle_tui, write, own_folders, text, says):
    answer = oracle_tui("import", write("bad.csv", text), *COLUMNS[:4], "--format", "csv")
    assert_refused(answer, says)
    assert not list((own_folders / "runs").glob("*"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing of it\n", "has no lines such as"),
        ("[1/3] pruned_train_loss 0.5\n", "no pruned_index_pair before it"),
        ("[1/3] pruned_index_pair {__import__('os')}\n", "should be such as"),
        ("[1/3] pruned_index_pair (0, 1)\n", "should be such as"),
        ("[1/3] pruned_index_pair {" + "(" * 100_000 + "}\n", "should be such as"),
        ("[1/3] pruned_index_pair {((0, 123456),)}\n", "beyond 65535"),
        (LOG.replace("0.250000", "low"), "pruned_train_loss in line 7 of bad.log"),
        (LOG.replace("0.250000", ""), "without"),
        (LOG.replace("final_test_acc 97", "acc 97"), "line 8 of bad.log should say"),
        (LOG.replace("((0, 2), (3,))", "((0, 2),)"), "logs of different studies"),
        (LOG.replace("/3]", "/999999999]"), "at most 1,000,000"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_broken_log(oracle_tui, write, own_folders, text, says):
    answer = oracle_tui("import", write("bad.log", text), "--format", "log")
    if says == "without":  # an empty number is one that is not known
        assert answer.code == 0
        return
    assert_refused(answer, says)
    assert not list((own_folders / "runs").glob("*"))


def test_other_refusals(oracle_tui, write, tmp_path, own_folders, monkeypatch):
    table = write("a.csv", TABLE)
    for arguments, says in (
        ((str(tmp_path / "none.csv"),), "does not exist"),
        ((str(tmp_path),), "not a regular file"),
        (("/dev/zero",), "not a regular file"),
        ((write("log", LOG), "--score-column", "x"), "no columns to name"),
        ((write("log", LOG), "--layers", "conv1"), "from 2 layers, but --layers names 1"),
        ((table, *NAMED, "--ratio", "half"), "must be a number"),
        ((table, *NAMED, "--ratio", "7"), "between 0 and 1"),
        ((table, *NAMED, "--wiring", "crossed"), "correct or released"),
        ((table, *NAMED, "--epochs", "-1"), "epochs"),
        ((table, *NAMED, "--by", "of"), "no column 'of'"),
        ((table, *NAMED, "--accuracy", "percent", "--model", "m" * 500), "200"),
    ):
        assert_refused(oracle_tui("import", *arguments), says)
    assert not list((own_folders / "runs").glob("*"))
    monkeypatch.setattr(import_lines, "MAX_FILE_BYTES", 10)
    assert_refused(oracle_tui("import", table, *NAMED), "is larger than")


def test_all_runs_of_a_table_are_made_or_none(oracle_tui, write, own_folders):
    text = "of,before,after\nx,0.1,0.9\ny,0.1,7\ny,0.1,-7\n"
    refused = oracle_tui("import", write("a.csv", text), *COLUMNS[:4], "--by", "of")
    assert refused.code == 2
    assert not list((own_folders / "runs").glob("*"))


@pytest.mark.skipif(
    not POINTS.is_file(),
    reason=f"the published points are not shipped; {POINTS} is missing "
    "(name the file in ORACLE_TUI_PUBLISHED_POINTS)",
)
def test_all_published_panels_come_in_by_the_command_line(oracle_tui, tmp_path):
    points = defaultdict(list)
    with POINTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            points[row["panel"]].append((row["pruned_train_loss"], row["final_test_acc"]))
    assert set(points) == {panel.panel for panel in PANELS}
    for panel in PANELS:
        table = tmp_path / f"{panel.panel}.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("loss before", "accuracy after"), *points[panel.panel]])
        columns = ("--score-column", "loss before", "--acc-column", "accuracy after")
        imported = oracle_tui("import", str(table), *columns)
        assert imported.code == 0, imported.err
        shown = oracle_tui("show", imported.out.strip(), "--json").json
        assert shown["n"] == panel.candidates
        assert f"{shown['kendall_tau_acc']:.2f}" == f"{panel.kendall_tau:.2f}"
        assert shown["kendall_p_acc"] == pytest.approx(panel.p_value, rel=0.04, abs=0.000005)
        missed = abs(shown["anomaly_ratio_acc"] - panel.anomaly_ratio) * panel.candidates
        assert missed < ROUNDING_CANDIDATES + 0.5
