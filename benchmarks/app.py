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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

import numpy as np
import psutil

from benchmarks.screen import Screen
from engine.control import run_config
from engine.presets import PRESETS
from engine.store.layout import empty_rows
from engine.store.writer import RunWriter
from engine.summary import summarise_run

COLUMNS, LINES = 120, 36
BIG = 40_000
PARTS = ("start", "big", "live", "moving", "many")


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
        self.screen, self.started = Screen(COLUMNS, LINES), time.monotonic()
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
        self.cpu_of_leaving = float("nan")

    def read(self, seconds: float) -> int:
        """Read for so long; return how many bytes came."""
        end, count = time.monotonic() + seconds, 0
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    new = os.read(self.fd, 65_536)
                except OSError:
                    break
                self.screen.feed(new)
                count += len(new)
        return count

    def until(self, pattern: str, limit: float = 60.0) -> float:
        """Read until the screen shows a pattern; return the seconds it took."""
        begin = time.monotonic()
        while not re.search(pattern, self.screen.text):
            if time.monotonic() - begin > limit:
                raise TimeoutError(f"{pattern!r} did not come:\n{self.screen.text}")
            self.read(0.005)
        return time.monotonic() - begin

    def press(self, keys: bytes) -> None:
        """Send keys."""
        os.write(self.fd, keys)

    def answer(self, key: bytes, limit: float = 10.0) -> float:
        """Seconds from a key to the first byte on the terminal."""
        begin = time.monotonic()
        self.press(key)
        while not self.read(0.002):
            if time.monotonic() - begin > limit:
                raise TimeoutError(f"{key!r} had no effect:\n{self.screen.text}")
        return time.monotonic() - begin

    def cpu(self, seconds: float) -> float:
        """Share of a core over so many seconds, in per cent."""
        before = sum(self.process.cpu_times()[:2])
        self.read(seconds)
        return 100 * (sum(self.process.cpu_times()[:2]) - before) / seconds

    def leave(self) -> float:
        """Seconds from q to the end of the process."""
        begin, before = time.monotonic(), sum(self.process.cpu_times()[:2])
        self.press(b"q")
        while time.monotonic() - begin < 30:
            pid, _, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.cpu_of_leaving = usage.ru_utime + usage.ru_stime - before
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


def measure(many: int, parts: Sequence[str], times: int) -> dict[str, float]:
    """Measure parts of the bars; seconds, per cent, bytes a second and MB as the names say."""
    found: dict[str, float] = Printed()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        few, lot, cache = root / "few", root / "lot", root / "cache"
        for folder in (few, lot):
            folder.mkdir()
        make_run(few, 0, BIG)
        live = make_run(few, 1, 200, live=True)
        try:
            if "start" in parts:
                measure_start(found, few, cache, times)
            if "big" in parts:
                measure_big_run(found, few, cache, times)
            if "live" in parts:
                measure_live_run(found, few, cache, live)
        finally:
            live.close()
        if "moving" in parts:
            measure_moving_points(found, few, root / "four", cache)
        if "many" in parts:
            make_run(lot, 0, BIG)
            for seed in range(1, many):
                make_run(lot, seed)
            measure_many_runs(found, lot, cache, many)
    return found


def measure_start(found: dict[str, float], runs: Path, cache: Path, times: int) -> None:
    """First paint, and quitting while the imports still run."""
    paints, quits = [], []
    for time_ in range(times + 1):
        with opened(runs, cache) as app:
            app.until("Quit")
            paint = time.monotonic() - app.started
            quit_ = app.leave()
        if time_:  # the first one only warms the page cache
            paints.append(paint)
            quits.append(quit_)
    found["first paint, least s"], found["first paint, median s"] = least(paints)
    found["quit during the imports, least s"], found["the same, median s"] = least(quits)


def measure_big_run(found: dict[str, float], runs: Path, cache: Path, times: int) -> None:
    """A run of 40,000 rows: opening it, keys, and quitting while it computes."""
    opening, quits, median, largest, busy = [], [], [], [], []
    cpu_of_opening, cpu_of_leaving = [], []
    for _ in range(times):
        with opened(runs, cache) as app:
            app.until("n=40k")
            app.read(6.0)
            app.press(b"/n>1000")
            app.until(r"1 of \d+")
            app.press(b"\r")
            app.read(1.0)
            begin, before = time.monotonic(), sum(app.process.cpu_times()[:2])
            app.press(b"\r")
            app.until(r"LIVE +[\d,]+ in [\d,]+ cells")  # stands over the finished plot
            opening.append(time.monotonic() - begin)
            cpu_of_opening.append(sum(app.process.cpu_times()[:2]) - before)
            app.read(4.0)
            answers = []
            for key in (b"o", *[b"l"] * 20, *[b"h"] * 20, b"b"):
                answers.append(app.answer(key))
                app.read(0.1)
            median.append(float(np.median(answers)))
            largest.append(max(answers))
            app.press(b"+")
            busy.append(max(app.answer(key) for key in [b"l", b"h"] * 10))
            app.press(b"2")  # tau over epochs and the noise ceiling are computed for seconds
            app.read(0.3)
            quits.append(app.leave())
            cpu_of_leaving.append(app.cpu_of_leaving)
    found["CPU of opening it, least s"] = min(cpu_of_opening)
    found["CPU of quitting from it, all threads, least s"] = min(cpu_of_leaving)
    found["40,000 rows: open to first plot, least s"], found["the same, median s"] = least(opening)
    found["key to screen at 40,000 rows, median s"] = min(median)
    found["key to screen at 40,000 rows, largest s"] = min(largest)
    found["the same while frames are built, largest s"] = min(busy)
    found["quit from the run while it computes, least s"], found["and median s"] = least(quits)


