"""What candidates share is computed once, and scores are what networks give by themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.catalog import find_dataset
from engine.work.datasets import ImageData, load_dataset
from engine.work.describe import describe_model
from engine.work.models import build_model, network_of, slice_plan
from engine.work.packs.solo import evaluate_network
from engine.work.prefix import SharedPrefix
from engine.work.scoring import pruned_scores
from engine.work.surgery import candidate_states, take_network

torch.set_num_threads(1)

INFO = describe_model("resnet20@16")


@pytest.fixture(scope="module")
def data() -> ImageData:
    whole = load_dataset(find_dataset("mnist-5k"), size=16, channels=3, download=False)
    return replace(
        whole, train_images=whole.train_images[:600], train_labels=whole.train_labels[:600]
    )


def _tensors(*layers: str) -> set[str]:
    plan = slice_plan(INFO, 10)
    return {part.tensor for name in layers for part in (*plan[name].own, *plan[name].following)}


def test_all_before_the_first_pruned_layer_is_shared(data: ImageData) -> None:
    whole = build_model(INFO, 10).eval()
    images = data.train_images[:2]
    with torch.no_grad():
        late = SharedPrefix(whole, _tensors("layer3.2.conv1"), images)
        both = SharedPrefix(whole, _tensors("layer3.2.conv1", "layer1.1.conv1"), images)
    assert late.modules == ("conv1", "bn1", "layer1", "layer2", "layer3.0", "layer3.1")
    assert both.modules == ("conv1", "bn1", "layer1.0")


def test_candidates_of_a_late_layer_do_not_compute_the_early_ones_again(data: ImageData) -> None:
    whole = build_model(INFO, 10).eval()
    images = data.train_images[:4]
    with torch.no_grad():
        prefix = SharedPrefix(whole, _tensors("layer3.2.conv1"), images)
        ran: list[int] = []
        whole.layer1.register_forward_hook(lambda *_: ran.append(1))
        shortened = prefix.shorten(network_of(INFO, 10, whole.state_dict()).eval())
        plain = network_of(INFO, 10, whole.state_dict()).eval()
        prefix.compute(images)
        first = shortened(images)
        assert torch.equal(first, shortened(images))
        assert torch.equal(first, plain(images))
    assert ran == [1]


class _Overwriting(nn.Module):
    """Adds to what its first part gave, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        inner = self.second(maps)
        maps += functional.relu(inner)
        return self.last(maps.mean((2, 3)))


def test_networks_that_overwrite_what_they_share_get_copies() -> None:
    whole, plain, shortened = (_Overwriting().eval() for _ in range(3))
    for network in (plain, shortened):
        network.load_state_dict(whole.state_dict())
    images = torch.randn(2, 1, 5, 5)
    with torch.no_grad():
        prefix = SharedPrefix(whole, {"second.weight"}, images)
        assert prefix.modules == ("first",)
        prefix.shorten(shortened)
        assert prefix.holds_for(plain, shortened, images)
        prefix.compute(images)
        assert torch.equal(shortened(images), plain(images))
        assert torch.equal(shortened(images), plain(images))


@pytest.mark.parametrize("wiring", ["correct", "released"])
def test_scores_are_those_of_each_network_alone(data: ImageData, wiring: str) -> None:
    plan = slice_plan(INFO, 10)
    layers = ("layer2.1.conv1", "layer3.0.conv1")
    torch.manual_seed(0)
    state = dict(build_model(INFO, 10).state_dict())
    candidates = [(tuple(range(n, n + 16)), tuple(range(2 * n, 2 * n + 32))) for n in (0, 3, 7, 11)]
    one, two = (
        pruned_scores(INFO, state, plan, layers, candidates, data, wiring=wiring, threads=threads)
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one.loss, two.loss)
    states = candidate_states(state, plan, layers, candidates, wiring)
    for place in range(len(candidates)):
        network = network_of(INFO, 10, take_network(states, place))
        loss, accuracy = evaluate_network(network, *data.split("train"), 100)
        assert one.loss[place] == pytest.approx(loss, abs=1e-6)
        assert one.accuracy[place] == accuracy
    alone = pruned_scores(INFO, state, plan, layers, candidates[2:3], data, wiring=wiring)
    assert alone.loss[0] == one.loss[2]
