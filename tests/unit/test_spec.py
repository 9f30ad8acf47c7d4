"""The study as a value: what is refused, and what its JSON and hash promise."""

import json

import pytest

from engine.errors import UsageError
from engine.presets import QUICK
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN
from engine.spec import StudySpec
from engine.study_rules import SpecError

BASE = StudySpec(
    model="lenet5-mini",
    dataset="mnist-5k",
    layers=("conv1", "conv3"),
    ratios=(0.5, 0.3),
    candidates=100,
    repeats=3,
    pretrain=LENET_PRETRAIN,
    retrain=LENET_RETRAIN,
    seed=7,
)


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"model": "lenet5-mino"}, "model", "did you mean lenet5-mini"),
        ({"dataset": "imagewoof"}, "dataset", "mnist-5k"),
        ({"layers": ("conv1", "conv9")}, "layers", "conv9"),
        ({"layers": ()}, "layers", "at least one layer"),
        ({"layers": ("conv1", "conv1")}, "layers", "twice"),
        ({"ratios": (0.5,)}, "ratio", "one for each layer"),
        ({"ratios": (0.5, 0.0)}, "ratio", "between 0 and 1"),
        ({"ratios": (0.5, 1.0)}, "ratio", "between 0 and 1"),
        ({"ratios": (0.5, -3.0)}, "ratio", "between 0 and 1"),
        ({"ratios": (0.5, float("nan"))}, "ratio", "between 0 and 1"),
        ({"ratios": (0.5, 0.95)}, "ratio", "all 10 filters"),
        ({"repeats": 0}, "repeats", "from 1"),
        ({"repeats": 1_001}, "repeats", "1,000"),
        ({"wiring": "wrong"}, "wiring", "correct or released"),
        ({"precision": "fp8"}, "precision", "float32 or bf16"),
        ({"seed": -1}, "seed", "from 0"),
        ({"seed": 2**63}, "seed", "from 0"),
        ({"candidates": 0}, "candidates", "Between 1 and"),
        ({"candidates": 10**9}, "candidates", "can be sampled"),
    ],
)
def test_what_is_no_study_is_refused_by_field(changes, field, says):
    with pytest.raises(SpecError) as caught:
        BASE.with_(**changes)
    assert caught.value.field == field
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_rows_than_a_study_holds_are_refused():
    with pytest.raises(SpecError) as caught:
        StudySpec(
            model="lenet5-mini-w40",
            dataset="mnist",
            layers=("conv1",),
            ratios=(0.5,),
            candidates=100_000,
            repeats=1_000,
            pretrain=LENET_PRETRAIN,
            retrain=LENET_RETRAIN,
        )
    assert caught.value.field == "repeats"


def test_json_round_trip_keeps_the_study():
    assert StudySpec.from_json(json.loads(json.dumps(BASE.to_json()))) == BASE
    assert StudySpec.from_json(QUICK.spec.to_json()) == QUICK.spec


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("model"),
        lambda data: data.update(colour="red"),
        lambda data: data.update(layers=None),
        lambda data: data.update(ratios=["half", 0.3]),
        lambda data: data.update(repeats="many"),
        lambda data: data.update(repeats=10**30),
        lambda data: data.update(candidates=[]),
        lambda data: data.update(retrain="long"),
        lambda data: data.update(retrain={"epochs": 3}),
        lambda data: data.update(seed=float("inf")),
    ],
)
def test_json_from_strangers_gives_one_sentence(damage):
    data = json.loads(json.dumps(BASE.to_json()))
    damage(data)
    with pytest.raises(UsageError) as caught:
        StudySpec.from_json(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [[], "spec", 3, None, {"model": 1}])
def test_json_that_is_no_object_is_refused(data):
    with pytest.raises(UsageError):
        StudySpec.from_json(data)


def test_hash_names_the_study():
    same = StudySpec.from_json(BASE.to_json())
    assert same.hash == BASE.hash
    assert len(BASE.hash) == 12
    others = [
        BASE.with_(seed=8),
        BASE.with_(wiring="released"),
        BASE.with_(precision="bf16"),
        BASE.with_(repeats=2),
        BASE.with_(candidates=101),
        BASE.with_(retrain=LENET_RETRAIN.lasting(3)),
        BASE.with_(layers=("conv3", "conv1"), ratios=(0.3, 0.5)),
    ]
    assert len({BASE.hash, *(other.hash for other in others)}) == 1 + len(others)


def test_hash_of_the_quick_preset_does_not_move():
    """Runs are named by it: a field added to the spec must not rename the studies before it."""
    assert QUICK.spec.hash == QUICK.spec.with_(wiring="correct", seed=0, precision="float32").hash
    data = QUICK.spec.to_json()
    del data["wiring"], data["seed"], data["precision"]
    assert StudySpec.from_json(data).hash == QUICK.spec.hash


def test_counts():
    assert len(QUICK.spec.space) == 45
    assert QUICK.spec.rows == 45
    assert BASE.rows == 300
    assert QUICK.spec.ratio_text == "0.2"
    assert BASE.ratio_text == "0.5+0.3"
    assert BASE.with_(ratios=(0.5, 0.5)).ratio_text == "0.5"
