"""`compare`: ours beside the paper's, and one wiring beside the other."""

import csv
import statistics

import numpy as np
import pytest
from scipy.stats import kendalltau

CONV1 = "--model lenet5-mini --dataset mnist --layers conv1 --ratio .5".split()  # noqa: SIM905


@pytest.fixture
def import_study(oracle_tui, tmp_path):
    """Imports a made-up study of 252 candidates whose score and accuracy have about this tau."""

    def make(name, tau, *known):
        rng = np.random.default_rng(0)
        r = np.sin(np.pi * tau / 2)
        score = rng.normal(size=252)
        accuracy = 0.9 + 0.01 * (r * score + np.sqrt(1 - r * r) * rng.normal(size=252))
        table = tmp_path / f"{name}.csv"
        with table.open("w", newline="") as file:
            csv.writer(file).writerows(
                [("pruned_train_loss", "test_acc"), *zip(5 + score, accuracy, strict=True)]
            )
        done = oracle_tui("import", str(table), *known)
        assert done.code == 0, done.err
        return done.out.strip()

    return make


def test_a_study_as_published_does_not_differ(oracle_tui, import_study):
    name = import_study("alike", -0.5, *CONV1, "--wiring", "released")
    (found,) = oracle_tui("compare", name, "--json").json["runs"]
    assert (found["panel"], found["paper_n"]) == ("conv105_lr2", 252)
    assert (found["paper_tau_acc"], found["paper_anomaly_ratio_acc"]) == (-0.51, 0.0437)
    assert found["paper_tau_acc_lower"] < -0.51 < found["paper_tau_acc_upper"]
    assert found["tau_acc_lower"] < found["kendall_tau_acc"] < found["tau_acc_upper"]
    assert found["differs"] is False
    assert found["otherwise"] == "1 repeat, theirs 3"
    shown = oracle_tui("show", name, "--json").json
    assert found["kendall_tau_acc"] == shown["kendall_tau_acc"]
    assert found["n"] == shown["n"] == 252


def test_one_beyond_both_intervals_is_marked(oracle_tui, import_study):
    alike, other = import_study("a", -0.5, *CONV1), import_study("b", 0.4, *CONV1)
    found = oracle_tui("compare", alike, other, "--json").json["runs"]
    assert [record["differs"] for record in found] == [False, True]
    header, *lines = oracle_tui("compare", alike, other).out.splitlines()
    assert header.split()[-1] == "DIFFERS"
    assert lines[0].endswith("no")
    assert lines[1].endswith("yes")
    assert any(line.strip().startswith("Differs from the paper: ours +0.") for line in lines)


@pytest.mark.parametrize(
    "known",
    [(), CONV1[:6], (*CONV1[:2], "--dataset", "svhn", *CONV1[4:]), (*CONV1, "--ratio", ".3")],
)
def test_what_the_paper_did_not_study_has_no_panel(oracle_tui, import_study, known):
    name = import_study("a", -0.5, *known)
    (found,) = oracle_tui("compare", name, "--json").json["runs"]
    if known and known[-1] == ".3":
        assert found["panel"] == "conv103_lr2"
        return
    assert found["panel"] is found["differs"] is found["paper_tau_acc"] is None
    assert "no panel" in oracle_tui("compare", name).out


def test_our_own_run_says_how_else_it_differs(oracle_tui, make_run):
    run = make_run({"dataset": "mnist"})
    (found,) = oracle_tui("compare", run.name, "--json").json["runs"]
    assert found["panel"] == "conv102_lr2"
    assert found["otherwise"] == (
        "wiring correct, theirs released; 1 repeat, theirs 3; "
        "pretraining 15 ep, 0.01 -> 0.001@10, wd 0.0001, "
        "theirs 30 ep, 0.01 -> 0.001@20, wd 0.0001; "
        "retraining 6 ep, 0.001 -> 0.0001@4, wd 0.0001, theirs 30 ep, 0.001 -> 0.0001@20, wd 0.0001"
    )
    assert found["median_pruned_train_loss"] == statistics.median(range(45))
    assert (found["lowest_test_acc"], found["highest_test_acc"]) == pytest.approx((0.46, 0.95))


