"""Whole networks rewritten for training on a CPU, against the same networks as they are."""

from __future__ import annotations

import copy
import operator
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from engine.recipe import Recipe
from engine.work import cpu_layers
from engine.work.cpu_layers import convolutions, norms, quicker
from engine.work.cpu_layers.convolutions import NarrowConv
from engine.work.cpu_layers.kernels import ADDED, FORKED, PLAIN, RECTIFIED
from engine.work.cpu_layers.norms import NormThen
from engine.work.cpu_layers.shortcuts import PaddedPart
from engine.work.datasets import ImageData
from engine.work.describe import describe_model
from engine.work.models import build_model
from engine.work.packs import make_pack, warm_up
from engine.work.packs.choose import compiles
from engine.work.packs.solo import SoloPack

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small maps are done by layers of our own, too."""
    monkeypatch.setattr(convolutions, "_WORTH", 0)
    monkeypatch.setattr(norms, "_WORTH", 0)


def _parts(network: nn.Module) -> Counter[str]:
    found = [module for module in network.modules() if isinstance(module, NormThen)]
    others = [m for m in network.modules() if isinstance(m, NarrowConv | PaddedPart)]
    return Counter([*(m.kind for m in found), *(type(m).__name__ for m in others)])


def _trained(
    network: nn.Module, run: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], rate: float
) -> list[float]:
    optimiser = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    losses = []
    for images, labels in batches:
        optimiser.zero_grad()
        loss = functional.cross_entropy(run(images), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("name", "layer", "parts"),
    [
        (
            "resnet20@16",
            "layer{}.{}.conv1",
            # The last block's maps have one reader.
            {RECTIFIED: 10, FORKED: 8, ADDED: 1, "PaddedPart": 2, "NarrowConv": 6},
        ),
        ("vgg11@16", "", {RECTIFIED: 8}),
        # Of the three shortcuts with a norm of their own, this is all that there is to it.
        ("resnet18@32", "", {RECTIFIED: 9, FORKED: 7, ADDED: 1, PLAIN: 3}),
    ],
)
def test_steps_of_a_rewritten_network_are_those_of_the_network(
    name: str, layer: str, parts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "_LANES", 16)
    torch.manual_seed(0)
    info = describe_model(name)
    halves = {
        layer.format(stage, block): 8 * 2 ** (stage - 1)
        for stage in (1, 2, 3)
        for block in range(3)
        if layer
    }
    network = build_model(info, 10, halves).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(network).double()
    plain = copy.deepcopy(network)
    rewritten = quicker(network)
    assert _parts(rewritten) == parts
    batches = [
        (torch.randn(16, info.channels, info.size, info.size), torch.randint(0, 10, (16,)))
        for _ in range(3)
    ]
    losses = _trained(network, rewritten, batches, 0.001)
    expected = _trained(exact, exact, [(x.double(), y) for x, y in batches], 0.001)
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    others = _trained(plain, plain, batches, 0.001)
    assert list(network.state_dict()) == list(exact.state_dict())

    def off(state: dict[str, Tensor]) -> float:
        away = [
            (state[key].double() - tensor).norm() / tensor.double().norm().clamp(min=1e-3)
            for key, tensor in exact.state_dict().items()
        ]
        return float(torch.stack(away).max())

    # Not further from float64 than torch is in float32, but for the luck of a ReLU near zero.
    assert off(network.state_dict()) < max(5 * off(plain.state_dict()), 1e-4)
    assert np.isfinite(others).all()


class _Block(nn.Module):
    """A norm, and whatever is done with it."""

    def __init__(self, then: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 20, 3)
        self.norm = nn.BatchNorm2d(20)
        self.relu = nn.ReLU(inplace=True)
        self.then = then

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        return self.then(self.norm(maps), maps * 2)


@pytest.mark.parametrize(
    ("then", "parts"),
    [
        (lambda norm, other: functional.relu(norm), [RECTIFIED]),
        (lambda norm, other: norm.relu_(), [RECTIFIED]),
        (lambda norm, other: torch.relu(other + norm), [ADDED]),
        (lambda norm, other: functional.relu_(operator.iadd(norm, other)), [ADDED]),
        (lambda norm, other: norm.add_(other).relu(), [ADDED]),
        # Here something else is changed in place, read besides, or added differently.
        (lambda norm, other: torch.relu(other.add_(norm)), [PLAIN]),
        (lambda norm, other: functional.relu(norm) + norm, [PLAIN]),
        (lambda norm, other: (total := norm + other).relu() + total, [PLAIN]),
        (lambda norm, other: torch.relu(torch.add(norm, other, alpha=2)), [PLAIN]),
        (lambda norm, other: torch.relu(norm + norm), [PLAIN]),
        (lambda norm, other: torch.relu(norm + 1), [PLAIN]),
        (lambda norm, other: functional.relu6(norm), [PLAIN]),
        (lambda norm, other: torch.relu(norm + other[:, :, :1]), [ADDED]),
    ],
)
def test_only_what_alone_reads_a_norm_is_joined_to_it(
    then: Callable[[Tensor, Tensor], Tensor], parts: list[str]
) -> None:
    torch.manual_seed(0)
    network = _Block(then).to(memory_format=torch.channels_last)
    plain = copy.deepcopy(network)
    rewritten = quicker(network)
    assert [m.kind for m in rewritten.modules() if isinstance(m, NormThen)] == parts
    images = torch.randn(4, 3, 9, 9)
    out, expected = rewritten(images), plain(images)
    torch.testing.assert_close(out, expected)
    torch.autograd.backward((out, expected), (out.detach(), out.detach()))
    for name, parameter in network.named_parameters():
        other = plain.get_parameter(name).grad
        assert other is not None
        torch.testing.assert_close(parameter.grad, other, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(network.state_dict(), plain.state_dict())


class _Deciding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images) if images.sum() > 0 else images


class _Drawing(_Deciding):
    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images) * torch.rand(1)


class _Listening(_Deciding):
    def __init__(self) -> None:
        super().__init__()
        self.norm.register_forward_hook(lambda module, images, out: out + 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(images)


@pytest.mark.parametrize(
    "network",
    [_Deciding(), _Drawing(), _Listening(), nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU())],
    ids=lambda network: type(network).__name__,
)
def test_a_network_that_cannot_be_rewritten_is_left_as_it_is(network: nn.Module) -> None:
    assert quicker(network) is network


def _pack(network: nn.Module, data: ImageData) -> SoloPack:
    states = {name: tensor[None].clone() for name, tensor in network.state_dict().items()}
    pack = make_pack(describe_model("resnet20@8"), states, data, Recipe(1, 0.05, batch_size=8))
    assert isinstance(pack, SoloPack)
    return pack


def test_packs_train_what_was_rewritten_where_kernels_can_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    info = describe_model("resnet20@8")
    network = build_model(info, 10)
    images, labels = torch.randn(16, 3, 8, 8), torch.randint(0, 10, (16,))
    data = ImageData(images, labels, images, labels, 10, "")
    heard: list[tuple[int, int]] = []
    assert compiles(info, data, "float32")
    assert not compiles(info, data, "bf16")
    warm_up(info, {}, data, lambda *done: heard.append(done))
    assert heard == [(done, 12) for done in range(13)]
    own = _pack(network, data)
    monkeypatch.setattr(cpu_layers, "available", lambda: (False, "There is no numba."))
    assert not compiles(info, data, "float32")
    plain = _pack(network, data)
    states = []
    for pack, rewritten in ((own, True), (plain, False)):
        pack.train(np.arange(16), 0.05)
        assert (pack._trained[0] is not pack.networks[0]) is rewritten
        assert isinstance(pack._trained[0], fx.GraphModule) is rewritten
        states.append(pack.state())
    assert list(states[0]) == list(states[1])
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=1e-3, atol=1e-4)
    # Both go on from what the other one left.
    own.load_state(states[1])
    plain.load_state(states[0])
    np.testing.assert_allclose(own.evaluate("test").loss, plain.evaluate("test").loss, rtol=1e-3)
