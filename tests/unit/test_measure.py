"""What a study costs is measured with its own steps, and kept apart from that of plain ones."""

from __future__ import annotations

import pytest
import torch

from engine.entries import read_entries
from engine.estimate import estimate, has_plain_steps, multiply_adds
from engine.work import measure as measurement
from engine.work.measure import measure
from engine.work.packs import Pack

torch.set_num_threads(1)
RICH = "optimizer=adamw,lr=1e-3,mixup=.2,clip=1,ema=.9"
SMALL = {"model": "resnet20@8", "ratio": ".5", "candidates": "3"}


@pytest.fixture
def odd_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets batches of 15 images be measured; returns what was trained in a call."""
    info = read_entries(SMALL).model_info
    monkeypatch.setitem(measurement._AIM_WORK, "cpu", 15.5 * 3 * multiply_adds(info, {}))
    trained: list[int] = []
    seconds_of = measurement._training_seconds

    def training_seconds(pack: Pack, recipe: object, data: object, batch: int, *more: object):
        trained.append(batch)
        return seconds_of(pack, recipe, data, batch, *more)

    monkeypatch.setattr(measurement, "_training_seconds", training_seconds)
    return trained


def test_large_batches_are_measured_by_two_smaller_ones(odd_batches: list[int]) -> None:
    spec = read_entries({**SMALL, "layers": "layer3.2.conv1", "recipe": RICH})
    found = measure(spec, "cpu")
    assert found["fits"]
    assert found["seconds"] > 0
    # A batch of one image, left over, would be none for batch norms.
    assert odd_batches[-2:] == [7, 15]
    assert len(odd_batches) == 4  # candidates and base network


def test_steps_that_are_not_plain_have_rates_of_their_own(odd_batches: list[int]) -> None:
    masks = read_entries({**SMALL, "layers": "layer3.2.conv1", "granularity": "weights"})
    rich, plain = read_entries({**SMALL, "recipe": RICH}), read_entries(SMALL)
    bf16 = read_entries({**SMALL, "precision": "bf16"})
    assert [has_plain_steps(spec) for spec in (masks, rich, bf16, plain)] == [False] * 3 + [True]
    measure(masks, "cpu")
    assert estimate(masks, "cpu").measured
    assert estimate(rich, "cpu").measured
    assert not estimate(plain, "cpu").measured


def test_lenets_are_guessed_to_be_slower_without_their_kernels() -> None:
    plain = read_entries({"candidates": "45", "epochs": "30"})
    rich = read_entries({"candidates": "45", "epochs": "30", "recipe": RICH})
    longer = estimate(rich, "cpu").seconds / estimate(plain, "cpu").seconds
    assert 3 < longer < 10
