"""Renamed filters: against a plain loop over all renamings, and against studies of pure chance."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from engine.statistics import renamed_tau, tau_interval


def all_candidates(*layers):
    """Which filters each candidate loses, of layers of (filters, how many go)."""
    each = [list(itertools.combinations(range(n), k)) for n, k in layers]
    rows = []
    for parts in itertools.product(*each):
        row = np.concatenate(
            [np.isin(np.arange(n), part) for (n, _), part in zip(layers, parts, strict=True)]
        )
        rows.append(row)
    return np.array(rows)


def by_chance(lost, rng):
    """A score and an outcome that add up unrelated numbers of the filters that are lost."""
    return lost @ rng.normal(size=lost.shape[1]), lost @ rng.normal(size=lost.shape[1])


@pytest.mark.parametrize("layers", [((5, 2),), ((4, 2), (3, 1))])
def test_p_is_the_share_of_all_renamings(layers):
    lost = all_candidates(*layers)
    rng = np.random.default_rng(4)
    score, outcome = by_chance(lost, rng)
    tau = kendalltau(score, outcome).statistic
    filters = tuple(n for n, _ in layers)
    taus = []
    for orders in itertools.product(*(itertools.permutations(range(n)) for n in filters)):
        starts = np.cumsum((0, *filters[:-1]))
        order = np.concatenate([s + np.array(o) for s, o in zip(starts, orders, strict=True)])
        place = [int(np.flatnonzero((lost == row[order]).all(axis=1))[0]) for row in lost]
        taus.append(kendalltau(score, outcome[place]).statistic)
    found = renamed_tau(score, outcome, lost, filters, renamings=3_000)
    assert found.tau == pytest.approx(tau)
    share = np.mean(np.abs(taus) >= abs(tau) - 1e-12)
    assert found.p == pytest.approx(share, abs=4 * math.sqrt(share / 3_000) + 0.001)
    assert found.spread == pytest.approx(np.std(taus), rel=0.1)
    assert (found.n, found.renamings, found.note) == (len(lost), 3_000, "")


def test_shared_filters_fool_the_usual_p_and_the_interval_but_not_this_one():
    # The figures of docs/reference/statistics.md: 252 candidates of ten filters.
    lost, rng = all_candidates((10, 5)), np.random.default_rng(0)
    usual, held, renamed = [], [], []
    for study in range(80):
        score, outcome = by_chance(lost, rng)
        usual.append(kendalltau(score, outcome).pvalue <= 0.05)
        interval = tau_interval(score, outcome)
        held.append(interval.lower <= 0 <= interval.upper)
        if study < 30:
            renamed.append(renamed_tau(score, outcome, lost, (10,), 99).p <= 0.05)
    assert np.mean(usual) == pytest.approx(0.74, abs=0.16)
    assert np.mean(held) == pytest.approx(0.24, abs=0.16)
    assert np.mean(renamed) <= 0.05 + 3 * math.sqrt(0.0475 / 30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("filters", "gone", "sample", "usual", "holds"),
    [
        (10, 2, None, 0.34, 0.63),
        (10, 5, None, 0.74, 0.24),
        (40, 20, 1_000, 0.72, 0.28),
        (432, 216, 1_000, 0.24, 0.76),
    ],
)
def test_how_often_shared_filters_fool_the_usual_p(filters, gone, sample, usual, holds):
    # The table of docs/reference/statistics.md.
    rng, fooled, held, taus = np.random.default_rng(3), [], [], []
    for _ in range(300):
        lost = all_candidates((filters, gone)) if sample is None else np.zeros((sample, filters))
        for row in lost if sample else ():
            row[rng.permutation(filters)[:gone]] = 1
        score, outcome = by_chance(lost, rng)
        found = kendalltau(score, outcome)
        interval = tau_interval(score, outcome)
        fooled.append(found.pvalue <= 0.05)
        held.append(interval.lower <= 0 <= interval.upper)
        taus.append(found.statistic)
    print(
        f"{gone} of {filters}: p <= .05 {np.mean(fooled):.2f}, 0 held {np.mean(held):.2f}, "
        f"sd {np.std(taus):.3f}"
    )
    assert np.mean(fooled) == pytest.approx(usual, abs=0.1)
    assert np.mean(held) == pytest.approx(holds, abs=0.1)


def test_a_score_that_knows_the_filters_is_told_from_chance():
    lost, rng = all_candidates((8, 4)), np.random.default_rng(1)
    score, _ = by_chance(lost, rng)
    found = renamed_tau(score, -score + 0.1 * rng.normal(size=len(score)), lost, (8,))
    assert found.tau < -0.8
    assert found.p < 0.01


def test_it_needs_every_candidate_and_its_outcome():
    lost, rng = all_candidates((6, 3)), np.random.default_rng(2)
    score, outcome = by_chance(lost, rng)
    for some in (
        renamed_tau(score[1:], outcome[1:], lost[1:], (6,)),
        renamed_tau(score, np.where(np.arange(20) == 3, np.nan, outcome), lost, (6,)),
        renamed_tau(score, outcome, np.vstack([lost[:1], lost[:-1]]), (6,)),
    ):
        assert math.isnan(some.p)
        assert math.isfinite(some.tau)
        assert "every candidate" in some.note
    undefined = renamed_tau(np.ones(20), outcome, lost, (6,))
    assert math.isnan(undefined.p)
    assert undefined.note == "all scores are equal"
    with pytest.raises(ValueError, match="lost filters"):
        renamed_tau(score, outcome, lost, (7,))


def test_the_seed_alone_decides():
    lost, rng = all_candidates((7, 3)), np.random.default_rng(3)
    score, outcome = by_chance(lost, rng)
    ours = renamed_tau(score, outcome, lost, (7,), seed=1)
    assert ours == renamed_tau(score, outcome, lost, (7,), seed=1)
    assert ours != renamed_tau(score, outcome, lost, (7,), seed=2)
