"""Examples that are run: a page shows what a command prints, its code runs, the tour works."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from engine.masks import MaskSpace, record_of, seed_of
from oracle_tui.cli.main import run_command_line
from tests.documentation.pages import DOCS, PAGES, ROOT, Block, blocks, name_of

RECORDED = "lenet5-mini-fashion-mnist-conv1-0.2-correct"
_TOUR = re.compile(r"^## Five minutes$.*?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def said_by(*arguments: str) -> str:
    """Returns what a command of the program writes to stdout."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run_command_line(arguments) == 0
    return out.getvalue()


def agrees(shown: list[str], printed: list[str]) -> bool:
    """Whether lines are as shown, where `...` stands for any number of lines."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(agrees(shown[1:], printed[at:]) for at in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and agrees(shown[1:], printed[1:])


def _named(found: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", found, ids=lambda block: name_of(block.page))


@_named([block for page in PAGES for block in blocks(page) if block.language == "console"])
def test_a_command_prints_what_the_page_shows(block: Block) -> None:
    parts = re.split(r"^\$ oracle-tui (.*)\n", block.text, flags=re.MULTILINE)
    assert parts[0] == ""
    assert len(parts) > 1
    for command, shown in zip(parts[1::2], parts[2::2], strict=True):
        printed = said_by(*shlex.split(command))
        lines = [line.rstrip() for line in printed.splitlines()]
        assert agrees([line.rstrip() for line in shown.splitlines()], lines), printed


def _runnable(page: Path) -> list[str]:
    found = [block for block in blocks(page) if block.language == "python"]
    return [block.text for block in found if "runnable" in block.info]


@pytest.mark.parametrize("page", [page for page in PAGES if _runnable(page)], ids=name_of)
def test_code_that_is_called_runnable_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a run file and its table of candidates; blocks of a page follow each other."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "data" / "runs" / f"{RECORDED}.h5", "run.h5")
    assert run_command_line(["export", RECORDED, "-o", "candidates.csv"]) == 0
    names: dict[str, object] = {}
    for code in _runnable(page):
        exec(compile(code, name_of(page), "exec"), names)


def test_the_pages_function_regenerates_the_engines_masks() -> None:
    names: dict[str, Any] = {}
    exec(_runnable(DOCS / "reference" / "run-file.md")[-1], names)
    masks = MaskSpace((250, 2_500), (225, 2_250), sample=3, seed=0)
    for record, weights, lost in zip(masks[2], masks.weights, masks.pruned, strict=True):
        mask = names["mask"](record, weights, lost)
        assert record_of(seed_of(record), mask) == record
        assert mask.sum() == lost


def test_the_tour_of_the_readme(tmp_path: Path) -> None:
    """Every command as it stands there, by a shell, with real engines; then the tutorial's code."""
    found = _TOUR.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    program = tmp_path / "bin" / "oracle-tui"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m oracle_tui "$@"\n')
    program.chmod(0o700)
    tour = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", found[1]],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert tour.returncode == 0, tour.stderr
    # An id alone is what `run` writes to stdout, or the commands after it would not find the run.
    assert tour.stderr.count("Done: 40 of 40 retrainings.") == 2
    assert "Traceback" not in tour.stderr
    assert "tau accuracy" in tour.stdout
    assert "is whole: 40 rows" in tour.stderr

    rows = pd.read_csv(tmp_path / "candidates.csv")
    assert len(rows) == 80
    assert set(rows["status"]) == {"done"}
    (code,) = _runnable(DOCS / "tutorial.md")
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    for tau in re.findall(r"tau ([+-]\.?[\d.]+), n = 20", said):
        # The same tau as the program's own, in its table of the two runs.
        assert f"20  {tau}" in tour.stdout
    assert said.count("n = 20") == 2
