"""Whole studies by real engine processes: what they give, and what a kill or a pause changes."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from engine.entries import read_entries
from engine.findings import findings_of, search_findings
from engine.own_scores import read_criterion
from engine.store.reader import RunReader
from engine.store.requests import send_request
from engine.summary import summarise_run
from engine.tables import export_csv
from tests.engine.conftest import SMALL, finished, start, wait_for, work_through

MakeRun = Callable[..., Path]

# Long enough to be interrupted somewhere in the middle, on any of these machines.
LONGER = {"candidates": "24", "epochs": "3", "repeats": "2"}


def table(run: Path, name: str = "candidates") -> pd.DataFrame:
    """A table of a run as its CSV says it, without what differs between two equal runs."""
    from io import BytesIO

    frame = pd.read_csv(BytesIO(export_csv([RunReader(run)], name)))
    return frame.drop(columns=["id", "seconds"], errors="ignore")


def summary(run: Path) -> dict[str, object]:
    """The summary that a reader makes of a run."""
    reader = RunReader(run)
    return summarise_run(reader.config, reader.status, reader.rows)


def test_a_finished_study_holds_every_row_and_the_right_tau(make_run: MakeRun) -> None:
    run = make_run(candidates="all", repeats="1", epochs="2")
    work_through(run)
    rows = table(run)
    assert len(rows) == 45
    assert list(rows.columns[:4]) == ["candidate", "repeat", "status", "pruned"]
    assert (rows["status"] == "done").all()
    found = kendalltau(rows["pruned_train_loss"], rows["best_test_acc"])
    told = summary(run)
    assert told["kendall_tau_acc"] == pytest.approx(found.statistic, abs=1e-9)
    assert told["kendall_p_acc"] == pytest.approx(found.pvalue, abs=1e-9)
    assert (told["n"], told["n_done"], told["n_total"]) == (45, 45, 45)
    with h5py.File(run / "run.h5", "r") as file:
        stored = file["candidates"][:]
    np.testing.assert_array_equal(stored["candidate"], rows["candidate"])
    np.testing.assert_array_equal(stored["pruned_train_loss"], rows["pruned_train_loss"])
    np.testing.assert_array_equal(stored["best_test_acc"], rows["best_test_acc"])
    curves = table(run, "curves")
    assert len(curves) == 45 * 2
    by_candidate = curves.groupby("candidate")["test_acc"]
    np.testing.assert_allclose(by_candidate.max(), rows["best_test_acc"], atol=1e-7)


def test_repeats_are_averaged_before_correlating(make_run: MakeRun) -> None:
    run = make_run(candidates="10")
    work_through(run)
    means = table(run).groupby("candidate")[["pruned_train_loss", "best_test_acc"]].mean()
    # Equal fractions must tie whatever the order of the sum was.
    tau = kendalltau(means["pruned_train_loss"], means["best_test_acc"].round(12)).statistic
    assert summary(run)["kendall_tau_acc"] == pytest.approx(tau, abs=1e-9)
    assert summary(run)["n"] == 10


def test_the_same_spec_gives_the_same_numbers_again(make_run: MakeRun) -> None:
    first, second = make_run(), make_run()
    assert second.name == f"{first.name}-2"
    work_through(first)
    work_through(second)
    pd.testing.assert_frame_equal(table(first), table(second), check_exact=True)


def test_a_kill_loses_no_row_and_changes_no_number(make_run: MakeRun) -> None:
    """Killed at random moments until it is done; the CSV is that of an undisturbed run."""
    undisturbed, killed = make_run(LONGER), make_run(LONGER)
    work_through(undisturbed)
    moments = random.Random(0)
    seen: set[tuple[int, int]] = set()
    kills = 0
    while RunReader(killed).status != "done":
        engine = start(killed)
        if kills < 4:
            # At least one more pack each time, so that the run gets on.
            before = len(finished(killed))
            wait_for(
                lambda before=before, engine=engine: (
                    len(finished(killed)) > before or engine.poll() is not None
                ),
                "the next finished candidate",
            )
            time.sleep(moments.random() * 0.3)
            if engine.poll() is None:
                os.killpg(engine.pid, signal.SIGKILL)
                kills += 1
        engine.wait(240)
        now = finished(killed)
        assert seen <= now
        seen = now
    assert kills >= 2
    pd.testing.assert_frame_equal(table(undisturbed), table(killed), check_exact=True)
    pd.testing.assert_frame_equal(
        table(undisturbed, "curves"), table(killed, "curves"), check_exact=True
    )


def test_pause_resume_and_stop_are_obeyed(make_run: MakeRun) -> None:
    run = make_run(LONGER)
    engine = start(run)
    reader = RunReader(run)

    def status() -> str:
        reader.refresh()
        return reader.status

    wait_for(lambda: len(finished(run)) > 0, "the first finished candidate", engine)
    send_request(run, "pause")
    wait_for(lambda: status() == "paused", "the pause", engine)
    held = finished(run)
    time.sleep(1.0)
    assert finished(run) == held
    send_request(run, "resume")
    wait_for(lambda: len(finished(run)) > len(held), "going on", engine)
    send_request(run, "stop")
    engine.wait(60)
    assert status() == "stopped"
    assert engine.returncode == 0
    assert held < finished(run)
    assert not (run / "request.json").exists()
    work_through(run)
    assert status() == "done"
    assert len(finished(run)) == 48


def test_sigterm_stops_with_everything_kept(make_run: MakeRun) -> None:
    run = make_run(LONGER)
    engine = start(run)
    wait_for(lambda: len(finished(run)) > 0, "the first finished candidate", engine)
    engine.terminate()
    assert engine.wait(60) == 0
    assert RunReader(run).status == "stopped"


def test_a_second_engine_is_refused_and_named(make_run: MakeRun) -> None:
    run = make_run(LONGER)
    engine = start(run)
    wait_for(lambda: (run / "lock").exists(), "the lock", engine)
    wait_for(lambda: RunReader(run).status == "running", "the start", engine)
    second = subprocess.run(
        [sys.executable, "-m", "engine", str(run)], capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 2
    assert str(engine.pid) in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    engine.terminate()
    engine.wait(60)


def test_released_wiring_changes_every_candidate_but_the_l1_choice(make_run: MakeRun) -> None:
    entries = {"candidates": "all", "repeats": "1", "epochs": "1"}
    correct = make_run(entries, wiring="correct")
    released = make_run(entries, wiring="released")
    work_through(correct)
    work_through(released)
    ours, theirs = table(correct), table(released)
    chosen = RunReader(correct).config["l1_pruned"]
    is_l1 = ours["pruned"].map(lambda text: [sorted(eval_pruned(text))] == [sorted(chosen[0])])
    assert is_l1.sum() == 1
    same = np.isclose(ours["pruned_train_loss"], theirs["pruned_train_loss"], rtol=1e-5)
    assert same.tolist() == is_l1.tolist()
    # The two wirings sum the same terms in another order: equal up to float32 rounding.
    l1 = is_l1.to_numpy()
    pd.testing.assert_frame_equal(ours[l1], theirs[l1], rtol=1e-5)


def eval_pruned(text: str) -> list[int]:
    """The filters of conv1 in a `pruned` cell."""
    import json

    return list(json.loads(text)["conv1"])


def test_a_study_that_cannot_run_says_why_in_one_sentence(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    run = make_run(dataset="mnist")
    engine = start(run)
    assert engine.wait(120) == 1
    reader = RunReader(run)
    assert reader.status == "failed"
    assert "MNIST" in reader.message
    assert "\n" not in reader.message


def test_hash_and_name_follow_from_the_spec() -> None:
    spec = read_entries(SMALL)
    assert spec.hash == read_entries(SMALL).hash
    assert spec.hash != read_entries({**SMALL, "seed": "1"}).hash


def test_a_study_with_scores_of_all_kinds_keeps_them_and_their_cost(
    make_run: MakeRun, tmp_path: Path
) -> None:
    file = tmp_path / "first_filter.py"
    file.write_text("def score(subject, candidates):\n    return [c[0][0] for c in candidates]\n")
    own = read_criterion(file)
    plain = make_run(repeats="1", epochs="1")
    run = make_run({"scores": f"l1,taylor,{own.score}"}, criteria=[own], repeats="1", epochs="1")
    work_through(plain)
    work_through(run)
    rows, base = table(run), table(plain)
    first = rows["pruned"].map(lambda text: eval_pruned(text)[0])
    assert (rows["first_filter"] == first).all()
    assert rows[["l1", "taylor"]].notna().all(axis=None)
    # Measuring more changes nothing else.
    pd.testing.assert_frame_equal(rows[base.columns], base, check_exact=True)
    config = RunReader(run).config
    assert set(config["score_seconds"]) == set(config["score_names"])
    assert config["score_seconds"]["pruned_train_loss"] > 0


def test_a_broken_criterion_fails_the_run_with_one_sentence(
    make_run: MakeRun, tmp_path: Path
) -> None:
    file = tmp_path / "broken.py"
    file.write_text("def score(subject, candidates):\n    return candidates[99]\n")
    own = read_criterion(file)
    run = make_run({"scores": own.score}, criteria=[own], repeats="1", epochs="1")
    assert start(run).wait(120) == 1
    reader = RunReader(run)
    assert reader.status == "failed"
    assert reader.message == f"{file}, line 2: IndexError: list index out of range."


def test_searches_add_their_picks_as_candidates_after_the_sample(make_run: MakeRun) -> None:
    entries = {"ratio": "0.5", "candidates": "12", "repeats": "2", "epochs": "1"}
    run, plain = make_run({**entries, "search": "greedy,swap"}), make_run(entries)
    work_through(run)
    work_through(plain)
    rows, config = table(run), RunReader(run).config
    assert sorted(set(rows["candidate"])) == list(range(14))
    assert rows["found_by"].tolist() == ["sample"] * 24 + ["greedy"] * 2 + ["swap"] * 2
    assert rows["pruned"].nunique() == 14
    # The sample is that of the study without a search, and so are the statistics over it.
    sample = rows[rows["found_by"] == "sample"]
    pd.testing.assert_frame_equal(sample[table(plain).columns], table(plain), check_exact=True)
    for key in ("kendall_tau_acc", "n", "oracle_candidate", "anomaly_ratio_acc"):
        assert summary(run)[key] == summary(plain)[key]
    assert summary(run)["n_total"] == summary(run)["n_done"] == 28
    best = sample["pruned_train_loss"].min()
    for method, found in zip(("greedy", "swap"), config["search"], strict=True):
        own = rows[rows["found_by"] == method]
        assert (own["pruned_train_loss"] == found["pruned_train_loss"]).all()
        assert found["best_of_sample_loss"] == pytest.approx(best, abs=1e-12)
        assert found["lower_by"] == pytest.approx(best - found["lowest_loss"], abs=1e-12)
        assert found["evaluated"] > 0
    assert config["search"][1]["lowest_loss"] <= best
    told = search_findings(config, RunReader(run).rows)
    assert [one["candidate"] for one in told] == [12, 13]
    means = rows.groupby("candidate")["best_test_acc"].mean()
    assert told[0]["test_acc"] == pytest.approx(means[12])
    assert told[0]["rank"] == 1 + (means.round(12) > means.round(12)[12]).sum()


def test_l1s_choice_joins_a_sample_that_lacks_it(make_run: MakeRun) -> None:
    run = make_run(ratio="0.5", candidates="5", repeats="1", epochs="1", search="l1")
    work_through(run)
    reader = RunReader(run)
    wanted = reader.config["l1_pruned"]
    sample = [reader.pruned(candidate) for candidate in range(5)]
    assert wanted not in sample  # else another candidate would have joined
    assert reader.pruned(5) == wanted
    found = findings_of(reader.config, "done", reader.rows)
    row = reader.rows[5]
    assert (found["l1_candidate"], found["top_k"]) == (5, 5)
    assert found["l1_pruned_train_loss"] == pytest.approx(float(row["pruned_train_loss"]))
    assert found["l1_test_acc"] == pytest.approx(float(row["best_test_acc"]))
    ahead = (reader.rows["best_test_acc"] > row["best_test_acc"]).sum()
    assert found["l1_rank_acc"] == 1 + ahead


@pytest.mark.slow
def test_a_kill_after_a_search_keeps_its_picks(make_run: MakeRun) -> None:
    run = make_run(LONGER, ratio="0.5", search="greedy")
    engine = start(run)
    wait_for(lambda: len(finished(run)) > 0, "the first finished candidate", engine)
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait(60)
    before = RunReader(run).config["search"]
    work_through(run)
    reader = RunReader(run)
    assert reader.config["search"] == before
    assert reader.status == "done"
    assert len(finished(run)) == 50
    assert [list(layer) for layer in before[0]["pruned"]] == reader.pruned(24)


@pytest.mark.slow
def test_a_search_that_saw_nothing_new_still_adds_another_candidate(make_run: MakeRun) -> None:
    run = make_run(candidates="44", repeats="1", epochs="1", search="swap")
    work_through(run)
    rows = table(run)
    assert rows["pruned"].nunique() == len(rows) == 45