def test_the_shipped_digits_are_not_the_papers_mnist(oracle_tui, make_run):
    (found,) = oracle_tui("compare", make_run().name, "--json").json["runs"]
    assert found["panel"] is None


def test_runs_that_differ_in_the_wiring_alone_are_paired(oracle_tui, make_run):
    correct, released = make_run(), make_run({"wiring": "released"}, finished=40, status="stopped")
    other = make_run({"wiring": "released", "seed": "5"})
    answer = oracle_tui("compare", correct.name, released.name, other.name, "--json").json
    assert [record["id"] for record in answer["runs"]] == [correct.name, released.name, other.name]
    (pair,) = answer["wirings"]
    assert (pair["correct"], pair["released"]) == (correct.name, released.name)
    assert pair["n_shared"] == 40
    accuracy = [0.95 if i == 3 else 0.9 - i / 100 for i in range(45)]
    assert pair["tau_difference"] == pytest.approx(0)
    assert answer["runs"][1]["kendall_tau_acc"] == pytest.approx(
        kendalltau(range(40), accuracy[:40]).statistic
    )
    text = oracle_tui("compare", correct.name, released.name).out
    assert "one wiring beside the other" in text
    assert "MEDIAN PRUNED LOSS" in text
    assert "0.4600 to 0.9500" in text
    assert "40 shared candidates" in text


def test_a_short_retraining_is_told_beside_the_long_one(oracle_tui, make_run):
    # The paper's 10 % budget. Candidate 3 is the best of both; 40 have finished the long one.
    full = make_run({"epochs": "10"}, finished=40, status="stopped")
    short, other = make_run({"epochs": "1"}), make_run({"epochs": "1", "seed": "3"})
    answer = oracle_tui("compare", full.name, short.name, other.name, "--json").json
    (pair,) = answer["budgets"]
    assert (pair["short"], pair["full"]) == (short.name, full.name)
    assert (pair["short_epochs"], pair["full_epochs"], pair["n_shared"]) == (1, 10, 40)
    assert pair["kendall_tau_acc"] == pytest.approx(1.0)
    assert pair["tau_acc_lower"] < pair["tau_acc_upper"] == 1
    assert "5 candidates are on one schedule only" in pair["note"]
    text = oracle_tui("compare", short.name, full.name).out
    assert "tau of test accuracy after 1 and after 10 epochs +1.000" in text
    assert oracle_tui("compare", short.name, other.name, "--json").json["budgets"] == []


def test_a_run_without_results_is_compared_too(oracle_tui, make_run):
    run = make_run({"dataset": "mnist"}, finished=0, status="stopped")
    (found,) = oracle_tui("compare", run.name, "--json").json["runs"]
    assert (found["n"], found["kendall_tau_acc"], found["differs"]) == (0, None, None)
    assert "nan" not in oracle_tui("compare", run.name).out.lower()


def test_a_run_named_twice_is_compared_once(oracle_tui, make_run):
    run = make_run()
    assert len(oracle_tui("compare", run.name, run.name[:5], "--json").json["runs"]) == 1


def test_the_table_of_several_runs_as_csv(oracle_tui, make_run):
    names = [make_run({"dataset": "mnist"}).name, make_run({"seed": "1"}).name]
    rows = list(csv.DictReader(oracle_tui("export", *names, "--table", "compare").out.splitlines()))
    assert [row["id"] for row in rows] == names
    assert [row["panel"] for row in rows] == ["conv102_lr2", ""]
    assert float(rows[0]["paper_tau_acc"]) == -0.60


def test_no_such_run(oracle_tui, make_run):
    answer = oracle_tui("compare", make_run().name, "nothing")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
