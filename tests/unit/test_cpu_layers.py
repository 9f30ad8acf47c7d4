"""Layers of our own for training on a CPU, against torch's in float64 and as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.work.cpu_layers import convolutions, norms
from engine.work.cpu_layers.convolutions import NarrowConv, is_narrow
from engine.work.cpu_layers.kernels import ADDED, FORKED, PLAIN, RECTIFIED, block_rows
from engine.work.cpu_layers.memory import keep_freed
from engine.work.cpu_layers.norms import NormThen
from engine.work.cpu_layers.shortcuts import PaddedPart

torch.set_num_threads(1)
_LAST = torch.channels_last


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small maps are done by layers of our own, too."""
    monkeypatch.setattr(convolutions, "_WORTH", 0)
    monkeypatch.setattr(norms, "_WORTH", 0)


def _maps(*shape: int, requires_grad: bool = False) -> Tensor:
    return (
        (torch.randn(shape) * 2 + 1).contiguous(memory_format=_LAST).requires_grad_(requires_grad)
    )


def _norm(channels: int, **told: Any) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, **told)
    if norm.affine:
        nn.init.uniform_(norm.weight, -1.5, 1.5)
        nn.init.normal_(norm.bias)
    return norm


def _by_torch(norm: nn.Module, maps: Tensor, shortcut: Tensor | None, kind: str) -> Tensor:
    maps = norm(maps) if shortcut is None else norm(maps) + shortcut
    return maps if kind == PLAIN else functional.relu(maps)


def _close(one: Tensor, exact: Tensor, tolerance: float, least: float = 1e-6) -> None:
    scale = exact.abs().max().clamp(min=least)
    assert (one.double() - exact).abs().max() <= tolerance * scale


SHAPES = [
    (5, 1, 9, 9),
    (3, 3, 7, 5),
    (9, 8, 16, 16),
    (128, 16, 8, 9),
    (3, 17, 3, 3),
    (70, 64, 4, 4),
]


@pytest.mark.parametrize("kind", [PLAIN, RECTIFIED, ADDED, FORKED])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_norm_and_what_follows_round_no_worse_than_float32_must(
    shape: tuple[int, ...], kind: str
) -> None:
    torch.manual_seed(0)
    norm = _norm(shape[1])
    exact_norm = copy.deepcopy(norm).double()
    given = [_maps(*shape) for _ in range(2 if kind in (ADDED, FORKED) else 1)]
    own = [maps.clone().requires_grad_() for maps in given]
    exact = [maps.double().requires_grad_() for maps in given]
    shortcuts = (*own[1:], None)[0], (*exact[1:], None)[0]

    out = NormThen(norm, kind)(own[0], shortcuts[0])
    gradients = [_maps(*shape) for _ in range(2 if kind == FORKED else 1)]
    whole = exact_norm(exact[0])
    whole = whole if shortcuts[1] is None else whole + shortcuts[1]
    if kind == FORKED:
        assert torch.equal(*out)
        torch.autograd.backward(out, gradients)
        out = out[0]
    else:
        out.backward(*gradients)
    if kind != PLAIN:
        # What float32 finds not to be positive has no gradient in float64, either.
        whole = whole * (out > 0)
    whole.backward(sum(gradient.double() for gradient in gradients))

    assert out.is_contiguous(memory_format=_LAST)
    _close(out.detach(), whole.detach(), 1e-6)
    for one, other in zip(own, exact, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        _close(one.grad, other.grad, 3e-6)
    for name, parameter in norm.named_parameters():
        found, wanted = parameter.grad, exact_norm.get_parameter(name).grad
        assert found is not None
        assert wanted is not None
        # What is summed up may cancel, what it is rounded by does not.
        _close(found, wanted, 1e-6, float(sum(g.abs().sum() for g in gradients)) / shape[1])
    for name, buffer in norm.named_buffers():
        _close(buffer, exact_norm.get_buffer(name).double(), 1e-6)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    "told",
    [{"affine": False}, {"momentum": None}, {"track_running_stats": False}, {"momentum": 0.3}],
    ids=str,
)
def test_a_norm_is_as_it_was_told_to_be(told: dict[str, Any]) -> None:
    torch.manual_seed(0)
    norm = _norm(8, **told)
    other = copy.deepcopy(norm)
    for _ in range(3):
        maps = _maps(6, 8, 5, 5)
        own, plain = (maps.clone().requires_grad_() for _ in range(2))
        out, expected = NormThen(norm, RECTIFIED)(own), functional.relu(other(plain))
        torch.testing.assert_close(out, expected)
        torch.autograd.backward((out, expected), (maps, maps))
        torch.testing.assert_close(own.grad, plain.grad, rtol=1e-4, atol=1e-5)
    assert list(norm.state_dict()) == list(other.state_dict())
    torch.testing.assert_close(norm.state_dict(), other.state_dict())


