"""What a filter is worth, by hand on a two-layer net: magnitudes, gradients, curvatures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import distance
from torch import nn

from engine.entries import read_entries
from engine.work.criteria import Subject
from engine.work.criteria.filters import gates, in_average_filters, per_filter, removed_importance
from engine.work.criteria.magnitude import fpgm, l1_norm, l2_norm, lamp
from engine.work.criteria.sensitivity import (
    brain_damage,
    fisher_diagonal,
    grasp,
    hessian_diagonal,
    hessian_vector,
    loss_gradient,
    snip,
    taylor,
)
from engine.work.surgery import LayerPlan, Slice
from tests.benches import bench_of

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(bench_of(read_entries({"layers": "conv1"})))


# A net of two linear layers without biases: x -> relu(A x) -> B h, with two classes.
FIRST = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]])
SECOND = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
IMAGE, LABEL = torch.tensor([[1.0, 1.0]]), torch.tensor([0])


@pytest.fixture
def two_layers() -> nn.Sequential:
    network = nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    network.load_state_dict({"0.weight": FIRST, "2.weight": SECOND})
    return network.eval()


# By hand: A x = (3, 2, 1), all positive; logits B h = (5, 1); p = softmax, so with class 0
# d loss / d logits = (p0 - 1, p1) = (-q, q) with q = 1 / (1 + e^4).
Q = 1 / (1 + math.exp(4))
# d loss / d h = B^T (-q, q) = q (-1, 1, -3); times x = (1, 1) for each row of A.
BY_HAND_GRADIENT = Q * np.array([[-1.0, -1.0], [1.0, 1.0], [-3.0, -3.0]])
# The logits' Hessian is q (1 - q) v v^T with v = (1, -1); through B: u = B^T v = (1, -1, 3), and
# ReLU and A x are linear here, so H = q (1 - q) (u x^T)(u x^T)^T; its diagonal has u^2 x^2.
CURVATURE = Q * (1 - Q)
BY_HAND_DIAGONAL = CURVATURE * np.array([[1.0, 1.0], [1.0, 1.0], [9.0, 9.0]])


def test_gradient_by_hand(two_layers: nn.Sequential) -> None:
    found = loss_gradient(two_layers, IMAGE, LABEL)["0.weight"]
    np.testing.assert_allclose(found, BY_HAND_GRADIENT, rtol=1e-5)
    weights, gradient = FIRST.double(), torch.from_numpy(BY_HAND_GRADIENT)
    # |sum w g| = q |(-1)(1 + 2)|, q |(1)(3 - 1)|, q |(-3)(.5 + .5)|
    np.testing.assert_allclose(taylor(weights, gradient), Q * np.array([3.0, 2.0, 3.0]))
    # sum |w g| = q (1 + 2), q (3 + 1), q 3 (.5 + .5)
    np.testing.assert_allclose(snip(weights, gradient), Q * np.array([3.0, 4.0, 3.0]))


def test_fisher_of_one_image_is_its_squared_gradient(two_layers: nn.Sequential) -> None:
    found = fisher_diagonal(two_layers, IMAGE, LABEL, ["0.weight"])["0.weight"]
    np.testing.assert_allclose(found, BY_HAND_GRADIENT**2, rtol=1e-5)
    # 1/2 sum h w^2 = q^2 / 2 (1 + 4), q^2 / 2 (9 + 1), 9 q^2 / 2 (.25 + .25)
    np.testing.assert_allclose(
        brain_damage(FIRST.double(), found), Q**2 / 2 * np.array([5.0, 10.0, 4.5]), rtol=1e-5
    )


def test_hessian_times_vector_by_hand(two_layers: nn.Sequential) -> None:
    # H vec(A): u x^T times its inner product with A, which is sum of u (A x) = 3 - 2 + 3 = 4.
    found = hessian_vector(two_layers, IMAGE, LABEL, {"0.weight": FIRST})["0.weight"]
    outer = np.array([[1.0, 1.0], [-1.0, -1.0], [3.0, 3.0]])
    np.testing.assert_allclose(found, CURVATURE * 4 * outer, rtol=1e-5)
    # -sum w Hw of each row: -4 c (1 + 2), 4 c (3 - 1), -12 c (.5 + .5)
    np.testing.assert_allclose(
        grasp(FIRST.double(), found), CURVATURE * np.array([-12.0, 8.0, -12.0]), rtol=1e-5
    )


def test_hessian_diagonal_comes_near_the_one_by_hand(two_layers: nn.Sequential) -> None:
    found = hessian_diagonal(two_layers, IMAGE, LABEL, ["0.weight"], seed=1, probes=1_000)
    # One probe's error has a deviation of at most |row of H|, here 3 sqrt(22) c; 1,000 probes a
    # thirtieth of it.
    np.testing.assert_allclose(found["0.weight"], BY_HAND_DIAGONAL, atol=CURVATURE * 1.8)
    again = hessian_diagonal(two_layers, IMAGE, LABEL, ["0.weight"], seed=1, probes=1_000)
    assert torch.equal(found["0.weight"], again["0.weight"])


def test_hessian_diagonal_is_unbiased_where_it_has_no_noise() -> None:
    """One weight has no off-diagonal part: a single probe is exact."""
    network = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0], [0.0]]))
    image = torch.tensor([[2.0]])
    p = 1 / (1 + math.exp(-2))
    full = p * (1 - p) * 4 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    found = hessian_diagonal(network, image, LABEL, ["weight"], seed=0, probes=400)["weight"]
    np.testing.assert_allclose(found.flatten(), np.diag(full), atol=0.25 * full[0, 0])


def test_gradient_in_pieces_is_the_gradient_of_the_mean(subject: Subject) -> None:
    images, labels = subject.train_sample(256, "any")
    images, labels = images.repeat(5, 1, 1, 1), labels.repeat(5)
    found = loss_gradient(subject.network, images, labels)
    loss = nn.functional.cross_entropy(subject.network(images), labels)
    expected = torch.autograd.grad(loss, list(subject.network.parameters()))
    for tensor, value in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(tensor, value, atol=1e-7)


def test_magnitudes_by_hand() -> None:
    weights = torch.tensor([[3.0, -4.0], [0.0, 1.0], [3.0, 0.0]], dtype=torch.float64)
    np.testing.assert_allclose(l1_norm(weights), [7, 1, 3])
    np.testing.assert_allclose(l2_norm(weights), [5, 1, 3])
    # Distances: 0-1 sqrt(9 + 25), 0-2 4, 1-2 sqrt(10).
    a, b, c = math.sqrt(34), 4.0, math.sqrt(10)
    np.testing.assert_allclose(fpgm(weights), [a + b, a + c, b + c])
    # Squares 25, 1, 9: 25/25, 1/35, 9/34.
    np.testing.assert_allclose(lamp(weights), [1, 1 / 35, 9 / 34])
    np.testing.assert_allclose(lamp(torch.zeros(2, 3)), [0, 0])


def test_fpgm_is_the_sum_of_scipys_distances(subject: Subject) -> None:
    weights = subject.weight("conv1").flatten(1)
    expected = distance.cdist(weights, weights).sum(1)
    np.testing.assert_allclose(fpgm(weights), expected, rtol=1e-12)


def test_a_candidate_adds_up_what_it_loses_in_average_filters() -> None:
    raw = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([10.0, 30.0])}
    importance = in_average_filters(raw)
    np.testing.assert_allclose(importance["a"], [0.5, 1, 1.5])
    np.testing.assert_allclose(importance["b"], [0.5, 1.5])
    found = removed_importance(importance, ("b", "a"), [((1,), (0, 2)), ((0,), (1, 2))])
    np.testing.assert_allclose(found, [1.5 + 0.5 + 1.5, 0.5 + 1 + 1.5])
    np.testing.assert_allclose(in_average_filters({"a": np.zeros(3)})["a"], 0)


def test_numbers_of_a_filter_are_gathered_along_any_dimension() -> None:
    tensors = {"w": torch.arange(12.0).reshape(2, 6), "b": torch.tensor([7.0, 8.0, 9.0])}
    found = per_filter(tensors, (Slice("w", 1, 2), Slice("b", 0), Slice("gone", 0)), 3)
    assert found.tolist() == [[0, 6, 1, 7, 7], [2, 8, 3, 9, 8], [4, 10, 5, 11, 9]]


def test_a_norm_is_what_silences_a_filter_before_it() -> None:
    own = (Slice("conv.weight", 0), Slice("conv.bias", 0))
    norm = tuple(Slice(f"bn.{name}", 0) for name in ("weight", "bias", "running_mean"))
    parameters = {name: torch.zeros(1) for name in ("conv.weight", "bn.weight", "bn.bias")}
    with_norm = LayerPlan("conv", 3, own, (*norm, Slice("next.weight", 1)))
    assert [part.tensor for part in gates(with_norm, parameters)] == ["bn.weight", "bn.bias"]
    without = LayerPlan("conv", 3, own, (Slice("next.weight", 1),))
    assert [part.tensor for part in gates(without, parameters)] == ["conv.weight"]
