"""Facts of models: naming layers, counting, and facts from strangers."""

from __future__ import annotations

import copy
import math

import pytest

from engine.catalog import MODELS, find_model
from engine.entries import entries_of, read_entries
from engine.errors import UsageError
from engine.model_info import ModelInfo
from engine.space import CandidateSpace, count_text
from engine.spec import StudySpec
from engine.study_rules import SpecError

RESNET = find_model("resnet18")


def test_the_papers_resnet56_has_the_size_that_is_published() -> None:
    # 0.85 M parameters, as He et al. (2016) print it for shortcuts without parameters.
    assert find_model("resnet56").count({})[1] == 853_018
    assert find_model("resnet110").count({})[1] == 1_727_962


def test_imagenet_models_have_torchvisions_published_parameters() -> None:
    published = {
        "resnet18": 11_689_512,
        "resnet50": 25_557_032,
        "resnet101": 44_549_160,
        "vit-b16": 86_567_656,
    }
    for name, parameters in published.items():
        assert find_model(name).count({}, 1_000)[1] == parameters


def test_half_the_filters_cost_what_is_counted_by_hand() -> None:
    # One inner convolution of 16 filters on 32 x 32 maps and its reader, 3 x 3 each.
    whole, slim = (find_model("resnet20").count(kept) for kept in ({}, {"layer1.0.conv1": 8}))
    assert whole[0] - slim[0] == 2 * 8 * 16 * 9 * 32 * 32
    assert whole[1] - slim[1] == 2 * 8 * 16 * 9 + 2 * 8


def test_patterns_name_layers_in_the_order_of_the_forward_pass() -> None:
    inner = tuple(f"layer{stage}.{block}.conv1" for stage in (1, 2, 3, 4) for block in (0, 1))
    assert RESNET.matching("layer*.conv1") == inner
    assert RESNET.matching("layer1.?.conv1") == inner[:2]
    assert len(find_model("vgg19").matching("features.*")) == 16
    # A member of layers that are pruned together brings these.
    assert RESNET.matching("layer2.*.conv2") == ("layer2.0.conv2",)
    with pytest.raises(UsageError, match="matches 'block"):
        RESNET.matching("block*")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("layer2.1.conv2", "together with layer2.0.conv2"),
        ("fc", "outputs"),
        ("layer9.0.conv1", "did you mean layer"),
    ],
)
def test_a_layer_that_cannot_be_pruned_says_why(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        RESNET.layer(name)


def test_ratios_can_stand_behind_layers_and_patterns() -> None:
    spec = read_entries(
        {"model": "resnet18", "layers": "layer1.*.conv1:0.5, layer4.*.conv1:.25", "candidates": "3"}
    )
    assert spec.layers == tuple(f"layer{s}.{b}.conv1" for s in (1, 4) for b in (0, 1))
    assert spec.ratios == (0.5, 0.5, 0.25, 0.25)
    assert read_entries(entries_of(spec)) == spec
    lenet = read_entries({"layers": "conv1,conv2", "ratio": "conv2:0.3,conv1:0.5"})
    assert (lenet.layers, lenet.ratios) == (("conv1", "conv2"), (0.5, 0.3))


@pytest.mark.parametrize(
    ("entries", "field", "says"),
    [
        ({"layers": "conv1:2"}, "layers", "between 0 and 1"),
        ({"layers": "conv1:x"}, "layers", "number"),
        ({"layers": "conv1:.5,conv1:.2"}, "layers", "twice"),
        ({"layers": "conv1", "ratio": "conv2:.5"}, "ratio", "conv1"),
        ({"layers": "conv1", "ratio": "conv1:.5,conv2:.5"}, "ratio", "conv2"),
        ({"model": "resnet18", "layers": "fc*"}, "layers", "matches"),
    ],
)
def test_mistakes_in_layers_and_ratios_are_told(
    entries: dict[str, str], field: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        read_entries(entries)
    assert caught.value.field == field


def test_models_bring_what_the_protocol_prunes() -> None:
    spec = read_entries({"model": "resnet56", "ratio": ".5"})
    assert len(spec.layers) == 27
    assert spec.candidates == 1_000
    assert spec.space.formula().startswith("1,000 of C(16,8)^9 x C(32,16)^9 x C(64,32)^9 = ")
    assert spec.pretrain.batch_size == 128
    assert len(read_entries({"model": "vgg19", "ratio": ".5"}).layers) == 16
    assert len(read_entries({"model": "resnet50", "ratio": ".4375"}).layers) == 33


def test_a_huge_space_is_sampled_and_told_in_a_word() -> None:
    spec = read_entries({"model": "vit-b16", "ratio": ".5", "candidates": "2"})
    one, other = spec.space[0], spec.space[1]
    assert one != other
    assert [len(gone) for gone in one] == [math.ceil(n / 2) for n in spec.space.filters]
    assert len(spec.space.formula()) < 800
    assert count_text(10**15 + 1) == "1.0e+15"
    assert count_text(math.comb(3072, 1536)).endswith("e+922")


def test_large_samples_are_drawn_once() -> None:
    spec = read_entries({"model": "resnet56", "ratio": ".5"})
    assert spec.space is StudySpec.from_json(spec.to_json()).space
    assert isinstance(spec.space, CandidateSpace)


def test_facts_survive_json_and_damage_is_told() -> None:
    facts = RESNET.to_json()
    assert ModelInfo.from_json(facts) == RESNET
    for damage in (
        {"layers": [["a", 0, "filters", []]]},
        {"layers": [["a", 4, "filters", []], ["a", 4, "filters", []]]},
        {"layers": [["a\n", 4, "filters", []]]},
        {"layers": "conv1"},
        {"cost": [[1, 1, ["nowhere"]]]},
        {"cost": [[-1, 1, []]]},
        {"size": True},
        {"size": 1 << 60},
        {"title": "x" * 1_000},
        {"pretrain": {}},
    ):
        with pytest.raises(UsageError):
            ModelInfo.from_json({**copy.deepcopy(facts), **damage})
    with pytest.raises(UsageError):
        ModelInfo.from_json({})


def test_a_spec_of_an_outside_model_says_all_a_reader_needs() -> None:
    info = ModelInfo.from_json({**RESNET.to_json(), "name": "timm:never_seen_here"})
    spec = read_entries({"model": "resnet18", "candidates": "2"}).with_(
        model="timm:never_seen_here", facts=info
    )
    told = spec.to_json()
    assert StudySpec.from_json(told) == spec
    assert StudySpec.from_json(told).model_info == info
    del told["facts"]
    with pytest.raises(UsageError, match="never_seen_here"):
        StudySpec.from_json(told)
    with pytest.raises(UsageError, match="not those of"):
        spec.with_(facts=RESNET)
    # Facts of a stranger never stand in for the catalog's.
    liar = {**read_entries({}).to_json(), "facts": {**RESNET.to_json(), "name": "lenet5-mini"}}
    assert StudySpec.from_json(liar).model_info is MODELS["lenet5-mini"]
