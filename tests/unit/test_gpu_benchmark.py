"""The GPU benchmark's own code, run on the CPU with a kind that can be computed there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks import gpu

torch.set_num_threads(1)


def test_it_measures_a_kind_that_agrees() -> None:
    case = replace(gpu.LENET, candidates=(2,))
    report = gpu.measure(torch.device("cpu"), True, case, count=300, kinds=["stacked"])
    row = report["kinds"]["stacked"]
    assert row["agrees"]
    assert 0 <= row["difference"] < 1e-5
    pack = row["packs"][2]
    assert pack["ratio"]["min"] <= pack["ratio"]["median"] <= pack["ratio"]["max"]
    assert pack["training_rate"] > 0
    assert gpu._paper_hours(pack["epoch_rate"]) > 0
    assert "times one at a time" in gpu._text({"LeNet5-Mini": report})


def test_deep_networks_are_measured_side_by_side() -> None:
    info, kept = gpu._halved("resnet20")
    recipe = replace(gpu.RESNET.recipe, batch_size=8)
    case = replace(gpu.RESNET, model=info, kept=kept, recipe=recipe, candidates=(2,))
    report = gpu.measure(torch.device("cpu"), True, case, count=12, kinds=["graphed"])
    row = report["kinds"]["graphed"]
    assert row["agrees"], row
    assert row["packs"][2]["ratio"]["median"] > 0
    assert (report["bar"], report["aim"]) == (2, 4)


def test_the_papers_lenet_part_is_about_25_000_retrainings() -> None:
    hours = gpu._paper_hours(1e6)
    # 1.2 MFLOP and 30 epochs of 60,000 images for some 25,000 networks: 4.5e10 samples and more.
    assert 10 < hours < 40


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device to measure")
def test_without_a_device_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.run(as_json=False, quick=True) == 2
    assert "nothing was measured" in capsys.readouterr().out
