"""The real app in a real tmux, with a client on a pty that comes and goes; it plays no plan."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

SIZES = [(80, 24), (120, 36), (100, 30), (60, 18), (200, 50), (40, 10), (81, 24)]


class Session:
    """One tmux server with one window, and a client on a pty that comes and goes."""

    def __init__(self, socket: str, root: Path, runs: Path) -> None:
        self.socket, self.root, self.runs = socket, root, runs
        self.client: tuple[int, int] | None = None
        self.size = SIZES[0]
        self("new-session", "-d", "-x", "80", "-y", "24", "-c", str(root), "sh")
        self("set", "-g", "status", "off")
        self("set", "-g", "window-size", "latest")
        self.attach()

    def __call__(self, *words: str) -> str:
        command = ["tmux", "-L", self.socket, "-f", "/dev/null", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout

    def attach(self) -> None:
        """Attach a client that reads everything, as a terminal does."""
        pid, fd = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execvp("tmux", ["tmux", "-L", self.socket, "attach"])
        self.client = (pid, fd)
        self.resize(self.size)
        threading.Thread(target=_drain, args=(fd,), daemon=True).start()

    def detach(self) -> None:
        """Detach the client; the app goes on without anybody looking."""
        self("detach-client", "-a")
        self("detach-client")
        if self.client is not None:
            pid, fd = self.client
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)
            self.client = None

    def resize(self, size: tuple[int, int]) -> None:
        """Give the client's terminal another size."""
        self.size = size
        if self.client is not None:
            packed = struct.pack("HHHH", size[1], size[0], 0, 0)
            fcntl.ioctl(self.client[1], termios.TIOCSWINSZ, packed)
            os.kill(self.client[0], signal.SIGWINCH)

    def start(self) -> None:
        """Start the app in the window."""
        package = Path(__file__).resolve().parents[2]
        settings = {
            "PYTHONPATH": package, "ORACLE_TUI_CACHE": self.root / "cache", "EDITOR": "true",
            "ORACLE_TUI_CONFIG": self.root / "config.toml", "OMP_NUM_THREADS": 1,
        }  # fmt: skip
        words = " ".join(f"{name}={value}" for name, value in settings.items())
        self("send-keys", "-l", f"clear; {words} {sys.executable} -m oracle_tui --runs-dir "
             f"{self.runs}; echo left with $?")  # fmt: skip
        self("send-keys", "Enter")

    @property
    def screen(self) -> str:
        return self("capture-pane", "-p")

    @property
    def app(self) -> psutil.Process | None:
        """The app's process while it lives."""
        with suppress(psutil.Error, ValueError):
            shell = psutil.Process(int(self("display", "-p", "#{pane_pid}")))
            for child in shell.children():
                if "oracle_tui" in " ".join(child.cmdline()):
                    return child
        return None

    def press(self, key: str, *, literal: bool = False) -> None:
        """Press a key by its name, or type a text."""
        self("send-keys", *(("-l", key) if literal else (key,)))

    def until(self, pattern: str, seconds: float) -> bool:
        """Wait until the screen shows a pattern."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.screen):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def _drain(fd: int) -> None:
    with suppress(OSError, ValueError):
        while True:
            if select.select([fd], [], [], 1.0)[0] and not os.read(fd, 65_536):
                return