def test_a_large_mean_does_not_cost_the_variance() -> None:
    torch.manual_seed(0)
    shape = (40, 8, 32, 32)
    assert 3 * block_rows(8) < 40 * 32 * 32
    far = (torch.randn(shape) + torch.linspace(-3e3, 3e3, 40)[:, None, None, None]) + 1e4
    maps = far.contiguous(memory_format=_LAST)
    norm, plain = nn.BatchNorm2d(8, momentum=1.0), nn.BatchNorm2d(8, momentum=1.0)
    NormThen(norm, PLAIN)(maps)
    plain(maps)
    exact = maps.double().var((0, 2, 3))
    assert norm.running_var is not None
    assert plain.running_var is not None
    off = ((norm.running_var - exact) / exact).abs().max()
    assert off < 1e-6
    assert off <= ((plain.running_var - exact) / exact).abs().max() + 1e-7


@pytest.mark.parametrize("kind", [PLAIN, RECTIFIED, ADDED])
@pytest.mark.parametrize("where", ["maps", "gradient"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_spreads_as_in_torch(kind: str, where: str, bad: float) -> None:
    torch.manual_seed(0)
    tensors = {"maps": _maps(3, 17, 5, 5), "gradient": _maps(3, 17, 5, 5).abs()}
    tensors[where][1, 4, 2, 2] = tensors[where][2, 16, 4, 4] = bad
    found = []
    for way in (NormThen(norm := nn.BatchNorm2d(17), kind), None):
        own, shortcut = tensors["maps"].clone().requires_grad_(), torch.ones(3, 17, 5, 5)
        added = shortcut if kind == ADDED else None
        norm.zero_grad()
        out = _by_torch(norm, own, added, kind) if way is None else way(own, added)
        out.backward(tensors["gradient"])
        found.append([out, own.grad, norm.weight.grad, norm.bias.grad])
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one.isfinite(), other.isfinite())
        assert torch.equal(one.isnan(), other.isnan())


def _cast(step: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return step(maps.bfloat16())


@pytest.mark.parametrize(
    "ours",
    [
        lambda step, maps: step(maps),
        lambda step, maps: step(maps.contiguous()),
        lambda step, maps: step.double()(maps.double()),
        lambda step, maps: step.eval()(maps),
        _cast,
    ],
    ids=["ours", "order", "float64", "eval", "bf16"],
)
def test_what_the_kernels_do_not_know_is_left_to_torch(
    ours: Callable[[nn.Module, Tensor], Tensor], request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(0)
    maps, norm = _maps(6, 8, 6, 6), _norm(8)
    conv = nn.Conv2d(8, 4, 3, padding=1, bias=False).to(memory_format=_LAST)
    used = []
    for step, plain in (
        (NormThen(norm, RECTIFIED), nn.Sequential(copy.deepcopy(norm), nn.ReLU())),
        (NarrowConv(conv), nn.Sequential(copy.deepcopy(conv))),
    ):
        own, others = (maps.clone().requires_grad_() for _ in range(2))
        out, expected = ours(step, own), ours(plain, others)
        used.append(type(out.grad_fn).__name__ in ("_OperationBackward", "_ConvolutionBackward"))
        assert out.dtype == expected.dtype
        torch.testing.assert_close(out, expected)
    # Convolutions do the same in training and in evaluations.
    known = {"ours": [True, True], "eval": [False, True]}
    assert used == known.get(request.node.callspec.id, [False, False])


def test_maps_that_are_not_worth_it_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    maps = _maps(2, 4, 8, 8, requires_grad=True)
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False).to(memory_format=_LAST)
    outs = NormThen(nn.BatchNorm2d(4), RECTIFIED)(maps), NarrowConv(conv)(maps)
    names = [type(out.grad_fn).__name__ for out in outs]
    assert names == ["ReluBackward0", "ConvolutionBackward0"]


def test_a_single_number_a_channel_is_refused_as_torch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        NormThen(nn.BatchNorm2d(8), RECTIFIED)(_maps(1, 8, 1, 1))


def test_threads_that_share_maps_change_nothing() -> None:
    torch.manual_seed(0)
    maps, shortcut, gradient = (_maps(41, 16, 30, 30) for _ in range(3))
    assert 5 * block_rows(16) < 41 * 30 * 30
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        norm, own = nn.BatchNorm2d(16), maps.clone().requires_grad_()
        out = NormThen(norm, ADDED)(own, shortcut)
        out.backward(gradient)
        found.append([out, own.grad, norm.weight.grad, norm.bias.grad, norm.running_var])
    torch.set_num_threads(1)
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of sixteen lanes, whatever this machine has."""
    monkeypatch.setattr(convolutions, "_LANES", 16)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("size", [(3, 3), (5, 5), (1, 3)], ids=str)
@pytest.mark.parametrize(("inputs", "filters"), [(16, 8), (8, 16), (3, 7), (7, 1), (20, 4)])
def test_two_pixels_at_a_time_are_the_same_convolution(
    inputs: int, filters: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    for padding in {(size[0] // 2, size[1] // 2), (0, size[1] - 1), (0, 0)}:
        conv = nn.Conv2d(inputs, filters, size, padding=padding, bias=False)
        conv = conv.to(memory_format=_LAST)
        assert is_narrow(conv)
        exact = copy.deepcopy(conv).double()
        own = _maps(3, inputs, 6, 10, requires_grad=True)
        maps = own.detach().double().requires_grad_()
        out, expected = NarrowConv(conv)(own), exact(maps)
        assert type(out.grad_fn).__name__ == "_ConvolutionBackward"
        _close(out, expected, 1e-6)
        gradient = torch.randn(out.shape)
        out.backward(gradient)
        expected.backward(gradient.double())
        for one, other in ((own, maps), (conv.weight, exact.weight)):
            assert one.grad is not None
            assert other.grad is not None
            assert one.grad.shape == other.grad.shape
            _close(one.grad, other.grad, 2e-6)


@pytest.mark.usefixtures("wide")
def test_maps_that_do_not_come_in_pairs_are_left_to_torch() -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    maps = _maps(2, 8, 5, 5, requires_grad=True)
    assert torch.equal(NarrowConv(conv)(maps), conv(maps))
    for other in (
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.Conv2d(8, 8, 1, bias=False),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Conv2d(8, 8, 3, 2, padding=1, bias=False),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(8, 8, 3, padding="same", bias=False),
        nn.Conv2d(8, 8, 3, padding=3, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect", bias=False),
    ):
        assert not is_narrow(other)


def test_a_part_with_zeros_around_is_as_torch_makes_it() -> None:
    torch.manual_seed(0)
    index = (slice(None), slice(None), slice(None, None, 2), slice(None, None, 2))
    padding, maps = (0, 0, 0, 0, 3, 3), _maps(4, 5, 7, 7)
    own, other = (maps.clone().requires_grad_() for _ in range(2))
    out, expected = PaddedPart(index, padding)(own), functional.pad(other[index], padding)
    gradient = _maps(*out.shape)
    torch.autograd.backward((out, expected), (gradient, gradient))
    assert torch.equal(out, expected)
    assert own.grad is not None
    assert other.grad is not None
    assert torch.equal(own.grad, other.grad)
    assert own.grad.is_contiguous(memory_format=_LAST)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("kind", [PLAIN, RECTIFIED, ADDED])
def test_gradients_have_gradients(kind: str) -> None:
    torch.manual_seed(0)
    maps = _maps(4, 4, 6, 6)
    index = (slice(None), slice(None), slice(None, None, 2), slice(None, None, 2))
    norm = _norm(4)
    conv = nn.Conv2d(4, 4, 3, padding=1, bias=False).to(memory_format=_LAST)
    found = []
    for own in (True, False):
        given = maps.clone().requires_grad_()
        if own:
            added = PaddedPart(index, (0, 3, 0, 3))(given)
            out = NormThen(norm, kind)(NarrowConv(conv)(given), added if kind == ADDED else None)
        else:
            added = functional.pad(given[index], (0, 3, 0, 3))
            out = _by_torch(norm, conv(given), added if kind == ADDED else None, kind)
        inputs = (given, norm.weight, norm.bias, conv.weight)
        first = torch.autograd.grad((out.pow(2) * maps).sum(), inputs, create_graph=True)
        slope = sum(gradient.pow(2).sum() for gradient in first)
        assert isinstance(slope, Tensor)
        found.append([*first, *torch.autograd.grad(slope, inputs)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())


def test_the_c_library_is_asked_once() -> None:
    assert keep_freed() is keep_freed()
