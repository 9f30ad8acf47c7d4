"""Let the disk of a real engine run full, again and again; it waits, says so, and goes on.

Full form, as root (it mounts small tmpfs): ``python -m tests.engine_harness.full_disk``
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.check import check_run
from engine.store.reader import RunReader
from engine.store.requests import send_request
from oracle_tui.reading import RunFollower
from tests.engine_harness import cases
from tests.store_harness.disk_full import small_disk

STUDY = {
    "layers": "conv1", "ratio": "0.2", "candidates": "45", "epochs": "10", "pretrain_epochs": "4",
    "repeats": "2",
}  # fmt: skip
KILOBYTES = 1024


def fill(disk: Path) -> Path:
    """Leave no room on a disk; return the file to remove."""
    ballast = disk / "ballast"
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, bytes(size))
    finally:
        os.close(fd)
    return ballast


def shown(run: Path) -> dict[str, Any]:
    """Return what `oracle-tui show --json` says."""
    command = [sys.executable, "-m", "oracle_tui", "show", str(run), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def says_full(run: Path) -> bool:
    """Tell whether the app shows the run as waiting for room."""
    view = RunFollower(run).read()
    return view.status == "paused" and "disk is full" in view.message


def beats(run: Path) -> bool:
    """Tell whether the heartbeat goes on."""
    with RunReader(run) as reader:
        first = reader.live()
        time.sleep(3)
        second = reader.live()
    return bool(first and second and first["heartbeat"] < second["heartbeat"])


def wait_out_full_disks(run: Path, disk: Path, times: int, seed: int) -> list[str]:
    """Run a study whose disk is filled `times`; return what went wrong."""
    rng = random.Random(seed)
    wrong: list[str] = []
    engine = cases.start(run, ORACLE_TUI_CHECKPOINT_SECONDS="0")
    try:
        for i in range(times):
            before = len(cases.finished(run))
            cases.until(
                lambda before=before: (
                    len(cases.finished(run)) > before or engine.poll() is not None
                ),
                "the next finished candidate",
            )
            time.sleep(rng.uniform(0, 0.3))
            if engine.poll() is not None:
                return [*wrong, f"ended before the disk was full {times} times"]
            ballast = fill(disk)
            cases.until(lambda: says_full(run) or engine.poll() is not None, "word of it")
            held = cases.finished(run)
            if engine.poll() is not None:
                return [*wrong, f"the engine ended with {engine.returncode}"]
            if i == 0:
                told = shown(run)
                if told["status"] != "paused" or "disk is full" not in told["hint"]:
                    wrong.append(f"show says {told['status']}: {told['hint']}")
                if not beats(run):
                    wrong.append("the heartbeat stopped")
            ballast.unlink()
            cases.until(lambda: not says_full(run) or engine.poll() is not None, "going on")
            if not held <= cases.finished(run):
                wrong.append("finished rows were lost")
        engine.wait(cases.PATIENCE)
    finally:
        engine.kill()
    if cases.status(run) != "done":
        wrong.append(f"it ended {cases.status(run)}")
    return wrong


def stop_and_resume_when_full(run: Path, disk: Path) -> list[str]:
    """Stop an engine that waits for room, and resume without and with room."""
    wrong = []
    engine = cases.start(run)
    cases.until(lambda: len(cases.finished(run)) > 0, "the first finished candidate")
    ballast = fill(disk)
    cases.until(lambda: says_full(run), "word of it")
    held = cases.finished(run)
    send_request(run, "stop")
    engine.wait(60)
    if cases.finished(run) != held or (run / "lock").exists():
        wrong.append("the stop did not leave everything as it was")
    engine = cases.start(run)  # refused in a sentence, or it waits for room from its first step on
    cases.until(lambda: engine.poll() is not None or says_full(run), "a refusal or a wait")
    if engine.poll() not in (None, 2):
        wrong.append(f"it ended with {engine.returncode}")
    ballast.unlink()
    if engine.poll() is not None:
        engine = cases.start(run)
    engine.wait(cases.PATIENCE)
    if cases.status(run) != "done" or not held <= cases.finished(run):
        wrong.append(f"not resumed: {cases.status(run)}")
    return wrong


def study_with_full_cache(run: Path) -> list[str]:
    """Work through a study whose cache has no room at all."""
    with small_disk(16) as disk:
        (disk / "base").mkdir()
        fill(disk)
        cases.start(run, ORACLE_TUI_CACHE=str(disk)).wait(cases.PATIENCE)
        left = [path.name for path in (disk / "base").iterdir()]
    said = (run / "engine.log").read_text()
    wrong = [f"left {left} in the cache"] if left else []
    if cases.status(run) != "done" or os.strerror(errno.ENOSPC) not in said:
        wrong.append(f"{cases.status(run)} with a full cache")
    return wrong


def main(times: int, seed: int) -> int:
    """Run all of it; return how many things went wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ORACLE_TUI_CACHE"] = str(folder / "cache")
        undisturbed = cases.make_run(folder / "runs", STUDY)
        cases.start(undisturbed).wait(cases.PATIENCE)
        with small_disk(KILOBYTES) as disk:
            run = cases.make_run(disk / "runs", STUDY)
            wrong = wait_out_full_disks(run, disk, times, seed)
            wrong += [f"other {name}" for name in cases.differences(undisturbed, run)]
            wrong += [finding.text for finding in check_run(run).findings]
        with small_disk(KILOBYTES) as disk:
            run = cases.make_run(disk / "runs", STUDY)
            wrong += stop_and_resume_when_full(run, disk)
            wrong += [f"other {name}" for name in cases.differences(undisturbed, run)]
        wrong += study_with_full_cache(cases.make_run(folder / "runs", STUDY))
    print(f"disk full {times} times in one study, then on stop, resume and cache: wrong {wrong}")
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(main(arguments.times, arguments.seed))
