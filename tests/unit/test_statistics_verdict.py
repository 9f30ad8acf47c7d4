import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.statistics import (
    Correlation,
    Finding,
    TauInterval,
    invalid_by_rule,
    judge,
    kendall,
    tau_interval,
)


def judged(tau, lower, upper, p=0.001, outcome="accuracy"):
    return judge(
        Correlation(tau, p, 100, ""), TauInterval(tau, lower, upper, 0.95, 100, ""), outcome
    )


@pytest.mark.parametrize(
    ("tau", "p", "outcome", "invalid"),
    [
        (-0.5, 0.01, "accuracy", False),
        (-0.2, 0.01, "accuracy", False),
        (-0.19, 0.01, "accuracy", True),
        (-0.5, 0.06, "accuracy", True),
        (-0.5, 0.05, "accuracy", False),
        (0.5, 0.01, "accuracy", True),
        (0.5, 0.01, "loss", False),
        (0.19, 0.01, "loss", True),
        (-0.5, 0.01, "loss", True),
        (np.nan, np.nan, "loss", None),
    ],
)
def test_the_published_rule(tau, p, outcome, invalid):
    assert invalid_by_rule(tau, p, outcome) is invalid


def test_an_interval_on_one_side_decides():
    assert judged(-0.05, -0.10, 0.0).finding is Finding.INVALID
    assert judged(-0.5, -0.6, -0.4).finding is Finding.VALID
    assert judged(0.5, 0.4, 0.6, outcome="loss").finding is Finding.VALID
    assert judged(0.05, 0.0, 0.1, outcome="loss").finding is Finding.INVALID


def test_an_interval_across_the_threshold_decides_nothing():
    for tau in (-0.25, -0.15):
        found = judged(tau, tau - 0.1, tau + 0.1)
        assert found.finding is Finding.UNDECIDED
        assert "Undecided" in found.text


def test_a_p_value_alone_does_not_decide_invalid():
    found = judged(-0.5, -0.9, -0.21, p=0.2)
    assert found.invalid_by_rule is True
    assert found.finding is Finding.UNDECIDED


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_never_more_than_the_interval_allows(tau, below, above, p):
    lower, upper = max(tau - below, -1.0), min(tau + above, 1.0)
    for sign, outcome in ((1, "accuracy"), (-1, "loss")):
        ends = sorted((sign * lower, sign * upper))
        found = judged(sign * tau, *ends, p=p, outcome=outcome)
        if found.finding is Finding.VALID:
            assert upper <= -0.2
            assert p <= 0.05
        if found.finding is Finding.INVALID:
            assert lower > -0.2


def test_the_words_name_threshold_estimate_and_interval():
    text = judged(-0.05, -0.10, 0.0, p=0.0165).text
    for part in ("invalid", "-0.05", "[-0.10, +0.00]", "p = 0.0165", "n = 100", "-0.2", "0.05"):
        assert part in text
    assert "below 0.2" in judged(0.05, 0.0, 0.1, outcome="loss").text


def test_nothing_to_judge_says_why():
    found = judge(kendall([1, 2], [1, 2]), tau_interval([1, 2], [1, 2]))
    assert found.finding is Finding.UNDECIDED
    assert found.text == "Nothing to judge yet: 2 of at least 3 candidates."
