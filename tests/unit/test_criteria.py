"""Scores before retraining: by hand on a two-layer net, and against Torch-Pruning's importances."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch_pruning
from scipy.spatial import distance
from torch import Tensor, nn
from torch_pruning.pruner import function as pruning
from torch_pruning.pruner import importance as theirs

from engine.entries import read_entries
from engine.scores import BASE_SCORES
from engine.spec import StudySpec
from engine.work.bench import Bench
from engine.work.criteria import Scorer, Subject
from engine.work.criteria.filters import gates, in_average_filters, per_filter, removed_importance
from engine.work.criteria.losses import has_batchnorm, recalibrate
from engine.work.criteria.magnitude import fpgm, l1_norm, l2_norm, lamp, norm_scale
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
from engine.work.datasets import ImageData, load_dataset
from engine.work.models import build_model, slice_plan
from engine.work.pretraining import BaseNetwork
from engine.work.surgery import LayerPlan, Slice, plan_from_graph

torch.set_num_threads(1)

EVERYTHING = "all"


def bench_of(spec: StudySpec, images: int = 256) -> Bench:
    """A bench with a random base network on real digits."""
    whole = load_dataset(spec.dataset_info, download=False)
    data = ImageData(
        whole.train_images[:images],
        whole.train_labels[:images],
        whole.test_images[:200],
        whole.test_labels[:200],
        whole.classes,
        "part",
    )
    torch.manual_seed(3)
    state = build_model(spec.model_info, 10).state_dict()
    base = BaseNetwork(dict(state), 0.1, 2.3, 0.1, 2.3, 0, "random", cached=False)
    return Bench(spec, torch.device("cpu"), 1, data, base, slice_plan(spec.model_info, 10))


@pytest.fixture(scope="module")
def bench() -> Bench:
    return bench_of(read_entries({"scores": EVERYTHING, "epochs": "2", "layers": "conv1"}))


@pytest.fixture(scope="module")
def subject(bench: Bench) -> Subject:
    return Subject(bench)


def singles(bench: Bench) -> list[tuple[tuple[int, ...], ...]]:
    """One candidate for each filter of conv1: its score is that filter's importance."""
    return [((f,),) for f in range(bench.spec.model_info.layer("conv1").filters)]


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


# Torch-Pruning, on the same network and the same gradients.


@pytest.fixture
def group(subject: Subject) -> Iterator[torch_pruning.dependency.Group]:
    network = subject.network
    graph = torch_pruning.DependencyGraph().build_dependency(network, subject.train_images[:1])
    conv1 = network.get_submodule("conv1")
    yield graph.get_pruning_group(conv1, pruning.prune_conv_out_channels, list(range(10)))
    network.zero_grad()


def only(bench: Bench, *names: str) -> Bench:
    """The same bench for a study that measures just these beside the base scores."""
    return replace(bench, spec=bench.spec.with_(scores=(*BASE_SCORES, *names)))


@pytest.fixture(scope="module")
def all_singles(bench: Bench) -> dict[str, np.ndarray]:
    return Scorer(bench).measure(singles(bench), lambda done: None)


FIRST_ONLY = {"group_reduction": "first", "normalizer": None}


def test_l1_and_l2_are_torch_prunings(group, all_singles) -> None:
    l1 = theirs.GroupMagnitudeImportance(p=1, group_reduction="first", normalizer="mean")(group)
    np.testing.assert_allclose(all_singles["l1"], l1, rtol=1e-5)
    squared = theirs.GroupMagnitudeImportance(p=2, **FIRST_ONLY)(group)
    l2 = np.sqrt(squared.numpy())
    np.testing.assert_allclose(all_singles["l2"], l2 / l2.mean(), rtol=1e-5)


def test_lamp_is_torch_prunings(group, all_singles) -> None:
    expected = theirs.LAMPImportance(p=2, group_reduction="first")(group)
    np.testing.assert_allclose(all_singles["lamp"], expected, rtol=1e-5)


