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

from engine.catalog import MODELS
from engine.store.layout import RowStatus
from engine.store.reader import RunReader
from engine.store.requests import send_request
from engine.work.datasets.idx import read_images, read_labels
from tests.engine.conftest import wait_for

ROOT = Path(__file__).resolve().parents[2]
MODELS_PAGE = ROOT / "docs" / "reference" / "models.md"
FASHION = Path("/usr/share/datasets/fashion-mnist")
needs_fashion = pytest.mark.skipif(
    not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)


# What docs/reference/models.md says is studied by which tests comes from here.
FAST = [
    ("lenet5-mini-w20", ("--pretrain-recipe", "batch_size=32")),
    ("lenet5@44", ("--layers", "conv3", "--pretrain-recipe", "batch_size=32")),
    ("resnet20@8", ()),
    ("resnet18@8", ("--layers", "layer4.*.conv1")),
    ("timm:test_vit@32", ("--layers", "blocks.*", "--wiring", "released")),
]
LENETS = [name for name, info in MODELS.items() if info.family == "lenet"]
# Enough steps for the running statistics of many norms, from a base network that has learned, and
# no leaps at the end.
LONGER = (
    "--pretrain-epochs", "8", "--epochs", "6", "--recipe", "batch_size=64,learning_rate=0.001",
)  # fmt: skip
# Whole, however deep, on few and small images.
WHOLE = [
    ("vgg11@16", ()),
    ("vgg13@16", ()),
    ("vgg16@16", LONGER),
    ("vgg19@16", ()),
    ("resnet56@8", ()),
    ("resnet110@8", ()),
    ("resnet18@32", ()),
    ("resnet34@32", ()),
    ("resnet50@32", ()),
    ("resnet101@32", ()),
    ("timm:resnet26d@32", ("--layers", "layer*.conv2")),
    ("timm:test_convnext@32", ("--layers", "stages.*")),
    ("vit-b16@32", ("--layers", "conv_proj")),
    ("vit-b16-timm@32", ()),
]


def _study(
    folder: Path, cache: Path, model: str, *more: str, learns: bool = True
) -> dict[str, object]:
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
    assert (rows["best_test_acc"] > 0.15).all() or not learns
    return summary


@pytest.mark.parametrize(("model", "more"), FAST)
def test_a_small_study(tmp_path: Path, shared_cache: Path, model: str, more: tuple[str]) -> None:
    summary = _study(tmp_path, shared_cache, model, *more)
    assert summary["model"] == model


def _clothes(folder: Path, train: int, test: int) -> Path:
    """Writes the first images of Fashion-MNIST as a file of arrays, as a user would."""
    arrays = {}
    for split, name, all_of, few in (
        ("train", "train", 60_000, train),
        ("test", "t10k", 10_000, test),
    ):
        images = read_images(FASHION / f"{name}-images-idx3-ubyte.gz", all_of)
        labels = read_labels(FASHION / f"{name}-labels-idx1-ubyte.gz", all_of, 10)
        arrays |= {f"x_{split}": images[:few], f"y_{split}": labels[:few]}
    np.savez(folder / "clothes.npz", **arrays)
    return folder / "clothes.npz"


def _command(*words: str, cache: Path) -> str:
    """Runs a command of the program; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "oracle_tui", *words],
        # Checkpoints after every epoch, so that there is one to go on from.
        env={**os.environ, "ORACLE_TUI_CACHE": str(cache), "ORACLE_TUI_CHECKPOINT_SECONDS": "0"},
        capture_output=True, text=True, timeout=1_200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_fashion
@pytest.mark.slow
@pytest.mark.parametrize("model", LENETS)
def test_a_small_study_of_each_lenet(tmp_path: Path, shared_cache: Path, model: str) -> None:
    clothes = str(_clothes(tmp_path, 4_000, 1_000))
    summary = _study(
        tmp_path, shared_cache, model, "--dataset", clothes, "--layers", "conv1,conv2,conv3",
        "--pretrain-epochs", "6", "--pretrain-recipe", "batch_size=32",
        "--recipe", "batch_size=32,lr=.01",
        # Ten more neurons behind each other learn nothing in so few epochs.
        learns="-d" not in model,
    )  # fmt: skip
    assert summary["dataset"] == clothes


@needs_fashion
@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("model", "more"), WHOLE)
def test_a_small_study_of_a_large_model(
    tmp_path: Path, shared_cache: Path, model: str, more: tuple[str]
) -> None:
    """The whole network on few images: pruned, scored, retrained, stopped and gone on with."""
    clothes = _clothes(tmp_path, 512, 128)
    batches = ("--recipe", "batch_size=64", "--pretrain-recipe", "batch_size=64")
    told = json.loads(
        _command(
            "run", "--model", model, "--dataset", str(clothes), "--ratio", "0.5",
            "--candidates", "2", "--epochs", "3", "--pretrain-epochs", "2", "--device", "cpu",
            "--runs-dir", str(tmp_path), "--detach", "--json", *batches, *more, cache=shared_cache,
        )
    )  # fmt: skip
    run = tmp_path / told["id"]
    wait_for(lambda: any(run.glob("checkpoint-*.pt")), "the first checkpoint", seconds=1_200)
    send_request(run, "stop")
    wait_for(lambda: RunReader(run).status == "stopped", "the stop", seconds=300)
    _command("resume", str(run), "--follow", cache=shared_cache)
    assert "going on with a pack" in (run / "engine.log").read_text()
    assert RunReader(run).status == "done"
    with h5py.File(run / "run.h5", "r") as file:
        rows, curves = file["candidates"][:], file["curves"][:]
    assert rows["status"].tolist() == [RowStatus.DONE] * 2
    assert len(set(rows["pruned_train_loss"])) == 2
    # Having lost half its filters a network is worse than after a little training. (ResNet50 learns
    # nothing of 512 images within a few minutes, by torch's own layers either.)
    if model != "resnet50@32":
        assert (rows["last_train_loss"] < rows["pruned_train_loss"]).all()
    assert len(np.unique(curves[..., 0])) == curves[..., 0].size
    assert np.isfinite(curves).all()


def test_the_worked_example_of_the_documentation(tmp_path: Path, shared_cache: Path) -> None:
    """The file and the commands are taken out of docs/reference/models.md as they stand there."""
    text = MODELS_PAGE.read_text(encoding="utf-8")
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


def _said_of_studies() -> dict[str, list[str]]:
    """The table of docs/reference/models.md that says which model was studied where."""
    text = MODELS_PAGE.read_text(encoding="utf-8")
    lines = text[text.index("## What was run") :].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_what_the_documentation_says_was_run_is_run() -> None:
    said = _said_of_studies()
    assert set(said) >= set(MODELS)
    fast, whole = (dict(name.partition("@")[::2] for name, _ in of) for of in (FAST, WHOLE))
    for name, (every, slow, recorded) in said.items():
        if name == "tiny-llava":
            continue  # tests/engine/test_mllm_study.py
        # Most studies of LeNet5-Mini are those of tests/engine/test_study.py.
        known = {**fast, "lenet5-mini": ""}
        assert every == _told(name in known, known.get(name, "")), name
        slows = {**whole, **dict.fromkeys(LENETS, "")}
        assert slow == _told(name in slows, slows.get(name, "")), name
        if recorded == "yes":
            assert any((ROOT / "data" / "runs").glob(f"{name}-*.h5")), name


def _told(there: bool, size: str) -> str:
    return f"at {size} pixels" if size else "yes" if there else "no"
