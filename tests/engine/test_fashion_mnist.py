"""The full Fashion-MNIST of Debian's package, through the same commands as everything else."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import kendalltau

FOLDER = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_a_small_sample_on_full_fashion_mnist() -> None:
    command = [sys.executable, "-m", "oracle_tui"]
    entries = "--dataset fashion-mnist --ratio 0.5 --candidates 4 --epochs 1 --pretrain-epochs 1"
    ended = subprocess.run(
        [*command, "run", *entries.split(), "--device", "cpu", "--json"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["status"], told["n"], told["candidates_in_all"]) == ("done", 4, 252)
    # One epoch over 60,000 images is well above the tenth that guessing gives.
    assert told["base_test_acc"] > 0.4
    exported = subprocess.run(
        [*command, "export", told["id"]], capture_output=True, text=True, timeout=60, check=True
    )
    rows = pd.read_csv(io.StringIO(exported.stdout))
    tau = kendalltau(rows["pruned_train_loss"], rows["best_test_acc"]).statistic
    assert told["kendall_tau_acc"] == pytest.approx(tau, abs=1e-9, nan_ok=True)
