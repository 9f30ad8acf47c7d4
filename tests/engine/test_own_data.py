"""Studies on folders of images and on files of arrays, through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.control import create_run
from engine.entries import read_entries
from engine.store.reader import RunReader
from tests.engine.conftest import start, wait_for, work_through
from tests.engine.test_study import table
from tests.image_folders import WNIDS, imagenet_like

SMALL = ("--model", "resnet20@8", "--layers", "layer3.*.conv1", "--ratio", "0.5",
         "--candidates", "2", "--pretrain-epochs", "1", "--device", "cpu")  # fmt: skip


def _run(runs: Path, cache: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "oracle_tui", "run", *SMALL, "--runs-dir", str(runs), "--json",
         *arguments],
        env={**os.environ, "ORACLE_TUI_CACHE": str(cache), **environment},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_study_on_a_subset_of_imagenet_and_on_arrays(tmp_path: Path, shared_cache: Path) -> None:
    root = imagenet_like(tmp_path / "ilsvrc")
    code, out, err = _run(
        tmp_path, shared_cache, "--dataset", "imagenet@classes=2,images=9", "--epochs", "1",
        ORACLE_TUI_IMAGENET=str(root),
    )  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    assert summary["dataset"] == "imagenet@classes=2,images=9"
    assert (summary["status"], summary["n_done"]) == ("done", 2)
    assert np.isfinite(table(tmp_path / summary["id"])["pruned_train_loss"]).all()
    # The folder goes, the run stays readable: its spec holds the facts.
    (root / "train").rename(root / "gone")
    assert RunReader(tmp_path / summary["id"]).config["spec"]["data_facts"]["train_images"] == 18
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (labels[:, None, None] * 60 + generator.integers(0, 60, (60, 9, 9))).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    code, out, err = _run(
        tmp_path, shared_cache, "--dataset", f"{tmp_path}/mine.npz", "--epochs", "1"
    )
    assert code == 0, err
    assert json.loads(out)["n_done"] == 2


def test_what_is_wrong_with_a_folder_is_said_before_or_in_the_run(
    tmp_path: Path, shared_cache: Path
) -> None:
    root = imagenet_like(tmp_path / "images", train=3, test=2)
    broken = root / "train" / WNIDS[2] / f"{WNIDS[2]}_0.JPEG"
    broken.write_bytes(broken.read_bytes()[:60])
    code, _, err = _run(tmp_path, shared_cache, "--dataset", f"folder:{root}")
    assert code != 0
    assert f"The image {broken} cannot be read" in err
    for file in (root / "val" / WNIDS[1]).iterdir():
        file.unlink()
    code, _, err = _run(tmp_path, shared_cache, "--dataset", f"folder:{root}")
    assert code == 2
    assert f"{root}/val/{WNIDS[1]} holds no image" in err


def test_a_study_on_a_folder_is_resumed_to_the_same_numbers(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its first candidate; the packs of the second part are of another size."""
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(shared_cache))
    root = imagenet_like(tmp_path / "images")
    entries = {
        "model": "resnet20@8", "dataset": f"folder:{root}", "layers": "layer3.*.conv1",
        "ratio": "0.5", "candidates": "5", "epochs": "2", "pretrain_epochs": "1",
    }  # fmt: skip
    spec = read_entries(entries)
    undisturbed, killed = (create_run(tmp_path / "runs", spec, "cpu") for _ in "12")
    work_through(undisturbed)
    engine = start(killed)
    wait_for(lambda: len(RunReader(killed).rows) > 0, "the scores", engine)
    if engine.poll() is None:
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait(60)
    assert RunReader(killed).status != "done"
    # One thread in place of two: packs of another size, and one image decoded at a time.
    subprocess.run(
        ["taskset", "-c", "0", sys.executable, "-m", "engine", str(killed)], check=True, timeout=240
    )
    for name in ("candidates", "curves"):
        pd.testing.assert_frame_equal(
            table(undisturbed, name), table(killed, name), check_exact=True
        )
