"""The leaderboard and the findings of a run, on simulated studies whose truth is planted."""

import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from engine.control import run_config
from engine.entries import read_entries
from engine.errors import UsageError
from engine.findings import ceiling_of, findings_of, search_findings
from engine.folders import shipped_folder
from engine.leaderboard import leaderboard, over_runs, score_of, standing
from engine.presets import QUICK
from engine.scores import SCORES
from engine.statistics.noise import r_to_tau
from engine.store.layout import RowStatus, empty_rows
from engine.store.reader import RunReader
from oracle_tui.cli.summaries import findings_lines

# Pearson's r of each score with the candidates' true value; accuracy-like ones have it positive.
PLANTED = {
    "pruned_train_loss": -0.6,
    "pruned_train_acc": 0.3,
    "l1": -0.9,
    "taylor": 0.45,  # a bad predictor: it points the wrong way
    "grasp": 0.75,
    "random": 0.0,
}
RELIABILITY = 0.7  # of one repeat
CANDIDATES, REPEATS = 600, 3


def simulated(seed: int = 0, candidates: int = CANDIDATES):
    """Config and rows of a study: normal true values, scores and noise."""
    spec = read_entries(
        {
            "layers": "conv1,conv2",
            "ratio": ".5",
            "candidates": str(candidates),
            "repeats": str(REPEATS),
            "scores": ",".join(PLANTED),
            "seed": str(seed),
        },
        QUICK,
    )
    generator = np.random.default_rng(seed)
    true = generator.standard_normal(candidates)
    config = run_config(spec, "simulated", "cpu")
    rows = empty_rows(candidates * REPEATS, spec.score_names)
    rows["candidate"] = np.repeat(np.arange(candidates), REPEATS)
    rows["repeat"] = np.tile(np.arange(REPEATS), candidates)
    rows["status"] = RowStatus.DONE
    for name, r in PLANTED.items():
        score = r * true + math.sqrt(1 - r * r) * generator.standard_normal(candidates)
        rows[name] = np.repeat(score, REPEATS)
    noise = math.sqrt(1 / RELIABILITY - 1) * generator.standard_normal(len(rows))
    rows["best_test_acc"] = 0.9 + 0.005 * (np.repeat(true, REPEATS) + noise)
    rows["best_test_loss"] = 1 - rows["best_test_acc"]
    return config, rows


def order_of(planted: dict[str, float]) -> list[str]:
    """Best predictor first: r with the sign that a good one has positive."""
    return sorted(
        planted, key=lambda name: planted[name] if SCORES[name].low_is_good else -planted[name]
    )


def test_the_planted_order_is_recovered():
    config, rows = simulated()
    assert [one.score for one in leaderboard(config, rows)] == order_of(PLANTED)
    for outcome in ("best_test_acc", "best_test_loss"):
        board = leaderboard(config, rows, outcome)
        reliability = REPEATS * RELIABILITY / (1 + (REPEATS - 1) * RELIABILITY)
        for one in board:
            r = PLANTED[one.score] * (-1 if one.low_is_good else 1) * math.sqrt(reliability)
            assert one.agreement == pytest.approx(r_to_tau(r), abs=0.06)
            assert one.agreement_lower < one.agreement < one.agreement_upper
            assert one.n == CANDIDATES


def test_tau_is_scipys_and_keeps_its_own_sign():
    config, rows = simulated()
    means = rows["best_test_acc"].reshape(-1, REPEATS).mean(axis=1)
    for one in leaderboard(config, rows):
        expected = kendalltau(rows[one.score][::REPEATS], means.round(12))
        assert one.tau == pytest.approx(expected.statistic, abs=1e-9)
        assert one.p == pytest.approx(expected.pvalue, rel=1e-6)
        assert one.agreement == (-one.tau if one.low_is_good else one.tau)


def test_regret_is_that_of_the_scores_own_pick():
    outcome = np.array([0.5, 0.9, 0.7])
    high = standing(SCORES["pruned_train_acc"], np.array([1.0, 2.0, 3.0]), outcome)
    assert (high.regret, high.rank) == (pytest.approx(0.2), 2)
    low = standing(SCORES["pruned_train_loss"], np.array([1.0, 2.0, 3.0]), outcome)
    assert (low.regret, low.rank) == (pytest.approx(0.4), 3)
    as_loss = standing(SCORES["l1"], np.array([1.0, 2.0, 3.0]), outcome, "best_test_loss")
    assert (as_loss.regret, as_loss.rank) == (0, 1)


