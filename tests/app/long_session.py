"""A long session of the real app in a real tmux: keys from a seeded plan, and mishaps.

``python -m tests.app.long_session --seconds 3600`` types through every screen, resizes, detaches
and attaches, kills engines, fills the disk (as root, on a small tmpfs of its own) and deletes runs
under the cursor. It watches for tracebacks, a dead app, keys without effect and stale screens, and
ends with what it found; the exit code is the number of findings.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.app import make_run
from engine.control import create_run, start_engine
from engine.entries import read_entries
from engine.errors import OracleError
from engine.store.layout import LOCK_NAME
from engine.store.lock import read_holder
from oracle_tui.listing import example_folders
from tests.app.tmux_session import SIZES, Session

STUDY = {
    "layers": "conv1", "ratio": "0.2", "candidates": "40", "epochs": "40", "pretrain_epochs": "3",
}  # fmt: skip
RESPONSE = 10.0  # seconds until a key must have shown something, with others on the machine
BAD = re.compile(r"Traceback|Something went wrong|could not be drawn|Error: ")

#: Keys by what they are for; none starts a study, and q is pressed on purpose only.
KEYS = {
    "go": [*"hjklgG", "Up", "Down", "Left", "Right", "Home", "End", "PageUp", "PageDown", "Tab",
           "BTab"],
    "turn": [*"12345678[]", "Enter", "Escape", "Escape"],
    "look": [*"+-=HJKLfa0ob.muxvXV<>it{}", "Space"],
    "act": [*"pryesncd,?/", "C-p", "C-l"],
    "type": ["conv1", "tau<0", "status:done", "zzz", "n>10", "model:lenet", ":::", "é語"],
}  # fmt: skip
WEIGHTS = {"go": 10, "turn": 6, "look": 8, "act": 3, "type": 1}


class Player:
    """Plays a plan, and writes down what should not be."""

    def __init__(self, session: Session, seed: int, disk: Path | None) -> None:
        self.session, self.disk = session, disk
        self.dice = random.Random(seed)
        self.seed = seed
        self.count: Counter[str] = Counter()
        self.findings: list[str] = []
        self.recent: list[str] = []
        self.bytes_free = 0
        # Runs that are listed beside those of the folder.
        self.examples = sum(len(list(folder.glob("*.h5"))) for folder in example_folders())

    def found(self, what: str) -> None:
        """Write down a finding with the screen and the keys before it."""
        text = f"{what}\nafter {self.recent[-12:]}\n{self.session.screen}"
        self.findings.append(text)
        print(text, flush=True)

    def watch(self) -> None:
        """Look for what should never be on a screen, and for a dead app."""
        screen = self.session.screen
        if bad := BAD.search(screen):
            self.found(f"the screen says {bad.group()!r}")
            self.session.press("Escape")
        if self.session.app is None:
            time.sleep(1.0)
            self.found("the app is gone")
            self.begin()

    def begin(self) -> None:
        """Start the app and wait for its list."""
        self.session.start()
        self.count["starts"] += 1
        if not self.session.until("oracle-tui .*run", 60):
            self.found("the app does not come up")

    def keys(self) -> None:
        """Press some keys of one kind."""
        kind = self.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        for _ in range(self.dice.randint(1, 4)):
            key = self.dice.choice(KEYS[kind])
            self.recent.append(key)
            self.session.press(key, literal=kind == "type")
            self.count["keys"] += 1
            time.sleep(self.dice.choice([0.0, 0.02, 0.2]))

    def home(self) -> bool:
        """Go back to the list of all runs."""
        for _ in range(12):
            if self.session.until(r"oracle-tui .*\d+ runs?", 0.3) and self.session.size[0] >= 60:
                break
            self.session.press("Escape")
            time.sleep(0.2)
        self.session.press("Escape")
        self.session.press("Escape")
        return self.session.until(r"oracle-tui .*\d+ runs?", RESPONSE)

    def responds(self) -> None:
        """Check that a key still has an effect."""
        time.sleep(0.5)  # esc and a key that are read at once are another key
        before = self.session.screen
        for key in ("?", "Escape"):  # an open list of choices takes ? for a search
            self.session.press(key)
            deadline = time.monotonic() + RESPONSE
            while self.session.screen == before and time.monotonic() < deadline:
                time.sleep(0.05)
            if self.session.screen != before:
                break
        else:
            self.found("neither ? nor esc has an effect")
        self.session.press("Escape")
        self.count["responses"] += 1

    def counts_are_true(self) -> None:
        """Check that the list of runs follows the folder."""
        self.session.resize((120, 36))
        if not self.home():
            self.found("esc does not lead back to the list")
            self.session.press("q")
            self.session.until("left with", 5)
            self.begin()
            return
        deadline = time.monotonic() + 20
        while True:
            listed = re.search(r"oracle-tui .*?(\d+) runs?", self.session.screen)
            real = sum((path / "run.h5").exists() for path in self.session.runs.iterdir())
            shown = int(listed[1]) if listed else -1
            if shown == real + self.examples:
                break
            if time.monotonic() > deadline:
                text = f"the list says {shown} runs, the folder has {real} and {self.examples} ship"
                self.found(text)
                break
            time.sleep(0.3)
        self.count["lists"] += 1

    def live_run_moves(self) -> None:
        """Check that the screen of a run that is worked on goes on by itself."""
        self.engines()
        self.counts_are_true()
        for key in ("/", "status:running", "Enter"):
            self.session.press(key, literal=":" in key)
            time.sleep(0.3)
        if "status:running" not in self.session.screen or "No run matches" in self.session.screen:
            return
        self.session.press("Enter")
        if not self.session.until("▶ running", RESPONSE):
            return
        before, deadline = self.session.screen, time.monotonic() + 15
        while self.session.screen == before:
            if time.monotonic() > deadline:
                if any(holder.state() == "alive" for holder in self.holders().values()):
                    self.found("the screen of a live run stands still")
                break
            time.sleep(0.3)
        self.count["live screens"] += 1

    # Mishaps.

    def holders(self) -> dict[Path, object]:
        found = {}
        for path in self.session.runs.iterdir():
            with suppress(OSError, OracleError, ValueError):
                holder = read_holder(path / LOCK_NAME)
                if holder is not None and holder.state() == "alive" and holder.pid != os.getpid():
                    found[path] = holder
        return found

    def engines(self) -> None:
        """Have one engine at work, and not more than two."""
        holders = self.holders()
        if not holders:
            with suppress(OSError, OracleError):
                start_engine(create_run(self.session.runs, read_entries(STUDY), "cpu"))
                self.count["engines"] += 1
        for path in list(holders)[2:]:
            os.kill(holders[path].pid, signal.SIGKILL)  # type: ignore[attr-defined]

    def kill_engine(self) -> None:
        for holder in self.holders().values():
            os.kill(holder.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            self.count["killed engines"] += 1
            break

    def resize(self) -> None:
        for _ in range(self.dice.choice([1, 1, 5])):
            self.session.resize(self.dice.choice(SIZES))
            time.sleep(self.dice.choice([0.0, 0.05]))
        self.count["resizes"] += 1

    def away(self) -> None:
        self.session.detach()
        for _ in range(3):
            self.keys()
        time.sleep(self.dice.uniform(0.1, 3.0))
        self.session.attach()
        self.count["detached"] += 1

    def full_disk(self) -> None:
        if self.disk is None:
            return
        filler = self.disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65_536)
        for _ in range(8):
            self.keys()
            time.sleep(0.5)
        self.watch()
        filler.unlink(missing_ok=True)
        self.count["full disks"] += 1

    def delete(self) -> None:
        """Delete the run under the cursor, in the list or on its own screen, from outside."""
        screen = self.session.screen
        names = [path for path in self.session.runs.iterdir() if path.name[:6] in screen]
        for path in self.dice.sample(names, min(1, len(names))):
            shutil.rmtree(path, ignore_errors=True)
            self.count["deleted runs"] += 1
        with suppress(OSError, OracleError):
            make_run(self.session.runs, self.dice.randrange(10**6), 60)

    def quit(self) -> None:
        """Leave by q wherever it leaves, and come back."""
        self.counts_are_true()
        time.sleep(0.5)  # esc and a key that are read at once are another key
        self.session.press("q")
        if not self.session.until("left with 0", RESPONSE):
            self.found("q does not leave in order")
        self.begin()
        self.count["quits"] += 1

    def play(self, seconds: float) -> None:
        """Play so long."""
        self.begin()
        self.engines()
        acts = [self.keys, self.resize, self.away, self.kill_engine, self.engines, self.full_disk,
                self.delete, self.quit, self.responds, self.live_run_moves]  # fmt: skip
        weights = [60, 6, 3, 2, 2, 1, 2, 1, 6, 2]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            act = self.dice.choices(acts, weights)[0]
            if act != self.keys:
                self.recent.append(f"<{act.__name__}>")
            act()
            self.watch()
        self.counts_are_true()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a tmpfs of 24 MB where this user may."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def main() -> int:
    """Play a session and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--socket", default="oracle-tui-long-session")
    chosen = parser.parse_args()
    os.nice(10)
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name) / "disk") as disk:
        root = Path(name)
        os.environ.update(ORACLE_TUI_CACHE=str(root / "cache"), OMP_NUM_THREADS="1")
        runs = root / "disk" / "runs"
        runs.mkdir()
        for seed in range(4):
            make_run(runs, seed, 200)
        session = Session(chosen.socket, root, runs)
        player = Player(session, chosen.seed, disk)
        try:
            player.play(chosen.seconds)
            memory = session.app.memory_info().rss / 1e6 if session.app else float("nan")
        finally:
            for holder in player.holders().values():
                os.kill(holder.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            session.detach()
            session("kill-server")
        print(json.dumps({"seconds": chosen.seconds, "seed": chosen.seed, **player.count,
                          "app MB at the end": round(memory), "full disk tried": disk is not None,
                          "findings": len(player.findings)}))  # fmt: skip
    return len(player.findings)


if __name__ == "__main__":
    sys.exit(main())
