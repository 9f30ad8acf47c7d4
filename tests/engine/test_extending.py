"""The worked example of docs/how-to/own-model-and-data.md: its files and commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "own-model-and-data.md"


def test_the_example_runs(tmp_path: Path, shared_cache: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    programs = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in programs] == ["my_data.py", "my_net.py"]
    for name, program in programs:
        (tmp_path / name).write_text(program)
    commands = re.findall(r"^    oracle-tui (.*)$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["datasets", "models", "run"]
    answers = []
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "oracle_tui", *command.split(), "--json"],
            cwd=tmp_path,
            env={
                **os.environ,
                "ORACLE_TUI_CACHE": str(shared_cache),
                "ORACLE_TUI_RUNS": str(tmp_path / "runs"),
                "PYTHONPATH": str(PAGE.parents[2]),
            },
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    (data,), (model,), run = answers
    assert (data["title"], data["train_images"], data["classes"]) == ("Rings and discs", 400, 2)
    assert [layer["name"] for layer in model["layers"]] == ["conv1", "conv2"]
    assert (run["status"], run["n_done"]) == ("done", 4)
    with h5py.File(tmp_path / "runs" / run["id"] / "run.h5", "r") as file:
        rows = file["candidates"][:]
    # With the right half of its first filters it still tells a ring from a disc.
    assert rows["best_test_acc"].max() > 0.8
