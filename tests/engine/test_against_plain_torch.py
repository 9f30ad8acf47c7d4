"""The engine's numbers against a loop anyone would write: one network, torch.optim, no packs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.catalog import find_dataset
from engine.spec import StudySpec
from engine.store.reader import RunReader
from engine.work.batches import batch_order
from engine.work.datasets import ImageData, load_dataset
from engine.work.pretraining import base_network
from tests.engine.conftest import work_through


def plain_lenet(widths: tuple[int, int, int]) -> nn.Sequential:
    """LeNet5-Mini as the protocol describes it."""
    a, b, c = widths
    return nn.Sequential(
        nn.Conv2d(1, a, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(a, b, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(b, c, 5),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(c, 10),
        nn.ReLU(),
        nn.Linear(10, 10),
    )


NAMES = {"0": "conv1", "3": "conv2", "6": "conv3", "9": "fc1", "11": "fc2"}


def pruned_by_hand(state: dict[str, Tensor], gone: list[int]) -> nn.Sequential:
    """The base network without some filters of conv1."""
    kept = [index for index in range(10) if index not in gone]
    network = plain_lenet((len(kept), 10, 10))
    with torch.no_grad():
        for place, parameter in network.named_parameters():
            module, kind = place.split(".")
            tensor = state[f"{NAMES[module]}.{kind}"]
            if NAMES[module] == "conv1":
                tensor = tensor[kept]
            elif place == "3.weight":
                tensor = tensor[:, kept]
            parameter.copy_(tensor)
    return network


def measured(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy."""
    network.eval()
    with torch.no_grad():
        logits = network(images)
        loss = nn.functional.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(1) == labels).double().mean().item()
    network.train()
    return loss, accuracy


def plain_retraining(network: nn.Module, data: ImageData, spec: StudySpec, repeat: int) -> Tensor:
    """(epochs, 4), columns as the engine's curves."""
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-4)
    curve = []
    for epoch in range(spec.retrain.epochs):
        optimiser.param_groups[0]["lr"] = spec.retrain.rate_at(epoch)
        order = torch.from_numpy(batch_order(spec.seed, repeat, epoch, len(data.train_labels)))
        for batch in order.split(256):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(
                network(data.train_images[batch]), data.train_labels[batch]
            )
            loss.backward()
            optimiser.step()
        curve.append(
            [
                *measured(network, data.train_images, data.train_labels),
                *measured(network, data.test_images, data.test_labels),
            ]
        )
    return torch.tensor(curve, dtype=torch.float64)


@pytest.mark.parametrize("repeat", [0, 1])
def test_scores_and_curves_agree_with_a_plain_loop(
    make_run: Callable[..., Path], repeat: int
) -> None:
    """Within float32 rounding: losses to 2e-4, accuracies to two images of the split."""
    torch.set_num_threads(1)
    run = make_run(candidates="3")
    work_through(run)
    reader = RunReader(run)
    spec = StudySpec.from_json(reader.config["spec"])
    data = load_dataset(find_dataset(spec.dataset))
    base = base_network(spec, data)
    assert base.cached
    rows = reader.rows[reader.rows["repeat"] == repeat]
    assert len(rows) == 3
    for row in rows:
        candidate = int(row["candidate"])
        network = pruned_by_hand(base.state, reader.pruned(candidate)[0])
        loss, accuracy = measured(network, data.train_images, data.train_labels)
        assert row["pruned_train_loss"] == pytest.approx(loss, abs=1e-5)
        assert row["pruned_train_acc"] == pytest.approx(accuracy, abs=1e-9)
        plain = plain_retraining(network, data, spec, repeat).numpy()
        ours = reader.curve(candidate, repeat)
        assert ours is not None
        np.testing.assert_allclose(ours[:, [0, 2]], plain[:, [0, 2]], atol=2e-4)
        np.testing.assert_allclose(ours[:, 1], plain[:, 1], atol=2.1 / 4000)
        np.testing.assert_allclose(ours[:, 3], plain[:, 3], atol=2.1 / 1000)
        assert row["best_test_acc"] == pytest.approx(plain[:, 3].max(), abs=2.1 / 1000)
