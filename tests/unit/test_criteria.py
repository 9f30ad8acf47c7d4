"""Scores before retraining: against Torch-Pruning's importances, and as a study has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.pruner import function as pruning
from torch_pruning.pruner import importance as theirs

from engine.entries import read_entries
from engine.work.bench import Bench
from engine.work.criteria import Scorer, Subject
from engine.work.criteria.filters import gates
from engine.work.criteria.losses import has_batchnorm, recalibrate
from engine.work.criteria.magnitude import fpgm, norm_scale
from engine.work.criteria.sensitivity import (
    brain_damage,
    fisher_diagonal,
    loss_gradient,
    snip,
    taylor,
)
from engine.work.models import build_model
from engine.work.surgery import plan_from_graph
from tests.benches import bench_of, only, singles

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return bench_of(read_entries({"scores": "all", "epochs": "2", "layers": "conv1"}))


@pytest.fixture(scope="module")
def subject(bench: Bench) -> Subject:
    return Subject(bench)


# Torch-Pruning, on the same network and the same gradients.


@pytest.fixture
def group(subject: Subject) -> Iterator[torch_pruning.dependency.Group]:
    network = subject.network
    graph = torch_pruning.DependencyGraph().build_dependency(network, subject.train_images[:1])
    conv1 = network.get_submodule("conv1")
    yield graph.get_pruning_group(conv1, pruning.prune_conv_out_channels, list(range(10)))
    network.zero_grad()


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
