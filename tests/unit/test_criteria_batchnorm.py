"""Scores of a network with BatchNorm, made for the test: a convolution, a norm and a classifier."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine import catalog
from engine.catalog import LayerInfo, ModelInfo
from engine.entries import read_entries
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN
from engine.work import models
from engine.work.bench import Bench
from engine.work.criteria import Scorer, Subject
from engine.work.criteria.losses import RECALIBRATION_BATCHES
from engine.work.datasets import ImageData
from engine.work.models import Family, build_model, slice_plan
from engine.work.pretraining import BaseNetwork
from tests.digits import first_digits

torch.set_num_threads(1)

FILTERS = 6
INFO = ModelInfo(
    "tiny-norm", "Tiny with a norm", "tiny-norm", 1, 32, (LayerInfo("conv1", FILTERS),), (),
    LENET_PRETRAIN, LENET_RETRAIN,
)  # fmt: skip


class TinyNorm(nn.Module):
    """conv1 -> bn1 -> ReLU -> 8x8 max-pool -> fc."""

    def __init__(self, filters: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, filters, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.fc = nn.Linear(filters, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.bn1(self.conv1(images)))
        return self.fc(functional.adaptive_max_pool2d(maps, 1).flatten(1))


class TinyNorms(Family):
    def build(self, info: ModelInfo, classes: int) -> nn.Module:
        return TinyNorm(FILTERS, classes)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(catalog, "MODELS", {**catalog.MODELS, INFO.name: INFO})
    monkeypatch.setattr(models, "FAMILIES", {**models.FAMILIES, INFO.family: TinyNorms()})
    spec = read_entries(
        {"model": INFO.name, "layers": "conv1", "ratio": "0.5", "epochs": "1", "scores": "all"}
    )
    # Ten batches of 16 are for recalibration.
    recipe = spec.retrain.from_json({**spec.retrain.to_json(), "batch_size": 16})
    spec = spec.with_(retrain=recipe)
    data = first_digits(300, 100)
    torch.manual_seed(1)
    network = build_model(INFO, 10)
    nn.init.uniform_(network.bn1.weight, -1, 1)
    nn.init.uniform_(network.bn1.bias, -1, 1)
    network.bn1.running_mean.normal_()
    network.bn1.running_var.uniform_(0.5, 2)
    base = BaseNetwork(dict(network.state_dict()), 0.1, 2.3, 0.1, 2.3, 0, "random", cached=False)
    return Bench(spec, torch.device("cpu"), 1, data, base, slice_plan(INFO, 10))


def measured(bench: Bench) -> dict[str, np.ndarray]:
    candidates = [bench.spec.space[c] for c in range(len(bench.spec.space))]
    return Scorer(bench).measure(candidates, lambda done: None)


def pruned_by_hand(bench: Bench, gone: tuple[int, ...]) -> TinyNorm:
    """The candidate's network, built filter by filter."""
    kept = [f for f in range(FILTERS) if f not in gone]
    state = dict(bench.base.state)
    network = TinyNorm(len(kept), 10)
    for name in ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"):
        state[name] = state[name][kept]
    state["fc.weight"] = state["fc.weight"][:, kept]
    network.load_state_dict(state)
    return network.eval()


def loss_and_accuracy(network: nn.Module, data: ImageData) -> tuple[float, float]:
    with torch.no_grad():
        logits = network(data.train_images)
    right = (logits.argmax(1) == data.train_labels).double().mean().item()
    return functional.cross_entropy(logits, data.train_labels).item(), right


def test_every_score_exists_and_recalibration_changes_the_loss(bench: Bench) -> None:
    found = measured(bench)
    assert set(found) == set(bench.spec.score_names)
    assert "bn_scale" in found
    assert all(np.isfinite(values).all() for values in found.values())
    assert (found["recalibrated_train_loss"] != found["pruned_train_loss"]).all()


def test_recalibrated_scores_are_those_of_plain_torch(bench: Bench) -> None:
    found, subject = measured(bench), Subject(bench)
    images, _ = subject.train_sample(RECALIBRATION_BATCHES * 16, "recalibration")
    for candidate in (0, 7, 19):
        network = pruned_by_hand(bench, bench.spec.space[candidate][0])
        loss, accuracy = loss_and_accuracy(network, bench.data)
        assert found["pruned_train_loss"][candidate] == pytest.approx(loss, abs=1e-5)
        assert found["pruned_train_acc"][candidate] == pytest.approx(accuracy)
        with torch.no_grad():
            maps = [network.conv1(batch) for batch in images.split(16)]
        mean = torch.stack([batch.mean((0, 2, 3)) for batch in maps]).mean(0)
        variance = torch.stack([batch.var((0, 2, 3)) for batch in maps]).mean(0)
        network.bn1.running_mean.copy_(mean)
        network.bn1.running_var.copy_(variance)
        loss, accuracy = loss_and_accuracy(network, bench.data)
        assert found["recalibrated_train_loss"][candidate] == pytest.approx(loss, abs=1e-5)
        assert found["recalibrated_train_acc"][candidate] == pytest.approx(accuracy)


def test_importances_are_those_of_the_norm(bench: Bench) -> None:
    """The scale itself, and |gamma g + beta g'|: to first order the loss without the filter."""
    found, state = measured(bench), bench.base.state
    network = pruned_by_hand(bench, ())
    loss = functional.cross_entropy(network(bench.data.train_images), bench.data.train_labels)
    scale, shift = torch.autograd.grad(loss, [network.bn1.weight, network.bn1.bias])
    importance = (state["bn1.weight"] * scale + state["bn1.bias"] * shift).abs().numpy()
    gamma = state["bn1.weight"].abs().numpy()
    for place in range(len(bench.spec.space)):
        gone = list(bench.spec.space[place][0])
        assert found["taylor"][place] == pytest.approx(importance[gone].sum(), rel=1e-4)
        assert found["bn_scale"][place] == pytest.approx(gamma[gone].sum() / gamma.mean(), rel=1e-5)
