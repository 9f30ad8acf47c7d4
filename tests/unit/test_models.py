"""The networks of the catalog: shapes, names, and the split at a pruned layer."""

from __future__ import annotations

import pytest
import torch

from engine.catalog import MODELS, find_model
from engine.errors import UsageError
from engine.work.models import build_model

torch.set_num_threads(1)


@pytest.mark.parametrize("name", [name for name in MODELS if "lenet" in name])
def test_every_model_of_the_catalog_has_its_layers_and_gives_logits(name: str) -> None:
    info = find_model(name)
    network = build_model(info, 10)
    state = network.state_dict()
    for layer in info.layers:
        assert state[f"{layer.name}.weight"].shape[0] == layer.filters
    linears = [key for key in state if key.startswith("fc") and key.endswith("weight")]
    assert [state[key].shape[0] for key in linears] == [*info.hidden, 10]
    assert network(torch.zeros(3, 1, 32, 32)).shape == (3, 10)


def test_mini_is_the_protocols_network() -> None:
    shapes = {
        name: tuple(t.shape)
        for name, t in build_model(find_model("lenet5-mini"), 10).state_dict().items()
    }
    assert shapes == {
        "conv1.weight": (10, 1, 5, 5),
        "conv1.bias": (10,),
        "conv2.weight": (10, 10, 5, 5),
        "conv2.bias": (10,),
        "conv3.weight": (10, 10, 5, 5),
        "conv3.bias": (10,),
        "fc1.weight": (10, 10),
        "fc1.bias": (10,),
        "fc2.weight": (10, 10),
        "fc2.bias": (10,),
    }


def test_forward_is_the_protocols_sequence_of_layers() -> None:
    torch.manual_seed(0)
    network = build_model(find_model("lenet5-mini-d6"), 10)
    parts = dict(network.named_children())
    plain = torch.nn.Sequential(
        parts["conv1"], torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        parts["conv2"], torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        parts["conv3"], torch.nn.ReLU(), torch.nn.Flatten(),
        parts["fc1"], torch.nn.ReLU(), parts["fc2"], torch.nn.ReLU(), parts["fc3"],
    )  # fmt: skip
    images = torch.randn(4, 1, 32, 32)
    assert torch.equal(network(images), plain(images))


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3"])
def test_before_and_after_a_layer_make_the_whole_network(layer: str) -> None:
    torch.manual_seed(1)
    network = build_model(find_model("lenet5"), 10)
    images = torch.randn(4, 1, 32, 32)
    maps = network.before(images, layer)
    assert maps.shape[1] == find_model("lenet5").layer(layer).filters
    assert torch.equal(network.after(maps, layer), network(images))


def test_slim_widths_reach_the_next_layer() -> None:
    network = build_model(find_model("lenet5-mini"), 10, {"conv1": 7, "conv3": 2})
    assert network.state_dict()["conv2.weight"].shape == (10, 7, 5, 5)
    assert network.state_dict()["fc1.weight"].shape == (10, 2)
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("kept", [{"conv1": 0}, {"conv1": 11}, {"conv9": 3}])
def test_impossible_widths_are_refused(kept: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="conv"):
        build_model(find_model("lenet5-mini"), 10, kept)