def test_fpgm_is_torch_prunings_where_weights_are_positive(group, subject: Subject) -> None:
    """Theirs takes distances of absolute weights; of positive ones both are the same."""
    conv1 = subject.network.get_submodule("conv1")
    before = conv1.weight.detach().clone()
    try:
        conv1.weight.data.abs_()
        expected = theirs.FPGMImportance(p=1, **FIRST_ONLY)(group)
        found = fpgm(conv1.weight.detach().double().flatten(1))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    finally:
        conv1.weight.data.copy_(before)


def test_taylor_and_snip_are_torch_prunings(group, subject: Subject) -> None:
    """On the weights alone: theirs adds the bias's part to them without its sign."""
    found = loss_gradient(subject.network, subject.train_images, subject.train_labels)
    for name, parameter in subject.network.named_parameters():
        parameter.grad = found[name].float()
    weights = subject.weight("conv1").flatten(1)
    gradient = found["conv1.weight"].flatten(1)
    for ours, multivariable in ((taylor, True), (snip, False)):
        expected = theirs.GroupTaylorImportance(multivariable=multivariable, **FIRST_ONLY)(group)
        np.testing.assert_allclose(ours(weights, gradient), expected, rtol=1e-4)


def test_fisher_is_torch_prunings_hessian(group, subject: Subject) -> None:
    """Theirs is the sum of w^2 h with h the squared gradient of one image."""
    image, label = subject.train_images[:1], subject.train_labels[:1]
    scorer = theirs.GroupHessianImportance(**FIRST_ONLY)
    nn.functional.cross_entropy(subject.network(image), label).backward()
    scorer.accumulate_grad(subject.network)
    expected = scorer(group)
    ours = fisher_diagonal(subject.network, image, label, ["conv1.weight"])["conv1.weight"]
    found = 2 * brain_damage(subject.weight("conv1").flatten(1), ours.flatten(1))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_batchnorm_scale_is_torch_prunings() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    nn.init.uniform_(network[1].weight, -1, 1)
    image = torch.zeros(1, 1, 4, 4)
    graph = torch_pruning.DependencyGraph().build_dependency(network, image)
    group = graph.get_pruning_group(network[0], pruning.prune_conv_out_channels, [0, 1, 2, 3])
    expected = theirs.BNScaleImportance()(group).detach()
    plan = plan_from_graph(network, image, ["0", "3"])
    found = norm_scale(network.state_dict(), plan["0"])
    np.testing.assert_allclose(found / found.mean(), expected, rtol=1e-5)
    assert np.isnan(norm_scale(network.state_dict(), plan["3"])).all()
    parameters = dict(network.named_parameters())
    assert [part.tensor for part in gates(plan["0"], parameters)] == ["1.weight", "1.bias"]
    assert [part.tensor for part in gates(plan["3"], parameters)] == ["3.weight", "3.bias"]


# Whole scores of a study.


def test_first_order_taylor_predicts_the_change_of_loss_of_a_small_step(subject: Subject) -> None:
    """Its meaning: scaling a filter's weight and bias down a little changes the loss by that."""
    found = loss_gradient(subject.network, subject.train_images, subject.train_labels)
    signed = (subject.network.conv1.weight[2] * found["conv1.weight"][2]).sum() + (
        subject.network.conv1.bias[2] * found["conv1.bias"][2]
    )

    def loss(scale: float) -> float:
        network = build_model(subject.bench.spec.model_info, 10).double()
        network.load_state_dict(subject.network.state_dict())
        network.conv1.weight.data[2] *= scale
        network.conv1.bias.data[2] *= scale
        logits = network(subject.train_images.double())
        return nn.functional.cross_entropy(logits, subject.train_labels).item()

    slope = (loss(1.001) - loss(0.999)) / 0.002
    assert slope == pytest.approx(signed.item(), rel=1e-2)  # ReLUs switch within the step
    bench = only(subject.bench, "taylor")
    importance = Scorer(bench).measure(singles(bench), lambda done: None)["taylor"]
    assert importance[2] == pytest.approx(abs(signed.item()), rel=1e-5)


