"""What can be chosen, against the protocol's own facts."""

import pytest

from engine.catalog import DATASETS, MODELS, find_dataset, find_model
from engine.errors import UsageError
from engine.presets import PRESETS, QUICK, find_preset


def test_lenet5_mini_is_the_papers():
    model = find_model("lenet5-mini")
    assert [(layer.name, layer.filters) for layer in model.layers] == [
        ("conv1", 10),
        ("conv2", 10),
        ("conv3", 10),
    ]
    assert (model.channels, model.size, model.hidden) == (1, 32, (10,))


def test_lenet5_is_the_classic_one():
    model = find_model("lenet5")
    assert [layer.filters for layer in model.layers] == [6, 16, 120]
    assert model.hidden == (84,)


@pytest.mark.parametrize(("name", "more"), [("d6", 1), ("d7", 2), ("d8", 3)])
def test_depth_variants_have_more_linear_layers(name, more):
    assert len(find_model(f"lenet5-mini-{name}").hidden) == 1 + more


@pytest.mark.parametrize("width", [20, 30, 40])
def test_width_variants_widen_conv1(width):
    assert [layer.filters for layer in find_model(f"lenet5-mini-w{width}").layers] == [
        width,
        10,
        10,
    ]


@pytest.mark.parametrize("typed", ["lenet5-mini", "LeNet5-Mini", " lenet5_mini "])
def test_names_forgive_case_and_underscores(typed):
    assert find_model(typed).name == "lenet5-mini"


@pytest.mark.parametrize(
    ("find", "typed", "says"),
    [
        (find_model, "lenet5-mimi", "did you mean lenet5-mini?"),
        (find_model, "qqqq", "choose one of lenet5-mini,"),
        (find_dataset, "mnits", "did you mean mnist?"),
        (find_dataset, "", "choose one of mnist-5k,"),
        (find_preset, "quik", "did you mean quick?"),
        (find_preset, "zzz", "oracle-tui presets"),
        (find_model("lenet5").layer, "conv4", "lenet5 has no layer"),
        (find_model("lenet5").layer, "fc9zz", "choose one of conv1, conv2, conv3"),
    ],
)
def test_unknown_names_are_answered_with_what_there_is(find, typed, says):
    with pytest.raises(UsageError) as caught:
        find(typed)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_model_can_be_studied_on_some_data_set():
    channels = {data.channels for data in DATASETS.values()}
    # Grey images are repeated for models of three channels.
    assert all(model.channels in {*channels, 3} for model in MODELS.values())
    assert all(len(data.mean) == len(data.std) == data.channels for data in DATASETS.values())


def test_keys_are_the_names():
    for entries in (MODELS, DATASETS, PRESETS):
        assert all(key == entry.name for key, entry in entries.items())


def test_quick_preset_is_conv1_at_a_fifth():
    assert find_preset("quick") is QUICK
    assert QUICK.spec.space.formula() == "C(10,2) = 45"
    assert QUICK.spec.dataset == "mnist-5k"
    assert QUICK.spec.layers == ("conv1",)
