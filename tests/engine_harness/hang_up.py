"""Hang up the terminal that an app and its engine were started from, on a real pty.

Full form: ``python -m tests.engine_harness.hang_up --times 10``
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from engine.store.reader import RunReader
from tests.engine_harness import cases

# What `oracle-tui demo` does in a terminal, with a study of a few seconds' work.
SCRIPT = """
import sys
from pathlib import Path
from engine.control import start_engine
from oracle_tui.app import run_app
run = Path(sys.argv[1])
start_engine(run)
sys.exit(run_app(run.parent, open_run=run.name))
"""
STUDY = {
    "layers": "conv1", "ratio": "0.2", "candidates": "20", "epochs": "8", "pretrain_epochs": "4",
    "repeats": "2",
}  # fmt: skip


def drain(fd: int, seconds: float) -> bytes:
    """Return what the terminal got within `seconds`."""
    return os.read(fd, 1 << 16) if select.select([fd], [], [], seconds)[0] else b""


def hang_up_once(run: Path) -> tuple[float, list[str]]:
    """Start app and engine on a pty and close it; return the seconds and what went wrong."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="30")
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT, str(run)])
    output, deadline = b"", time.monotonic() + cases.PATIENCE
    while b"conv1" not in output or not cases.finished(run):
        output += drain(fd, 0.1)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the app did not come up: {output[-2000:]!r}")
    engine = psutil.Process(json.loads((run / "lock").read_text())["pid"])
    mine = {process.pid for process in psutil.Process(pid).children(recursive=True)}
    mine = (mine | {pid}) - {engine.pid}
    began = time.monotonic()
    os.close(fd)
    ended = 0
    while not ended and time.monotonic() - began < 30:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)
    seconds = time.monotonic() - began
    wrong = []
    if not ended:
        wrong.append("the app did not end")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if left := [other for other in mine if psutil.pid_exists(other)]:
        wrong.append(f"orphans {left}")
    # An engine that ended between the two looks has said before that it is done.
    state = "running" if engine.is_running() else "gone"
    if (status := cases.status(run)) != "done" and (state, status) != ("running", "running"):
        wrong.append(f"the engine was disturbed: it is {state}, the run {status}")
    # The engine is no child of this process, so its end shows in the run.
    cases.until(lambda: not (run / "lock").exists(), "the engine's end")
    with RunReader(run) as reader:
        if reader.status != "done" or len(cases.finished(run)) != reader.layout.n_total:
            wrong.append(f"the study ended {reader.status}")
    return seconds, wrong


def main(times: int) -> int:
    """Hang up so many times; return how many things went wrong."""
    took, wrong = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ.update(
            ORACLE_TUI_CACHE=str(folder / "cache"), ORACLE_TUI_CONFIG=str(folder / "config.toml")
        )
        undisturbed = cases.make_run(folder / "runs", STUDY)
        cases.start(undisturbed).wait(cases.PATIENCE)
        for _ in range(times):
            run = cases.make_run(folder / "runs", STUDY)
            seconds, faults = hang_up_once(run)
            took.append(seconds)
            wrong += [*faults, *cases.differences(undisturbed, run)]
    print(
        f"hung up {times} times: app gone after {statistics.median(took):.2f} s in the median, "
        f"{max(took):.2f} s at most; wrong {wrong}"
    )
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    sys.exit(main(parser.parse_args().times))
