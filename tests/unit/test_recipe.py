"""Training schedules as data, against the protocol's own numbers."""

import json

import pytest

from engine.errors import UsageError
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN, Recipe
from engine.recipe_text import changed

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


RICH = Recipe(
    100,
    1e-3,
    optimiser="adamw",
    schedule="cosine",
    warmup=5,
    label_smoothing=0.1,
    mixup=0.2,
    cutmix=1.0,
    clip=1.0,
    ema=0.999,
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimiser": "adam"}, "sgd or adamw"),
        ({"schedule": "linear"}, "step or cosine"),
        ({"schedule": "cosine", "drops": ((3, 0.01),)}, "no drops"),
        ({"warmup": 10}, "from 0 to 9"),
        ({"warmup": -1}, "from 0 to 9"),
        ({"label_smoothing": 1.0}, "label_smoothing must be in"),
        ({"ema": 1.0}, "ema must be in"),
        ({"ema": float("nan")}, "ema must be in"),
        ({"mixup": -0.1}, "mixup must be 0"),
        ({"cutmix": float("inf")}, "cutmix must be 0"),
        ({"clip": float("nan")}, "clip must be 0"),
    ],
)
def test_what_a_step_cannot_be_is_refused(changes, says):
    with pytest.raises(UsageError, match=says) as caught:
        Recipe(**{"epochs": 10, "learning_rate": 0.1, **changes})
    assert "\n" not in str(caught.value)


def test_a_rich_recipe_keeps_its_share_of_warm_up_and_its_json():
    assert Recipe.from_json(json.loads(json.dumps(RICH.to_json()))) == RICH
    assert [RICH.lasting(epochs).warmup for epochs in (1, 2, 10, 30, 200)] == [0, 0, 1, 2, 10]
    said = "100 ep, 0.001 cosine after 5 ep of warm-up, wd 0.0001, AdamW, label smoothing 0.1"
    assert str(RICH).startswith(said)
    assert set(RICH.beyond_plain) == {
        "AdamW", "label smoothing", "mixup", "cutmix", "gradient clipping", "averaged weights"
    }  # fmt: skip


def test_what_is_as_usual_is_not_in_the_json():
    """The hash of every study before these fields were there must stay."""
    assert set(CIFAR.to_json()) == {
        "epochs", "learning_rate", "drops", "momentum", "weight_decay", "batch_size"
    }  # fmt: skip


def test_changes_as_they_are_typed():
    text = "optimizer=AdamW, lr=3e-4,wd=.3, schedule=cosine,warmup=2,batch-size=64,mixup=.2"
    found = changed(LENET_RETRAIN, text)
    assert (found.optimiser, found.learning_rate, found.weight_decay) == ("adamw", 3e-4, 0.3)
    assert (found.schedule, found.drops, found.warmup) == ("cosine", (), 2)
    assert (found.batch_size, found.mixup, found.epochs) == (64, 0.2, 30)
    assert changed(LENET_RETRAIN, "lr=.003").drops == ((20, 3e-4),)
    assert changed(LENET_RETRAIN, "drops=10:1e-4/20:1e-5").drops == ((10, 1e-4), (20, 1e-5))
    assert changed(LENET_RETRAIN, "drops=none").drops == ()
    assert changed(LENET_RETRAIN, "") == LENET_RETRAIN


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epochs=3", "flag of its own"),
        ("mixop=1", "did you mean mixup"),
        ("mixup", "mixup=VALUE"),
        ("mixup=", "mixup=VALUE"),
        ("mixup=.1,mixup=.2", "named twice"),
        ("lr=fast", "must be a number"),
        ("warmup=1.5", "whole number"),
        ("drops=20", "EPOCH:RATE"),
        ("optimiser=adam", "sgd or adamw"),
        ("schedule=cosine,drops=3:.1", "no drops"),
    ],
)
def test_changes_that_cannot_be_are_one_sentence(text, says):
    with pytest.raises(UsageError, match=says) as caught:
        changed(LENET_RETRAIN, text)
    assert "\n" not in str(caught.value)