def test_costs_are_those_the_run_recorded():
    config, rows = simulated()
    config["score_seconds"] = {"l1": 1.5, "random": "much"}
    seconds = {one.score: one.seconds for one in leaderboard(config, rows)}
    assert seconds["l1"] == 1.5
    assert math.isnan(seconds["random"])
    assert math.isnan(seconds["grasp"])


def test_nothing_finished_is_a_board_without_numbers():
    config, rows = simulated()
    rows["status"] = RowStatus.SCORED
    board = leaderboard(config, rows)
    assert {one.score for one in board} == set(PLANTED)
    assert all(one.n == 0 and math.isnan(one.agreement) and one.note for one in board)
    assert all(one.runs == 0 for one in over_runs([board]))


def test_a_score_without_values_stands_last():
    config, rows = simulated()
    rows["l1"] = np.nan
    board = leaderboard(config, rows)
    assert board[-1].score == "l1"
    assert board[-1].n == 0


def test_another_outcome_must_exist():
    config, rows = simulated()
    with pytest.raises(UsageError, match="best_test_acc"):
        leaderboard(config, rows, "beauty")


def test_over_runs_the_order_holds_and_every_run_counts_the_same():
    boards = [leaderboard(*simulated(seed, n)) for seed, n in ((1, 600), (2, 300), (3, 150))]
    found = over_runs(boards)
    assert [one.score for one in found] == order_of(PLANTED)
    best = found[0]
    own = [one.agreement for board in boards for one in board if one.score == best.score]
    assert best.agreement == pytest.approx(np.mean(own))
    assert (best.lowest, best.highest) == (min(own), max(own))
    assert (best.runs, best.wins) == (3, 3)
    assert sum(one.wins for one in found) == 3


def test_runs_with_other_scores_are_told_apart():
    config, rows = simulated()
    board = leaderboard(config, rows)
    found = {one.score: one for one in over_runs([board, board[:2]])}
    assert found[board[0].score].runs == 2
    assert found[board[-1].score].runs == 1


def test_a_researchers_own_score_points_as_the_run_recorded():
    config = {"criteria": {"mine": {"title": "Mine", "low_is_good": False}, "theirs": 3}}
    assert score_of(config, "mine").title == "Mine"
    assert not score_of(config, "mine").low_is_good
    assert score_of(config, "theirs").low_is_good
    assert score_of({"criteria": "none"}, "l1") is SCORES["l1"]
    assert not score_of({}, "short_retrain_acc_5").low_is_good


def test_the_planted_noise_ceiling_is_recovered():
    config, rows = simulated()
    found = findings_of(config, "done", rows)
    assert found["noise_between_repeats"] == pytest.approx(r_to_tau(RELIABILITY), abs=0.04)
    whole = REPEATS * RELIABILITY / (1 + (REPEATS - 1) * RELIABILITY)
    assert found["noise_ceiling"] == pytest.approx(r_to_tau(math.sqrt(whole)), abs=0.04)
    assert found["noise_ceiling_lower"] < found["noise_ceiling"] < found["noise_ceiling_upper"]
    assert found["noise_free_tau_acc"] == pytest.approx(
        r_to_tau(PLANTED["pruned_train_loss"]), abs=0.06
    )
    assert found["verdict"] == "valid"


def test_findings_are_plain_values_and_the_bootstrap_waits_for_the_end():
    config, rows = simulated()
    running, done = (findings_of(config, status, rows) for status in ("running", "done"))
    assert running["tau_acc_bootstrap_lower"] is None
    assert done["tau_acc_bootstrap_lower"] < done["tau_acc_bootstrap_upper"]
    assert abs(done["tau_acc_bootstrap_lower"] - done["tau_acc_lower"]) < 0.03
    assert done["anomaly_acc_lowest"] <= done["anomaly_acc_highest"]
    for value in done.values():
        assert value is None or type(value) in (str, int, float, bool)


