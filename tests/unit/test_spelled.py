"""A study spelled out as entries: the same study comes of them again."""

from __future__ import annotations

import pytest

from engine.entries import read_entries
from engine.presets import PRESETS, QUICK
from engine.recipe import CIFAR_RETRAIN, LENET_RETRAIN, VIT_RETRAIN, Recipe
from engine.recipe_text import changed
from engine.spelled import differing, recipe_changes, spelled


@pytest.mark.parametrize("usual", [LENET_RETRAIN, CIFAR_RETRAIN, VIT_RETRAIN])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "lr=.02",
        "lr=.02,drops=none",
        "schedule=step,drops=3:1e-7",
        "schedule=cosine,warmup=1",
        "optimizer=adamw,lr=1e-3,mixup=.2,clip=1,ema=.9,batch_size=64,momentum=0",
        "optimizer=sgd,schedule=step,drops=2:1e-5/4:1e-6",
    ],
)
def test_a_recipe_is_told_by_what_it_has_of_its_own(usual: Recipe, text: str) -> None:
    recipe = changed(usual.lasting(5), text)
    assert changed(usual.lasting(5), recipe_changes(recipe, usual)) == recipe
    assert recipe_changes(usual.lasting(7), usual) == ""


def test_the_entries_of_a_study_give_it_again() -> None:
    entries = {
        "layers": "conv1,conv2", "granularity": "weights", "scope": "global", "candidates": "5",
        "recipe": "optimizer=adamw,lr=2e-3", "pretrain_recipe": "ema=.9", "precision": "bf16",
        "epochs": "3",
    }  # fmt: skip
    spec = read_entries(entries, QUICK)
    assert read_entries(spelled(spec)) == spec
    for preset in PRESETS.values():
        for one in preset.specs:
            assert read_entries(spelled(one)) == one


def test_studies_are_told_apart_by_what_differs() -> None:
    plain = read_entries({}, QUICK)
    masked = read_entries({"granularity": "weights", "candidates": "5"}, QUICK)
    mixed = read_entries({"recipe": "mixup=.2"}, QUICK)
    assert differing([plain, mixed]) == [{"recipe": ""}, {"recipe": "mixup=0.2"}]
    of_plain, of_masked = differing([plain, masked])
    assert of_plain["granularity"], of_masked["granularity"] == ("filters", "weights")
    assert (of_plain["scope"], of_masked["scope"]) == ("", "layer")
