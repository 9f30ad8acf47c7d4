"""Batch norms folded into convolutions for an evaluation, against the same networks as they are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.work.describe import describe_model
from engine.work.models import build_model
from engine.work.packs.folding import foldable, folded

torch.set_num_threads(1)


def _used(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A network whose norms are far from those that do nothing."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(shape) * 2 + 1)
    return network.eval()


@pytest.mark.parametrize(("name", "pairs"), [("resnet20@8", 19), ("vgg11@16", 8)])
def test_a_folded_network_computes_the_same(name: str, pairs: int) -> None:
    info = describe_model(name)
    network = _used(build_model(info, 10), (8, info.channels, info.size, info.size))
    found = foldable(network)
    assert len(found) == pairs
    images = torch.randn(20, info.channels, info.size, info.size)
    with torch.no_grad():
        plain = network(images)
        exact = copy.deepcopy(network).double()(images.double())
        with folded(network, found) as other:
            norms = [m for m in other.modules() if isinstance(m, nn.BatchNorm2d)]
            assert not norms
            close = other(images)
    scale = exact.abs().max()
    assert (close.double() - exact).abs().max() < 1e-5 * scale
    # Rounding is no worse than that of the network as it is.
    assert (close.double() - exact).abs().max() < 3 * (plain.double() - exact).abs().max()


def test_afterwards_a_network_is_as_before_even_if_the_evaluation_failed() -> None:
    network = _used(build_model(describe_model("resnet20@8"), 10), (4, 3, 8, 8))
    images, names = torch.randn(3, 3, 8, 8), [name for name, _ in network.named_modules()]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    parameters = dict(network.named_parameters())
    expected = network(images)
    with pytest.raises(KeyboardInterrupt), folded(network, foldable(network)):
        raise KeyboardInterrupt
    assert [name for name, _ in network.named_modules()] == names
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(own is parameters[name] for name, own in network.named_parameters())
    assert torch.equal(network(images), expected)


class _Awkward(nn.Module):
    """Convolutions that something else reads too, that come twice, and that come after."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.twice, self.twice_norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.norm_before, self.last = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)
        self.batchwise, self.batchwise_norm = (
            nn.Conv2d(2, 2, 1),
            nn.BatchNorm2d(2, track_running_stats=False),
        )

    def forward(self, images: Tensor) -> Tensor:
        maps = self.first(images)
        maps = functional.relu(self.first_norm(maps)) + maps
        maps = self.twice_norm(self.twice(self.twice(maps)))
        maps = self.last(self.norm_before(maps))
        return self.batchwise_norm(self.batchwise(maps))


def test_what_is_read_elsewhere_too_is_left_as_it_is() -> None:
    assert foldable(_Awkward()) == ()


class _Winding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.norm(self.conv(images))
        return maps if maps.sum() > 0 else -maps


def test_a_network_that_cannot_be_followed_is_left_as_it_is() -> None:
    assert foldable(_Winding()) == ()
