"""Sweeps: a grid of entries becomes specs, each once; a mistake is said in one sentence."""

from __future__ import annotations

import pytest

from engine.entries import read_entries
from engine.errors import UsageError
from engine.presets import QUICK
from engine.sweep import read_sweep


def test_lists_are_axes_and_the_last_one_is_fastest() -> None:
    found = read_sweep('preset = "quick"\nratio = [0.2, 0.3]\nseed = [0, 1]\ndevice = "cpu"\n')
    wanted = [
        read_entries({"ratio": ratio, "seed": seed}, QUICK)
        for ratio in ("0.2", "0.3")
        for seed in ("0", "1")
    ]
    assert list(found.studies) == wanted
    assert (found.device, found.executor) == ("cpu", "inline")


def test_layers_that_belong_together_are_one_text() -> None:
    found = read_sweep('layers = ["conv1", "conv1,conv2"]\nratio = 0.5\ncandidates = 5\n')
    assert [spec.layers for spec in found.studies] == [("conv1",), ("conv1", "conv2")]


def test_a_study_that_comes_twice_is_made_once() -> None:
    assert len(read_sweep("seed = [1, 1, 2]\n").studies) == 2


def test_recipes_granularities_and_tuning_are_axes() -> None:
    text = """
    granularity = ["filters", "weights"]
    recipe = ["ema=.9", "optimizer=adamw,lr=1e-3"]
    candidates = 3
    weights = "pretrained"
    model = "resnet18"
    layers = "layer1.0.conv1"
    tune = [true, false]
    """
    found = read_sweep(text)
    assert len(found.studies) == 8
    assert {spec.granularity for spec in found.studies} == {"filters", "weights"}
    assert {spec.retrain.ema for spec in found.studies} == {0.0, 0.9}
    assert {spec.weights.tuned for spec in found.studies if spec.weights} == {True, False}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ratio = ", "not TOML"),
        ("ratios = [0.2]", "did you mean ratio"),
        ("seed = []", "empty list"),
        ("seed = [true]", "holds True"),
        ("seed = [[1]]", "holds"),
        ("ratio = [0.2, 2]", "ratio 2 cannot be"),
        ('device = ["cpu"]', "one text"),
        ('executor = "threads"', "The executor is"),
        ('preset = "quik"', "did you mean quick"),
        (f"seed = {list(range(101))}\nrepeats = {list(range(1, 101))}", "10,100 studies"),
    ],
)
def test_a_mistake_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        read_sweep(text)
    assert len(str(refusal.value).splitlines()) == 1
