"""What is known of a run's study, from its spec or from an importer; strangers may write either."""

import json

import pytest

from engine.errors import UsageError
from engine.facts import Origin, facts_of
from engine.presets import QUICK

ORIGIN = Origin(
    "CSV file a.csv", 252, 3, "lenet5-mini", "mnist", ("conv1", "conv2"), (0.5, 0.2), 30, "released"
)


def test_facts_of_a_spec():
    facts = facts_of({"spec": QUICK.spec.to_json()})
    assert facts.spec == QUICK.spec
    assert (facts.repeats, facts.rows, facts.layers) == (1, 45, ("conv1",))
    assert facts.title == "LeNet5-Mini · mnist-5k · conv1 · 0.2"
    assert facts.columns["origin"] is None


def test_facts_of_an_origin():
    facts = facts_of({"spec": None, "origin": json.loads(json.dumps(ORIGIN.to_json()))})
    assert (facts.spec, facts.repeats, facts.rows) == (None, 3, 756)
    assert facts.title == "lenet5-mini · mnist · conv1+conv2 · 0.5+0.2"
    assert facts.columns["origin"] == "CSV file a.csv"
    assert facts.columns["seed"] is None
    assert set(facts.columns) == set(facts_of({"spec": QUICK.spec.to_json()}).columns)


def test_an_origin_may_know_nothing_of_the_study():
    facts = facts_of({"spec": None, "origin": Origin("CSV file a.csv", 2, 1).to_json()})
    assert facts.title == "CSV file a.csv"
    assert facts.columns["model"] is facts.columns["layers"] is facts.columns["ratio"] is None


def test_origins_read_back():
    assert Origin.from_json(ORIGIN.to_json()) == ORIGIN


@pytest.mark.parametrize(
    "change",
    [
        {"candidates": 0},
        {"candidates": 10**12},
        {"candidates": "many"},
        {"repeats": 0},
        {"repeats": None},
        {"epochs": -1},
        {"ratios": [2.0]},
        {"ratios": ["x"]},
        {"ratios": [0.1, 0.2, 0.3]},
        {"layers": 3},
        {"layers": ["x" * 300]},
        {"source": ""},
        {"wiring": "crossed"},
        {"more": 1},
    ],
)
def test_a_strangers_origin_is_refused_with_a_sentence(change):
    with pytest.raises(UsageError) as caught:
        facts_of({"origin": {**ORIGIN.to_json(), **change}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [{}, {"spec": None}, {"spec": 3}, {"origin": []}])
def test_a_run_of_nothing(config):
    with pytest.raises(UsageError):
        facts_of(config)
