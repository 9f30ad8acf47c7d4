"""A small real study of every family of models, through the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def _study(folder: Path, cache: Path, model: str, *more: str) -> dict[str, object]:
    """Runs a study of two candidates by one epoch each; returns its summary."""
    done = subprocess.run(
        [sys.executable, "-m", "oracle_tui", "run", "--model", model, "--dataset", "mnist-5k",
         "--ratio", "0.5", "--candidates", "2", "--epochs", "1", "--pretrain-epochs", "1",
         "--device", "cpu", "--runs-dir", str(folder), "--json", *more],
        env={**os.environ, "ORACLE_TUI_CACHE": str(cache)},
        capture_output=True, text=True, timeout=1_200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary: dict[str, object] = json.loads(done.stdout)
    assert (summary["status"], summary["n_done"]) == ("done", 2)
    with h5py.File(folder / str(summary["id"]) / "run.h5", "r") as file:
        rows = file["candidates"][:]
    assert np.isfinite(rows["pruned_train_loss"]).all()
    assert len(set(rows["pruned_train_loss"])) == 2
    # Ten digits: even an epoch of a network that lost half its filters learns more than chance.
    assert (rows["best_test_acc"] > 0.15).all()
    return summary


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("resnet20@8", ()),
        ("resnet18@8", ("--layers", "layer4.*.conv1")),
        ("timm:test_vit@32", ("--layers", "blocks.*", "--wiring", "released")),
    ],
)
def test_a_small_study(tmp_path: Path, shared_cache: Path, model: str, more: tuple[str]) -> None:
    summary = _study(tmp_path, shared_cache, model, *more)
    assert summary["model"] == model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("vgg11@16", ()),
        # So deep, they learn little in a first epoch.
        ("resnet56@8", ("--pretrain-epochs", "4")),
        ("resnet110@8", ("--pretrain-epochs", "4")),
        ("resnet18@32", ()),
        ("resnet50@32", ()),
        ("timm:resnet26d@32", ("--layers", "layer*.conv2")),
        ("timm:test_convnext@32", ("--layers", "stages.*")),
        ("vit-b16@32", ("--layers", "conv_proj")),
        ("vit-b16-timm@32", ()),
    ],
)
def test_a_small_study_of_a_large_model(
    tmp_path: Path, shared_cache: Path, model: str, more: tuple[str]
) -> None:
    _study(tmp_path, shared_cache, model, *more)


def test_the_worked_example_of_the_documentation(tmp_path: Path, shared_cache: Path) -> None:
    """The file and the commands are taken out of docs/reference/models.md as they stand there."""
    text = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n# my_net\.py\n(.*?)```", text, re.DOTALL)
    command = re.search(r"oracle-tui run --model my_net\.py:MyNet (.*)", text)
    assert program is not None
    assert command is not None
    (tmp_path / "my_net.py").write_text(program[1])
    options = command[1].split()
    assert "--layers" in options
    summary = _study(tmp_path / "runs", shared_cache, f"{tmp_path}/my_net.py:MyNet", *options)
    assert summary["layers"] == "stem+body.first"
    shown = subprocess.run(
        [sys.executable, "-m", "oracle_tui", "models", f"{tmp_path}/my_net.py:MyNet"],
        env={**os.environ, "ORACLE_TUI_CACHE": str(shared_cache)},
        capture_output=True, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip
    told = re.search(r"```text\n(.*?)```", text, re.DOTALL)
    assert told is not None
    assert shown.split() == told[1].split()
