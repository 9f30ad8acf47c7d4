"""A whole study in a real terminal, with a real engine and nothing but keys."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.lock import read_holder
from engine.store.reader import RunReader
from engine.waiting import RunQueue

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

PATIENCE = 180.0
_SIZE = ("COLUMNS", "LINES")
SCRIPT = """
import sys
from pathlib import Path
from oracle_tui.app import run_app
sys.exit(run_app(Path(sys.argv[1])))
"""


class Tmux:
    """A tmux server of its own with one window, driven like a person would."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.socket = folder / "tmux"
        self.folder = folder
        self.height = size[1]
        width, height = map(str, size)
        self("new-session", "-d", "-x", width, "-y", height, "-c", str(folder), "sh")

    def __call__(self, *words: str) -> str:
        command = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words]
        # Test runs may say a size of their own, which would win over the window's.
        env = {name: value for name, value in os.environ.items() if name not in _SIZE}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout

    def press(self, *keys: str) -> None:
        for key in keys:
            self("send-keys", key)
            time.sleep(0.3)  # Textual reorders keys that come in one burst

    def type(self, line: str) -> None:
        self("send-keys", "-l", line)
        self("send-keys", "Enter")

    @property
    def screen(self) -> str:
        return self("capture-pane", "-p")

    def until(self, *texts: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while True:
            screen = self.screen
            if any(text in screen for text in texts):
                return screen
            assert time.monotonic() < deadline, f"waited in vain for {texts} in:\n{screen}"
            time.sleep(0.2)


@pytest.fixture(params=[(80, 24), (120, 36)], ids=["80x24", "120x36"])
def tmux(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tmux]:
    window = Tmux(tmp_path, request.param)
    yield window
    window("kill-server")


def test_new_run_watch_leave_come_back_stop_export(tmux: Tmux, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    package = Path(__file__).resolve().parents[2]
    start = (
        f"PYTHONPATH={package} OMP_NUM_THREADS=1 ORACLE_TUI_CACHE={tmp_path / 'cache'} "
        f"{sys.executable} -c '{SCRIPT}' {runs}"
    )
    tmux.type(start)
    tmux.until("No runs yet", "example")
    tmux.press("n")
    tmux.until("45 retrainings")
    # Half of the filters, 252 candidates, and so many epochs that nobody waits for the end. A box
    # that gets the focus is replaced by what is typed.
    tmux.press(*["Tab"] * 4, "0", ".", "5", *["Tab"] * 3, "9", "0")
    tmux.until("C(10,5) = 252")
    tmux.press("C-s")
    tmux.until("tau acc")
    (folder,) = (path for path in runs.iterdir() if path.is_dir())
    try:
        tmux.until("retraining")
        tmux.until("provisional")
        tmux.press("q")
        tmux.until("on in the background")
        tmux.type(f"clear; {start}; echo left with $?")
        tmux.until("▶ running")
        tmux.press("Enter")
        tmux.until("provisional")
        tmux.press("p")
        tmux.until("‖ paused")
        tmux.press("p")
        tmux.until("▶ running")
        tmux.press("s")
        tmux.until("Finished")
        tmux.press("y")
        tmux.until("■ stopped")
        assert RunReader(folder).status == "stopped"
        tmux.press("e")
        tmux.until("Wrote")
        assert (tmp_path / f"{folder.name}-candidates.csv").stat().st_size > 1_000
        tmux.press("Escape")
        tmux.until("■ stopped")
        tmux.press("q")
        tmux.until("left with 0")
    finally:
        try:
            holder = read_holder(folder / "lock")
        except FileNotFoundError:
            holder = None
        if holder is not None and holder.state() == "alive":
            os.kill(holder.pid, signal.SIGKILL)


def test_a_sweep_is_queued_and_worked_through(tmux: Tmux, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    package = Path(__file__).resolve().parents[2]
    tmux.type(
        f"PYTHONPATH={package} OMP_NUM_THREADS=1 ORACLE_TUI_CACHE={tmp_path / 'cache'} "
        f"{sys.executable} -c '{SCRIPT}' {runs}"
    )
    tmux.until("No runs yet", "example")
    tmux.press("n")
    form = tmux.until("45 retrainings")
    # Where there is room, the last entries are seen without scrolling.
    assert ("Shard" in form) == (tmux.height == 36)
    tmux.press(*["Tab"] * 4, "0", ".", "2", "\\;", "0", ".", "3")
    tmux.until("New sweep: 2 runs")
    # Three candidates, one epoch: candidates, repeats, retraining, pretraining.
    tmux.press("Tab", "3", "Tab", "Tab", "1", "Tab", "1")
    tmux.until("6 retrainings")
    tmux.press("C-s")
    tmux.until("2 runs for the queue")
    tmux.until("3           3")
    tmux.press("Enter")
    tmux.until("Nobody works through it")
    first, second = RunQueue(runs).names()
    tmux.press("J")
    tmux.until(f"1   {second}")
    assert RunQueue(runs).names() == [second, first]
    tmux.press("s")
    tmux.until("works through it")
    tmux.until("The queue is empty")
    assert [RunReader(runs / name).status for name in (first, second)] == ["done", "done"]
    tmux.press("Escape")
    tmux.until("✓ done")
    tmux.press("q")
