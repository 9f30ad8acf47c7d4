"""Measure the listing of many runs, without and with its index.

``python -m tests.engine_harness.listing --runs 1000``
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.folders import shipped_folder
from engine.store.image import build_image
from engine.store.layout import HDF5_NAME
from engine.store.listing import INDEX_NAME, list_runs
from engine.store.salvage import salvage
from engine.store.summary import RunState
from engine.summary import summarise_run


def make_runs(folder: Path, n: int) -> None:
    """Make finished run folders of the size of the shipped one, each with an id of its own."""
    shipped = min((shipped_folder() / "runs").glob("*.h5"), key=lambda path: path.stat().st_size)
    found = salvage(shipped)
    for i in range(n):
        run = folder / f"run-{i:05d}"
        run.mkdir(mode=0o700)
        config = {**found.config, "run_id": run.name}
        if i == 0:
            summary = summarise_run(config, "done", found.table.rows)
            image = build_image(
                found.table, RunState(config, "done", "", 9, summary), compress=True
            )
            (run / HDF5_NAME).write_bytes(image)
        else:
            shutil.copyfile(folder / "run-00000" / HDF5_NAME, run / HDF5_NAME)


def timed(folder: Path) -> float:
    """Return how long a listing takes."""
    began = time.perf_counter()
    list_runs(folder)
    return time.perf_counter() - began


def main(n: int) -> int:
    """Measure; return 0 where the bars hold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "runs"
        folder.mkdir()
        make_runs(folder, n)
        without, with_index = [], []
        for _ in range(7):
            (folder / INDEX_NAME).unlink(missing_ok=True)
            without.append(timed(folder))
            with_index.append(timed(folder))
        command = [sys.executable, "-m", "oracle_tui", "runs", "--json", "--runs-dir", str(folder)]
        began = time.perf_counter()
        ended = subprocess.run(command, capture_output=True, check=True, env=dict(os.environ))
        whole = time.perf_counter() - began
        listed = len(json.loads(ended.stdout))
    slow, quick = statistics.median(without), statistics.median(with_index)
    print(
        f"{listed} runs: without index {1000 * slow:.0f} ms ({1000 * min(without):.0f} to "
        f"{1000 * max(without):.0f}), with {1000 * quick:.0f} ms ({1000 * min(with_index):.0f} to "
        f"{1000 * max(with_index):.0f}); `oracle-tui runs --json` as a process {whole:.2f} s"
    )
    return 0 if listed == n and slow < 4 and quick < 0.2 else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    sys.exit(main(parser.parse_args().runs))
