"""Packs of networks with batch norms: alone, side by side, resumed, as plain torch trains them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine.catalog import find_dataset
from engine.recipe import Recipe
from engine.work.datasets import ImageData, load_dataset
from engine.work.describe import describe_model
from engine.work.models import build_model, network_of, slice_plan
from engine.work.packs import MOMENTUM, Pack, make_pack
from engine.work.packs import network_of as state_of
from engine.work.surgery import candidate_states, take_network

torch.set_num_threads(1)

INFO = describe_model("resnet20@8")
RECIPE = Recipe(epochs=1, learning_rate=0.05, batch_size=32, weight_decay=5e-4)
LAYERS = ("layer1.0.conv1", "layer3.1.conv1")
CANDIDATES = [(tuple(range(n, n + 8)), tuple(range(3 * n, 3 * n + 30))) for n in (0, 4, 8)]
ORDER = np.random.default_rng(0).permutation(200)


@pytest.fixture(scope="module")
def data() -> ImageData:
    whole = load_dataset(find_dataset("mnist-5k"), size=8, channels=3, download=False)
    return replace(
        whole,
        train_images=whole.train_images[:200],
        train_labels=whole.train_labels[:200],
        test_images=whole.test_images[:100],
        test_labels=whole.test_labels[:100],
    )


@pytest.fixture(scope="module")
def states() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = dict(build_model(INFO, 10).state_dict())
    return candidate_states(state, slice_plan(INFO, 10), LAYERS, CANDIDATES)


def _trained(pack: Pack, *orders: np.ndarray) -> dict[str, torch.Tensor]:
    for order in orders:
        pack.train(order, 0.05)
    return pack.state()


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_candidate_does_not_depend_on_neighbours_or_threads(
    data: ImageData, states: dict[str, torch.Tensor]
) -> None:
    together = _trained(make_pack(INFO, states, data, RECIPE, threads=2), ORDER)
    one_by_one = _trained(make_pack(INFO, states, data, RECIPE, threads=1), ORDER)
    assert _equal(together, one_by_one)
    middle = {name: tensor[1:2] for name, tensor in states.items()}
    alone = _trained(make_pack(INFO, middle, data, RECIPE, threads=2), ORDER)
    assert _equal(alone, {name: tensor[1:2] for name, tensor in together.items()})


def test_running_statistics_are_kept_over_a_resume(
    data: ImageData, states: dict[str, torch.Tensor]
) -> None:
    whole = make_pack(INFO, states, data, RECIPE, threads=2)
    expected = _trained(whole, ORDER)
    first = _trained(make_pack(INFO, states, data, RECIPE), ORDER[:96])
    assert "layer1.0.bn1.running_var" in first
    assert first["bn1.num_batches_tracked"].tolist() == [3, 3, 3]
    resumed = make_pack(INFO, states, data, RECIPE, threads=2)
    resumed.load_state(first)
    assert _equal(_trained(resumed, ORDER[96:]), expected)
    for split in ("train", "test"):
        assert resumed.evaluate(split).loss.tolist() == whole.evaluate(split).loss.tolist()


def test_it_is_what_plain_torch_does(data: ImageData, states: dict[str, torch.Tensor]) -> None:
    pack = make_pack(INFO, states, data, RECIPE, threads=2)
    found = _trained(pack, ORDER)
    network = network_of(INFO, 10, take_network(states, 2)).train()
    # In the layout of the pack, or sums in another order would drift apart over the steps.
    network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for batch in torch.from_numpy(ORDER).split(32):
        optimiser.zero_grad()
        logits = network(data.train_images[batch])
        functional.cross_entropy(logits, data.train_labels[batch]).backward()
        optimiser.step()
    mine = {name: t for name, t in found.items() if not name.startswith(MOMENTUM)}
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(mine[name][2], tensor, rtol=1e-5, atol=1e-6)
    loss = functional.cross_entropy(network.eval()(data.test_images), data.test_labels).item()
    assert pack.evaluate("test").loss[2] == pytest.approx(loss, abs=1e-5)
    assert set(state_of(found, 2)) == set(network.state_dict())
