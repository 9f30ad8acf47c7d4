"""The presets against the paper's own table of panels, and what those cost that should be quick."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from engine import protocol
from engine.errors import UsageError
from engine.estimate import study_work
from engine.presets import PRESETS, WAITING, find_preset
from engine.protocol import Draft
from engine.recipe import Recipe
from engine.statistics import read_published

PANELS = read_published(Path(__file__).parents[2] / "data" / "published.csv")
WAITS = {"resnet56", "vgg19", "resnet18"}


def preset_of(panel):
    layers = {"layer*.conv1": "conv1", "features.*": "all"}.get(panel.layers, panel.layers)
    words = f"{panel.model}-{panel.dataset}-{layers}-{panel.ratio:g}"
    return f"paper/{words.replace('_', '-')}"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.panel)
def test_every_published_panel_has_its_preset(panel):
    name = preset_of(panel)
    if panel.model in WAITS and name in WAITING:
        assert "the number of draws" in WAITING[name].waits_for
        return
    spec = PRESETS[name].spec
    assert (len(spec.space), spec.repeats) == (panel.candidates, panel.repeats)
    assert set(spec.ratios) == {panel.ratio}
    patterns = panel.layers.split("+")
    if panel.model in WAITS:
        assert all(any(fnmatchcase(layer, p) for p in patterns) for layer in spec.layers)
        assert len(spec.layers) == {"resnet56": 27, "vgg19": 16, "resnet18": 8}[panel.model]
    else:
        assert spec.layers == tuple(patterns)
    assert spec.wiring == "correct"


def test_the_small_studies_have_the_protocols_recipes():
    for name, preset in PRESETS.items():
        if not name.startswith(("paper/", "complexity/")):
            continue
        for spec in preset.specs:
            if spec.model_info.family != "lenet":
                continue
            assert str(spec.pretrain) == "30 ep, 0.01 -> 0.001@20, wd 0.0001"
            short = name.endswith("-10-percent")
            long = "30 ep, 0.001 -> 0.0001@20, wd 0.0001"
            assert str(spec.retrain) == ("3 ep, 0.001 -> 0.0001@2, wd 0.0001" if short else long)


def test_the_large_ones_have_theirs_already():
    assert str(protocol.RESNET56.pretrain) == "200 ep, 0.1 -> 0.01@100 -> 0.001@150, wd 0.0005"
    assert str(protocol.RESNET56.retrain) == "120 ep, 0.01 -> 0.001@60 -> 0.0001@90, wd 0.0005"
    short = protocol.ten_percent(protocol.VGG19).retrain
    assert str(short) == "12 ep, 0.01 -> 0.001@6 -> 0.0001@9, wd 0.0005"
    assert str(protocol.RESNET50.retrain) == "9 ep, 0.08 -> 0.008@3 -> 0.0008@6, wd 0.0001"


def test_the_paper_begins_with_torchvisions_weights_and_trains_its_transformer_otherwise():
    assert str(protocol.VIT.retrain) == (
        "300 ep, 0.00015 cosine, wd 0.3, AdamW, label smoothing 0.11, mixup 0.2, cutmix 1, clip 1"
    )
    assert protocol.VIT.retrain.batch_size == 128
    for draft in (protocol.RESNET18, protocol.RESNET50, protocol.VIT):
        assert draft.weights == "pretrained"
    for draft in (protocol.RESNET18, protocol.RESNET50):
        assert not draft.needs
        spec = draft.with_(dataset="cifar10").spec()
        assert (spec.weights.of_library, spec.pretrains) == (True, False)


def test_a_tenth_of_the_budget_retrains_the_same_candidates_of_the_same_network():
    full, short = (find_preset(f"paper/lenet5-mini-mnist-conv1-0.5{end}").spec
                   for end in ("", "-10-percent"))  # fmt: skip
    assert short.space == full.space
    assert (short.pretrain, short.seed) == (full.pretrain, full.seed)
    assert short.retrain == full.retrain.lasting(3)


def test_quick_ones_are_quick():
    for name, preset in PRESETS.items():
        if name.startswith("quick"):
            for spec in preset.specs:
                assert study_work(spec) < 1e13, name
                assert spec.repeats == 1


def test_every_paper_study_and_every_set_has_a_quick_twin():
    for name, preset in PRESETS.items():
        if preset.specs[0].model_info.family != "lenet":
            continue
        if name.startswith("paper/") and not name.endswith("-10-percent"):
            assert name.replace("paper/", "quick/") in PRESETS
        if name.startswith("complexity/"):
            assert f"quick/{name}" in PRESETS


@pytest.mark.parametrize(
    ("name", "varies"),
    [
        ("datasets", "dataset"),
        ("widths", "model"),
        ("depths", "model"),
        ("ratios", "ratios"),
        ("layers", "layers"),
    ],
)
def test_a_sweep_changes_one_thing(name, varies):
    specs = PRESETS[f"complexity/{name}"].specs
    assert len({getattr(spec, varies) for spec in specs}) == len(specs)
    for field in {"dataset", "model", "retrain", "pretrain", "seed", "wiring"} - {varies}:
        assert len({getattr(spec, field) for spec in specs}) == 1


def test_a_set_is_no_single_study():
    with pytest.raises(UsageError, match="a set of 3 studies"):
        _ = find_preset("paper/depths").spec
    assert [each.spec for each in find_preset("paper/depths").each()] == list(
        find_preset("paper/depths").specs
    )


def test_what_a_draft_waits_for():
    with pytest.raises(UsageError, match="it waits for the number of draws"):
        find_preset("paper/vit-b16-imagenet-all-0.5")
    for draft, says in (
        (Draft("lenet5-mini", "svhn", "conv1", 0.5), "data set svhn"),
        (Draft("lenet9", "mnist", "conv1", 0.5), "model lenet9"),
        (Draft("lenet5-mini", "mnist", "block*", 0.5), "prunable layers block\\* in lenet5-mini"),
        (Draft("lenet5-mini", "mnist", "conv1", 0.5, needs=("wings",)), "wings"),
    ):
        with pytest.raises(UsageError, match=says):
            draft.spec()


def test_a_draft_whose_parts_are_there_is_a_study():
    draft = Draft("lenet5", "mnist", "conv*", 0.5, 100, 2, Recipe(2, 0.1), Recipe(1, 0.1))
    spec = draft.spec()
    assert spec.layers == ("conv1", "conv2", "conv3")
    assert spec.ratios == (0.5, 0.5, 0.5)
