"""The cost of a study: counted work against torch, and rates that are remembered."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.catalog import MODELS, ModelInfo
from engine.entries import read_entries
from engine.estimate import (
    duration_text,
    estimate,
    multiply_adds,
    remember_rate,
    retraining_work,
    study_work,
)
from engine.work.models import build_model

LENETS = [info for info in MODELS.values() if info.family == "lenet"]


@pytest.mark.parametrize("info", LENETS, ids=[info.name for info in LENETS])
@pytest.mark.parametrize("kept", [{}, {"conv1": 3}, {"conv2": 4, "conv3": 5}])
def test_multiply_adds_are_half_of_torchs_count(info: ModelInfo, kept: dict[str, int]) -> None:
    network = build_model(info, 10, kept)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, 32, 32))
    assert multiply_adds(info, kept) == counter.get_total_flops() / 2


def test_work_grows_with_repeats_epochs_and_candidates() -> None:
    base = {"ratio": "0.5", "candidates": "50", "epochs": "2", "pretrain_epochs": "1"}
    once = study_work(read_entries(base))
    pretraining = study_work(read_entries(base | {"epochs": "4"})) - once
    assert study_work(read_entries(base | {"repeats": "2"})) - once == pytest.approx(pretraining)
    assert study_work(read_entries(base | {"candidates": "100"})) - once == pytest.approx(
        pretraining
    )


def test_a_measured_rate_replaces_the_guess() -> None:
    spec = read_entries({"dataset": "mnist", "ratio": "0.5"})
    assert not estimate(spec, "cpu").measured
    remember_rate(spec.model_info, "cpu", 1e9)
    slow = estimate(spec, "cpu")
    remember_rate(spec.model_info, "cpu", 2e9)
    fast = estimate(spec, "cpu")
    assert slow.measured
    assert slow.seconds > fast.seconds > slow.seconds / 2
    assert not estimate(spec, "cuda").measured


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (45, "45 s"), (120, "2 min"), (7500, "2 h 5 min"), (273600, "3 d 4 h")],
)
def test_durations_read_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_short_retrainings_count_once_for_each_candidate():
    plain = read_entries({"epochs": "10", "repeats": "2", "scores": "l1"})
    short = read_entries({"epochs": "10", "repeats": "2", "scores": "short_retrain_acc_2"})
    both = read_entries(
        {
            "epochs": "10",
            "repeats": "2",
            "scores": "short_retrain_acc_2,short_retrain_train_acc_2",
        }
    )
    more = study_work(short) - study_work(plain)
    assert more == pytest.approx(retraining_work(plain) * 45 * 2 / 10)
    assert study_work(both) == study_work(short)