def measure_live_run(found: dict[str, float], runs: Path, cache: Path, live: RunWriter) -> None:
    """A live run on screen: CPU while nothing but the engine's beat changes, and bytes."""
    for colour, title in ((False, "NO_COLOR"), (True, "four colours")):
        with opened(runs, cache, no_color=not colour) as app:
            app.until("running")
            app.read(6.0)
            app.press(b"/status:running")
            app.read(1.0)
            app.press(b"\r")
            app.read(1.0)
            app.press(b"\r")
            app.until(r"LIVE +\d+ points")
            app.read(4.0)
            if colour:
                found["CPU with a live run on screen, % of a core"] = idle(app, live, 30)
            total, seconds = 0, 12
            for second in range(seconds):
                beat(live, 200 - second, provisional=colour)
                grow(live, second + (100 if colour else 0))
                total += app.read(1.0)
            found[f"bytes/s at one frame a second, {title}"] = total / seconds
            found[f"bytes/s when every point moves each second, {title}"] = moving(app)
            app.leave()


def measure_moving_points(found: dict[str, float], one: Path, four: Path, cache: Path) -> None:
    """Bytes while all of 40,000 points move once a second: of one run, and of four compared."""
    four.mkdir()
    for seed in range(4):
        make_run(four, seed, BIG // 4)
    for colour, title in ((False, "NO_COLOR"), (True, "colours")):
        with opened(one, cache, no_color=not colour) as app:
            app.until("n=40k")
            app.press(b"/n>1000")
            app.until(r"1 of \d+")
            app.press(b"\r")
            app.read(1.0)
            app.press(b"\r")
            app.until(r"LIVE +[\d,]+ in [\d,]+ cells")
            app.read(4.0)
            found[f"bytes/s when 40,000 points move each second, {title}"] = moving(app)
            app.leave()
        with opened(four, cache, no_color=not colour) as app:
            app.until("n=10k")
            app.read(4.0)
            app.press(b"    c")
            app.until(r"LIVE +[\d,]+ points")
            app.read(4.0)
            found[f"bytes/s when four runs of 10,000 move each second, {title}"] = moving(app)
            app.leave()


def moving(app: App, moves: int = 12) -> float:
    """Bytes of one move of the view to and fro: bytes a second, where one comes every second."""
    total = 0
    for move in range(moves):
        app.press(b"L" if move % 2 else b"H")
        # A frame comes after the key's echo, late where other work waits for the cores.
        last = time.monotonic()
        while time.monotonic() - last < 1.5:
            if new := app.read(0.05):
                total, last = total + new, time.monotonic()
    return total / moves


def measure_many_runs(found: dict[str, float], runs: Path, cache: Path, many: int) -> None:
    """A long list of runs: CPU while nothing changes, and memory with the big run open too."""
    with opened(runs, cache) as app:
        app.until(f"{many} runs", limit=120)
        app.read(8.0)
        found[f"CPU with {many} runs listed, % of a core"] = app.cpu(30.0)
        app.press(b"/tau<-0.99")
        app.read(2.0)
        app.press(b"\x1b")
        app.read(2.0)
        app.press(b"/n>1000")
        app.read(2.0)
        app.press(b"\r")
        app.read(1.0)
        app.press(b"\r")
        app.until(r"LIVE +[\d,]+ in [\d,]+ cells")
        for tab in (b"2", b"3", b"4", b"5", b"6"):
            app.press(tab)
            app.read(3.0)
        memory = app.process.memory_info().rss
        found[f"memory with {many} runs listed and 40,000 rows open, MB"] = memory / 1e6
        app.leave()


def least(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the median: other work on the machine only ever adds."""
    return min(values), float(np.median(values))


def beat(writer: RunWriter, done: int, *, provisional: bool = False) -> None:
    """Say that the engine lives, as one does every second, and what is in training."""
    table = writer.rows[-20:] if provisional else writer.rows[:0]
    training = [[int(row["candidate"]), 0, done % 6, 0.9 + (done % 6) / 100, 0.1] for row in table]
    writer.beat({"status": "running", "stage": "retraining", "stage_done": 3, "stage_total": 6,
                 "stage_unit": "epochs", "n_done": done, "n_total": 200, "rate": 5e4,
                 "eta_seconds": 60.0, "note": "", "provisional": training})  # fmt: skip


def idle(app: App, writer: RunWriter, seconds: int) -> float:
    """CPU while the engine beats and nothing else happens, in per cent of a core."""
    before = sum(app.process.cpu_times()[:2])
    for second in range(seconds):
        beat(writer, second)
        app.read(1.0)
    return 100 * (sum(app.process.cpu_times()[:2]) - before) / seconds


def grow(writer: RunWriter, step: int) -> None:
    """Change a few rows, so that a new frame is due."""
    rows = writer.rows[step % 50 * 4 : step % 50 * 4 + 4].copy()
    rows["best_test_acc"] = np.random.default_rng(step).uniform(0.9, 0.95, len(rows))
    writer.append(rows, None, None)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--times", type=int, default=3, help="starts of the app for each bar")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    chosen = parser.parse_args()
    measure(chosen.runs, chosen.only, chosen.times)
    print(json.dumps({"load": [round(load, 1) for load in os.getloadavg()]}))


if __name__ == "__main__":
    main()
