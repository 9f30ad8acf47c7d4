"""What a study takes of memory: against what a process took, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.entries import read_entries
from engine.errors import UsageError
from engine.work import needs as needs_room
from engine.work.needs import Needs, Training, activation_bytes, needs_of, require_room

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")

# Trains one network for two steps, and prints by how much the process has grown at most.
_GROWTH = """
import sys
import numpy as np, torch
from dataclasses import replace
from engine.entries import read_entries
from engine.work.measure import _random_data
from engine.work.mixing import batch_mixes
from engine.work.models import build_model
from engine.work.packs import make_pack
torch.set_num_threads(1)
def resident(line):
    with open("/proc/self/status") as status:
        return next(int(text.split()[1]) for text in status if text.startswith(line)) * 1024
spec = read_entries({"model": sys.argv[1], "dataset": "mnist-5k", "layers": sys.argv[2]})
batch = int(sys.argv[3])
def train(count):
    data = _random_data(spec, torch.device("cpu"), count)
    state = build_model(spec.model_info, 10).state_dict()
    states = {name: tensor[None] for name, tensor in state.items()}
    recipe = replace(spec.retrain, batch_size=count)
    pack = make_pack(spec.model_info, states, data, recipe, kind="solo")
    with open("/proc/self/clear_refs", "w") as forget:
        forget.write("5")  # the highest so far is the present one
    before = resident("VmRSS:")
    for _ in range(2):
        pack.train(np.arange(count), 0.01, None, batch_mixes(0, 0, 0, recipe, count))
    return resident("VmHWM:") - before
train(2)
print(train(batch))
"""


def _grown(model: str, layers: str, batch: int) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _GROWTH, model, layers, str(batch)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return int(done.stdout)


def _predicted(model: str, layers: str, batch: int) -> int:
    spec = read_entries({"model": model, "dataset": "mnist-5k", "layers": layers})
    spec = spec.with_(pretrain=replace(spec.pretrain, batch_size=batch))
    base = needs_of(spec, CPU, 1).base
    return base.activations + base.gradients + base.optimiser


@pytest.mark.parametrize(
    ("model", "layers", "batch"),
    [
        ("resnet20@32", "layer1.0.conv1", 192),
        pytest.param("vgg11@32", "features.0", 256, marks=pytest.mark.slow),
        pytest.param("resnet18@64", "layer4.0.conv1", 96, marks=pytest.mark.slow),
        pytest.param("resnet50@64", "conv1", 64, marks=pytest.mark.slow),
        pytest.param("timm:test_vit@64", "blocks.*", 1024, marks=pytest.mark.slow),
        pytest.param("vit-b16@64", "conv_proj", 32, marks=pytest.mark.slow),
    ],
)
def test_a_step_takes_what_was_foretold_within_half_again(
    model: str, layers: str, batch: int
) -> None:
    predicted, grown = _predicted(model, layers, batch), _grown(model, layers, batch)
    assert predicted / 1.5 < grown < predicted * 1.5


def test_activations_are_counted_once() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 8, bias=False), nn.ReLU(inplace=True))
    images = torch.zeros(2, 1, 2, 2)
    # The rectified values, which two layers keep, and the softmax of as many; labels and a weight.
    total, largest = activation_bytes(network, images)
    assert largest == 2 * 8 * 4
    assert 2 * largest <= total <= 2 * largest + 64


def _needs(activations: int) -> Needs:
    one = Training(weights=10, gradients=10, optimiser=10, activations=activations)
    return Needs(data=100, base=one, candidate=one, together=2)


def test_needs_grow_with_the_pack() -> None:
    needs = _needs(1_000)
    # Data, the base network, what a candidate keeps twice over its weights, its batch.
    assert needs.of(1) == 100 + 10 + 40 + 1_000
    assert needs.of(2) == 100 + 10 + 80 + 2_000
    assert needs.of(3) == 100 + 10 + 120 + 2_000
    assert needs.largest(needs.of(3)) == 3
    assert needs.largest(needs.of(3) - 1) == 2
    assert needs.largest(needs.of(1) - 1) == 0
    assert needs.largest(10**9, most=7) == 7


def test_adamw_keeps_twice_what_momentum_keeps() -> None:
    spec = read_entries({"model": "resnet20@8"})
    plain = needs_of(spec, CPU, 1).candidate
    assert plain.gradients == plain.optimiser
    if hasattr(spec.retrain, "optimiser"):
        adamw = spec.with_(retrain=replace(spec.retrain, optimiser="adamw"))
        assert needs_of(adamw, CPU, 1).candidate.optimiser == 2 * plain.optimiser


def test_what_cannot_fit_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_entries({"model": "resnet20", "dataset": "cifar10"})
    needs = require_room(spec, CPU, 2)
    monkeypatch.setattr(needs_room, "free_memory", lambda device: 100_000_000)
    with pytest.raises(UsageError, match=r"0\.1 GB are free; .*resnet20@16") as caught:
        require_room(spec, CPU, 2)
    text = str(caught.value)
    assert "\n" not in text
    assert f"{needs.base.activations / 1e9:.1f} for a batch of 128" in text
