"""Training schedules as data, against the protocol's own numbers."""

import json

import pytest

from engine.errors import UsageError
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN, Recipe

CIFAR = Recipe(epochs=120, learning_rate=0.01, drops=((60, 0.001), (90, 1e-4)), weight_decay=5e-4)


def test_rate_holds_from_the_drop_on():
    rates = [LENET_PRETRAIN.rate_at(epoch) for epoch in (0, 19, 20, 29)]
    assert rates == [0.01, 0.01, 0.001, 0.001]
    assert [CIFAR.rate_at(epoch) for epoch in (59, 60, 89, 90, 119)] == [
        0.01,
        0.001,
        0.001,
        1e-4,
        1e-4,
    ]


def test_the_ten_percent_budget_moves_the_drops_as_the_paper_does():
    assert LENET_RETRAIN.lasting(3).drops == ((2, 1e-4),)
    assert CIFAR.lasting(12).drops == ((6, 0.001), (9, 1e-4))
    assert LENET_RETRAIN.lasting(30) is LENET_RETRAIN


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 30, 31, 1000])
def test_any_length_is_a_valid_recipe_that_ends_at_the_last_rate_it_reaches(epochs):
    short = CIFAR.lasting(epochs)
    assert short.epochs == epochs
    assert short.rate_at(epochs) == 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"epochs": 10_001},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"drops": ((3, float("inf")),)},
        {"drops": ((3, 0.1), (3, 0.01))},
        {"drops": ((5, 0.1), (3, 0.01))},
        {"drops": ((-1, 0.1),)},
        {"momentum": 1.0},
        {"weight_decay": -1e-4},
        {"batch_size": 0},
    ],
)
def test_what_cannot_be_trained_is_refused(changes):
    with pytest.raises(UsageError) as caught:
        Recipe(**{"epochs": 10, "learning_rate": 0.1, **changes})
    assert "\n" not in str(caught.value)


def test_json_round_trip():
    assert Recipe.from_json(json.loads(json.dumps(CIFAR.to_json()))) == CIFAR


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        None,
        {"epochs": 3},
        {"epochs": "x", "learning_rate": 1},
        {"epochs": 3, "learning_rate": 0.1, "speed": 2},
        {"epochs": 3, "learning_rate": 0.1, "drops": [[1, 2, 3]]},
        {"epochs": float("inf"), "learning_rate": 0.1},
        {"epochs": 3, "learning_rate": 10**400},
    ],
)
def test_json_that_is_no_recipe_is_refused(data):
    with pytest.raises(UsageError):
        Recipe.from_json(data)


def test_shorthand():
    assert str(LENET_PRETRAIN) == "30 ep, 0.01 -> 0.001@20, wd 0.0001"
