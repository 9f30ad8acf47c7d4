"""Studies of vision-language models, through the command line and by real engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.control import create_run
from engine.entries import read_entries
from engine.store.reader import RunReader
from tests.engine.conftest import start, wait_for, work_through
from tests.engine.test_study import table
from tests.vision_language import needs_peft, save_digits, save_tiny

FASHION = Path("/usr/share/datasets/fashion-mnist")
HEADS = "model.language_model.layers.*.self_attn"


def run(runs: Path, cache: Path, *arguments: str, timeout: float = 240) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "oracle_tui", "run", "--runs-dir", str(runs), "--json", "--device",
         "cpu", *arguments],
        env={**os.environ, "ORACLE_TUI_CACHE": str(cache)},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_candidates_on_dialogues_of_ones_own(tmp_path, shared_cache):
    file = save_digits(tmp_path / "data")
    told = run(
        tmp_path, shared_cache, "--model", "tiny-llava", "--dataset",
        f"llava:{file}:{file.parent}/images", "--candidates", "2", "--ratio", "0.5",
        "--epochs", "2", "--pretrain-epochs", "2", "--tuning", "scored=20,checkpointing",
    )  # fmt: skip
    assert (told["status"], told["n_done"]) == ("done", 2)
    rows = table(tmp_path / told["id"])
    assert np.isfinite(rows["pruned_train_loss"]).all()
    assert rows["pruned_train_loss"].nunique() == 2
    # Two epochs of one batch change little, but they do.
    assert (rows["last_test_loss"] != rows["pruned_train_loss"]).all()
    spec = RunReader(tmp_path / told["id"]).config["spec"]
    assert spec["tuning"] == {"lora": 0, "alpha": 16.0, "checkpointing": True, "scored": 20}
    # A tenth of the images is the test set; what has no image is left out.
    facts = spec["data_facts"]
    assert (facts["train_images"], facts["test_images"]) == (54, 6)


@needs_peft
def test_a_models_folder_with_lora_begins_from_its_weights(tmp_path, shared_cache):
    file = save_digits(tmp_path / "data")
    model = save_tiny(tmp_path / "model")
    told = run(
        tmp_path, shared_cache, "--model", f"hf:{model}", "--layers", HEADS, "--ratio", "0.5",
        "--dataset", f"llava:{file}:{file.parent}/images", "--candidates", "2", "--epochs", "1",
        "--tuning", "lora=2", "--precision", "bf16",
    )  # fmt: skip
    assert (told["status"], told["n_done"]) == ("done", 2)
    # Random weights over 37 words: no better than guessing, because nothing was trained before.
    with RunReader(tmp_path / told["id"]) as reader:
        assert reader.config["base_train_loss"] == pytest.approx(np.log(42), abs=0.3)


@pytest.mark.slow
def test_a_killed_engine_goes_on_within_a_candidate(tmp_path, shared_cache, monkeypatch):
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(shared_cache))
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", "0")
    file = save_digits(tmp_path / "data")
    spec = read_entries(
        {"model": "tiny-llava", "dataset": f"llava:{file}:{file.parent}/images", "layers": HEADS,
         "ratio": "0.5", "candidates": "2", "epochs": "12", "pretrain_epochs": "2"}
    )  # fmt: skip
    whole, killed = (create_run(tmp_path / name, spec, "cpu") for name in ("whole", "killed"))
    work_through(whole)
    engine = start(killed)
    wait_for(lambda: bool(list(killed.glob("checkpoint-*.pt"))), "a checkpoint", engine)
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    work_through(killed)
    assert "going on with a pack" in (killed / "engine.log").read_text()
    own = ["candidate", "repeat", "pruned_train_loss", "last_test_loss", "last_test_acc"]
    assert table(killed)[own].equals(table(whole)[own])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_thirty_candidates_of_tiny_llava(tmp_path, shared_cache):
    told = run(
        tmp_path, shared_cache, "--model", "tiny-llava", "--dataset", "fashion-qa", "--layers",
        "*", "--ratio", "0.5", "--candidates", "30", "--repeats", "2", "--epochs", "1",
        "--pretrain-epochs", "6", timeout=3500,
    )  # fmt: skip
    assert (told["status"], told["n_done"]) == ("done", 60)
    assert told["base_test_acc"] > 0.75
    rows = table(tmp_path / told["id"]).groupby("candidate").mean(numeric_only=True)
    # Pruning hurts, by how much depends on the candidate, and retraining heals.
    assert rows["pruned_train_loss"].median() > 2 * rows["last_test_loss"].median()
    assert rows["pruned_train_loss"].std() > 0.2
    assert rows["best_test_acc"].max() > 0.7