def test_every_score_is_measured_and_does_not_depend_on_the_others(bench: Bench) -> None:
    candidates = [bench.spec.space[c] for c in (0, 7, 20, 44)]
    scorer = Scorer(bench)
    together = scorer.measure(candidates, lambda done: None)
    assert set(together) == set(bench.spec.score_names)
    assert all(values.shape == (4,) and np.isfinite(values).all() for values in together.values())
    alone = Scorer(bench).measure(candidates[2:3], lambda done: None)
    for name, values in alone.items():
        assert values[0] == together[name][2], name
    assert set(scorer.seconds) == set(together)
    assert all(seconds >= 0 for seconds in scorer.seconds.values())
    assert scorer.seconds["short_retrain_acc_1"] > 0


def test_without_batchnorm_recalibrated_scores_are_the_plain_ones(all_singles) -> None:
    for kind in ("loss", "acc"):
        plain = all_singles[f"pruned_train_{kind}"]
        np.testing.assert_array_equal(all_singles[f"recalibrated_train_{kind}"], plain)


def test_short_retraining_reaches_the_same_accuracy_by_plain_torch(bench: Bench) -> None:
    candidate = bench.spec.space[5]
    bench = only(bench, "short_retrain_acc_2", "short_retrain_train_acc_2")
    found = Scorer(bench).measure([candidate], lambda done: None)
    subject = Subject(bench)
    network = subject.pruned_network(candidate).train()
    recipe = bench.spec.retrain.lasting(2)
    optimiser = torch.optim.SGD(network.parameters(), lr=1, momentum=0.9, weight_decay=1e-4)
    for epoch in range(2):
        generator = torch.Generator().manual_seed(subject.seed("short", 2, epoch))
        order = torch.randperm(len(bench.data.train_labels), generator=generator)
        for batch in order.split(256):
            optimiser.param_groups[0]["lr"] = recipe.rate_at(epoch)
            optimiser.zero_grad()
            logits = network(bench.data.train_images[batch])
            nn.functional.cross_entropy(logits, bench.data.train_labels[batch]).backward()
            optimiser.step()
    with torch.no_grad():
        for split, name in (
            ("test", "short_retrain_acc_2"),
            ("train", "short_retrain_train_acc_2"),
        ):
            images, labels = bench.data.split(split)
            right = (network(images).argmax(1) == labels).double().mean().item()
            assert found[name][0] == pytest.approx(right, abs=2.5 / len(labels))


def test_random_scores_follow_the_seed_and_the_candidate(bench: Bench) -> None:
    some = [bench.spec.space[c] for c in range(45)]
    first = Scorer(only(bench, "random")).measure(some, lambda done: None)["random"]
    assert len(set(first)) == 45
    assert ((first >= 0) & (first < 1)).all()
    other = only(replace(bench, spec=bench.spec.with_(seed=1)), "random")
    assert not np.isin(Scorer(other).measure(some, lambda done: None)["random"], first).any()


# Recalibration.


def with_norm() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def test_recalibration_takes_the_mean_of_the_batches_statistics() -> None:
    network = with_norm()
    norm = network[1]
    norm.running_mean.fill_(9.0)
    images = torch.randn(50, 3)
    weights = {name: parameter.clone() for name, parameter in network.named_parameters()}
    recalibrate(network, images, 20)
    inputs = [network[0](batch).detach() for batch in images.split(20)]
    mean = torch.stack([batch.mean(0) for batch in inputs]).mean(0)
    variance = torch.stack([batch.var(0) for batch in inputs]).mean(0)
    np.testing.assert_allclose(norm.running_mean, mean, atol=1e-6)
    np.testing.assert_allclose(norm.running_var, variance, atol=1e-6)
    assert norm.momentum == 0.1
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(weights[name], p) for name, p in network.named_parameters())


def test_only_norms_with_statistics_can_be_recalibrated() -> None:
    assert has_batchnorm(with_norm())
    assert not has_batchnorm(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    assert not has_batchnorm(nn.BatchNorm1d(2, track_running_stats=False))


def test_a_candidates_tensor_type_is_float64(all_singles: dict[str, Tensor]) -> None:
    assert {values.dtype for values in all_singles.values()} == {np.dtype(np.float64)}
