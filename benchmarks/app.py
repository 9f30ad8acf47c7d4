"""Measures the app on a real pseudo-terminal: `python -m benchmarks.app [--runs 1000]`.

Every figure is of the whole program as a person starts it: bytes read off the terminal, CPU and
memory from the system. Runs are made in a temporary folder by the store that makes all runs.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import numpy as np
import psutil

from engine.control import run_config
from engine.presets import PRESETS
from engine.store.layout import empty_rows
from engine.store.writer import RunWriter
from engine.summary import summarise_run

COLUMNS, LINES = 120, 36
BIG = 40_000


def make_run(folder: Path, seed: int, rows: int = 0, *, live: bool = False) -> RunWriter:
    """Make a run of so many retrained candidates; a live one stays open and locked."""
    spec = PRESETS["quick"].spec.with_(seed=seed)
    if rows:
        spec = spec.with_(layers=("conv1", "conv2"), ratios=(0.5, 0.5), candidates=rows)
    run = folder / f"{spec.hash[:6]}-bench-{seed}"
    config = run_config(spec, run.name, "cpu")
    RunWriter.create(run, config)
    writer = RunWriter.open(run)
    if rows:
        table = empty_rows(rows)
        generator = np.random.default_rng(seed)
        table["candidate"], table["status"] = np.arange(rows), 2
        table["pruned_train_loss"] = generator.gamma(2.0, 0.6, rows)
        accuracy = 0.95 - 0.01 * table["pruned_train_loss"] + generator.normal(0, 0.01, rows)
        for name in ("best_test_acc", "last_test_acc", "last5_test_acc"):
            table[name] = accuracy
        for name in ("best_test_loss", "last_test_loss", "last5_test_loss"):
            table[name] = 1 - accuracy
        table["epochs"] = table["best_epoch"] = 6
        table["finished_at"] = np.arange(rows)
        curves = np.repeat(accuracy.astype(np.float32)[:, None, None], 6, axis=1)
        writer.append(table, np.repeat(curves, 4, axis=2), None)
    writer.set_status("running" if live else "done")
    writer.set_summary(summarise_run(config, "done", writer.rows))
    writer.publish(final=not live)
    if not live:
        writer.close()
    return writer


class App:
    """The app on a pty, its bytes and its process."""

    def __init__(self, runs: Path, cache: Path, *, no_color: bool = False) -> None:
        self.output, self.started = bytearray(), time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(
                TERM="xterm-256color", COLORTERM="truecolor", ORACLE_TUI_CACHE=str(cache)
            )
            if no_color:
                os.environ["NO_COLOR"] = "1"
            os.execv(sys.executable, [sys.executable, "-m", "oracle_tui", "--runs-dir", str(runs)])
        ioctl(self.fd, TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.process = psutil.Process(self.pid)

    def read(self, seconds: float) -> int:
        """Read for so long; return how many bytes came."""
        end, count = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    new = os.read(self.fd, 65_536)
                except OSError:
                    break
                self.output += new
                count += len(new)
        return count

    def until(self, pattern: bytes, start: int = 0, limit: float = 60.0) -> float:
        """Read until a pattern is on the terminal; return the seconds it took."""
        begin = time.monotonic()
        while not re.search(pattern, bytes(self.output[start:])):
            if time.monotonic() - begin > limit:
                raise TimeoutError(f"{pattern!r} did not come: {bytes(self.output[-500:])!r}")
            self.read(0.002)
        return time.monotonic() - begin

    def press(self, keys: bytes) -> int:
        """Send keys; return the place in the output where the answer begins."""
        place = len(self.output)
        os.write(self.fd, keys)
        return place

    def answer(self, keys: bytes) -> float:
        """Seconds from a key to the first byte on the terminal."""
        place = self.press(keys)
        return self.until(rb"(?s).", place)

    def cpu(self, seconds: float) -> float:
        """Share of a core over so many seconds, in per cent."""
        before = sum(self.process.cpu_times()[:2])
        self.read(seconds)
        return 100 * (sum(self.process.cpu_times()[:2]) - before) / seconds

    def leave(self) -> float:
        """Seconds from q to the end of the process."""
        begin = time.monotonic()
        self.press(b"q")
        while time.monotonic() - begin < 30:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return time.monotonic() - begin
            self.read(0.005)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return float("inf")


@contextmanager
def opened(runs: Path, cache: Path, **settings: bool) -> Iterator[App]:
    """Start the app, and end it whatever happens."""
    app = App(runs, cache, **settings)
    try:
        yield app
    finally:
        if psutil.pid_exists(app.pid) and app.process.status() != psutil.STATUS_ZOMBIE:
            os.kill(app.pid, signal.SIGKILL)
        os.close(app.fd)


class Printed(dict[str, float]):
    """Figures that are printed the moment they are known."""

    def __setitem__(self, name: str, value: float) -> None:
        super().__setitem__(name, value)
        print(json.dumps({name: round(value, 3)}), flush=True)


def measure(many: int) -> dict[str, float]:
    """Measure every bar; seconds, per cent, bytes a second and MB as the names say."""
    found: dict[str, float] = Printed()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        few, lot, cache = root / "few", root / "lot", root / "cache"
        for folder in (few, lot):
            folder.mkdir()
        make_run(few, 0, BIG)
        live = make_run(few, 1, 200, live=True)
        make_run(lot, 0, BIG)
        for seed in range(1, many):
            make_run(lot, seed)
        with opened(few, cache) as app:
            app.until(b"oracle-tui ")
            app.until(b"quit|Quit")
            app.read(5.0)
            app.leave()
        with opened(few, cache) as app:  # warm: everything is in the page cache
            app.until(b"Quit")
            found["first paint, s"] = time.monotonic() - app.started
            found["quit during the imports, s"] = app.leave()
        with opened(few, cache) as app:
            app.until(b"n=40k")
            app.read(6.0)
            app.press(b"j")
            app.read(1.0)
            begin = time.monotonic()
            place = app.press(b"\r")
            app.until(rb" in [\d,]+ cells", place)  # stands over the finished plot
            found["40,000 rows: open to first plot, s"] = time.monotonic() - begin
            app.read(6.0)
            answers = []
            for key in (b"o", *[b"l"] * 20, *[b"h"] * 20, b"b"):
                answers.append(app.answer(key))
                app.read(0.1)
            found["key to screen at 40,000 rows, median s"] = float(np.median(answers))
            found["key to screen at 40,000 rows, largest s"] = max(answers)
            app.press(b"+")
            answers = [app.answer(key) for key in [b"l", b"h"] * 10]
            found["the same while frames are built, largest s"] = max(answers)
            found["quit from the run, s"] = app.leave()
        for colour, title in ((False, "one colour"), (True, "colours")):
            with opened(few, cache, no_color=not colour) as app:
                app.until(b"running")
                app.read(6.0)
                app.press(b"\r")
                app.read(4.0)
                if colour:
                    beat(live, 0)
                    found["idle CPU with a live run on screen, %"] = idle(app, live)
                total, seconds = 0, 8
                for second in range(seconds):
                    grow(live, second + (100 if colour else 0))
                    total += app.read(1.0)
                found[f"bytes/s at one frame a second, {title}"] = total / seconds
                app.leave()
        with opened(lot, cache) as app:
            app.until(f"{many}".encode(), limit=120)
            app.read(8.0)
            found[f"idle CPU with {many} runs listed, %"] = app.cpu(15.0)
            app.press(b"/tau<-0.99")
            app.read(2.0)
            app.press(b"\x1b")
            app.read(2.0)
            app.press(b"G\r")
            app.read(8.0)
            memory = app.process.memory_info().rss
            found[f"memory with {many} runs listed and 40,000 rows open, MB"] = memory / 1e6
            app.leave()
        live.close()
    return found


def beat(writer: RunWriter, done: int) -> None:
    """Say that the engine lives, as one does every second."""
    writer.beat({"status": "running", "stage": "retraining", "stage_done": 3, "stage_total": 6,
                 "stage_unit": "epochs", "n_done": done, "n_total": 200, "rate": 5e4,
                 "eta_seconds": 60.0, "note": "", "provisional": []})  # fmt: skip


def idle(app: App, writer: RunWriter) -> float:
    """CPU over ten seconds in which the engine beats and nothing else happens."""
    before = sum(app.process.cpu_times()[:2])
    for _ in range(10):
        beat(writer, 200)
        app.read(1.0)
    return 10 * (sum(app.process.cpu_times()[:2]) - before)


def grow(writer: RunWriter, step: int) -> None:
    """Change a few rows, so that a new frame is due."""
    rows = writer.rows[step % 50 * 4 : step % 50 * 4 + 4].copy()
    rows["best_test_acc"] = np.random.default_rng(step).uniform(0.9, 0.95, len(rows))
    writer.append(rows, None, None)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    measure(parser.parse_args().runs)


if __name__ == "__main__":
    main()
