"""The GPU benchmark's own code, run on the CPU with a kind that can be computed there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_report
from engine.work.models import build_model
from engine.work.tiny_cnn.architecture import Architecture

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
    assert "times one at a time" in gpu_report.text({"LeNet5-Mini": report})


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


def test_a_row_that_fails_loses_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    cases = {"small": replace(gpu.LENET, candidates=(2, 3))}
    reports = gpu.measure_all(
        torch.device("cpu"), True, cases, out, count=300, kinds=["no such kind", "stacked"]
    )
    report = json.loads(out.read_text())["small"]
    assert "no kind of pack" in report["kinds"]["no such kind"]["error"]
    # A quick run takes the first number of candidates only.
    assert list(report["kinds"]["stacked"]["packs"]) == ["2"]
    assert report["kinds"]["stacked"]["packs"]["2"]["training_rate"] > 0
    assert not gpu_report.sound(reports["small"])
    told = capsys.readouterr().err
    assert "small, no such kind: failed: ValueError" in told
    assert "small, stacked, K = 2: " in told
    assert "failed: ValueError" in gpu_report.text(reports)


def test_rows_that_time_does_not_suffice_for_are_left_out() -> None:
    report = gpu.measure(
        torch.device("cpu"), True, gpu.LENET, count=300, kinds=["stacked"], ends=0.0
    )
    assert report["kinds"]["stacked"]["left_out"] == "no time left"
    assert not report["kinds"]["stacked"]["packs"]
    assert gpu_report.sound(report)
    assert "left out: no time left" in gpu_report.text({"none": report})


def test_each_launch_of_a_step_is_measured_by_itself() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from benchmarks import triton_kernels
    from engine.work.tiny_cnn_gpu.program import Tiles

    case = replace(
        gpu.LENET,
        kept={"conv1": 1, "conv2": 1},
        recipe=replace(gpu.LENET.recipe, batch_size=4),
    )
    data = gpu._data(case, 8)
    found = triton_kernels.measure(
        gpu._states(case, 1),
        data,
        case.recipe,
        tiles=Tiles(slice=4, cells=4096, lanes=4096, depth=256, parameters=8192),
        repeats=1,
    )
    assert [row["launch"] for row in found][:3] == ["pixels", "conv1", "conv2"]
    assert len(found) == 9
    assert sum(row["share"] for row in found) == pytest.approx(1)
    assert all(row["gbytes_per_second"] > 0 for row in found)
    report = {"launches": {"launches of a step": {"launches": found}}}
    assert gpu_report.text({"small": report}).count("GFLOP/s") == 9


def test_the_work_of_a_step_is_that_of_the_model() -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    from benchmarks import triton_kernels

    state = build_model(gpu.LENET.model, 10, gpu.LENET.kept).state_dict()
    work = triton_kernels.least_work(Architecture.of(state), 2, 256, 32)
    whole = sum(launch.multiply_adds for launch in work.values())
    forward = gpu.LENET.work / 3 * 2 * 256
    # The first convolution has no gradient of its input.
    assert 2.5 * forward < whole < 3 * forward


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device to measure")
def test_without_a_device_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.run(as_json=False, quick=True) == 2
    assert "nothing was measured" in capsys.readouterr().out