@pytest.mark.parametrize(
    ("name", "p"),
    [
        ("lenet5-mini-fashion-mnist-conv1-0.2-correct", 0.09),
        ("lenet5-mini-fashion-mnist-conv1-0.2-released", 0.0005),
        ("narrow-resnet20-fashion-5k-0.5-correct", None),
    ],
)
def test_filters_are_renamed_where_every_candidate_was_studied(name, p):
    with RunReader(shipped_folder() / "runs" / f"{name}.h5") as run:
        found = findings_of(run.config, run.status, run.rows)
        running = findings_of(run.config, "running", run.rows)
    said = [line for line in findings_lines({**found, "search": []}) if "share filters" in line]
    if p is None:  # 60 of 10^44 candidates
        assert found["renamed_p_acc"] is None
        assert said == []
    else:
        # scipy's p of these 45 candidates is .005 and 2e-13.
        assert found["renamed_p_acc"] == pytest.approx(p, abs=0.02)
        assert len(said) == 1
    assert running["renamed_p_acc"] is None


def test_l1s_choice_is_told_where_it_was_studied():
    path = shipped_folder() / "runs" / "lenet5-mini-fashion-mnist-conv1-0.2-correct.h5"
    with RunReader(path) as run:
        found = findings_of(run.config, run.status, run.rows)
        mine = run.rows[run.rows["candidate"] == found["l1_candidate"]]
        assert run.pruned(found["l1_candidate"]) == run.config["l1_pruned"]
        assert found["l1_test_acc"] == pytest.approx(mine["best_test_acc"].mean())
        assert found["l1_pruned_train_loss"] == pytest.approx(mine["pruned_train_loss"].mean())
        assert (
            findings_of({**run.config, "l1_pruned": "?"}, "done", run.rows)["l1_rank_acc"] is None
        )
    assert 1 <= found["l1_rank_acc"] <= 45


def test_findings_of_nothing_say_so():
    config, rows = simulated()
    found = findings_of(config, "running", rows[:0])
    assert found["verdict"] == "undecided"
    assert found["verdict_text"].startswith("Nothing to judge yet")
    assert found["noise_ceiling"] is None
    assert found["oracle_rank_acc"] is None


def test_the_ceiling_leaves_out_candidates_with_a_repeat_to_come():
    _, rows = simulated()
    rows["status"][1] = RowStatus.SCORED
    assert ceiling_of(rows, REPEATS, "best_test_acc").n == CANDIDATES - 1


@pytest.mark.parametrize(
    "search",
    [
        "none",
        [3, "greedy", {}],
        [{"method": "hill", "candidate": 1}],
        [{"method": "greedy"}],
        [{"method": "swap", "candidate": [1], "lower_by": "much", "lowest_loss": 10**300}],
        [{"method": "greedy", "candidate": 10**30, "sampled": None}],
        [{"method": "greedy", "candidate": -1, "sampled": {}}],
    ],
)
def test_a_strangers_config_breaks_nothing(search):
    config, rows = simulated(candidates=20)
    config |= {"search": search, "score_seconds": {"l1": 10**400}, "wiring_pair": [1]}
    assert len(leaderboard(config, rows)) == len(PLANTED)
    record = findings_of(config, "running", rows)
    assert record["paired_with"] is None
    found = search_findings(config, rows)
    assert all(one["method"] in ("greedy", "swap") for one in found)
    lines = findings_lines({**record, "search": found})
    assert len(lines) == 5 + len(found)


def test_statistics_are_those_of_the_sample_without_a_searchs_pick():
    config, rows = simulated(candidates=50)
    plain_board, plain = leaderboard(config, rows), findings_of(config, "done", rows)
    more = empty_rows(REPEATS, tuple(PLANTED))
    for name in rows.dtype.names:
        more[name] = rows[name][:REPEATS]
    more["candidate"], more["repeat"] = 50, np.arange(REPEATS)
    more["pruned_train_loss"], more["best_test_acc"] = -9, 0.99
    config["search"] = [{"method": "greedy", "candidate": 50, "lower_by": 0.5}]
    both = np.concatenate([rows, more])
    # By their texts: what is not a number equals nothing, not even itself.
    assert repr(leaderboard(config, both)) == repr(plain_board)
    assert findings_of(config, "done", both) == plain
    (found,) = search_findings(config, both)
    assert (found["test_acc"], found["rank"], found["lower_by"]) == (0.99, 1, 0.5)
