"""A real terminal: the app draws on a pty, and leaves in order when told to or hung up on."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.app.conftest import MakeRun

PATIENCE = 60.0
SCRIPT = """
import sys
from pathlib import Path
from oracle_tui.app import OracleApp, run_app
def crash(app):
    raise RuntimeError("a mistake in the app")
OracleApp.action_crash = crash
OracleApp.BINDINGS = [*OracleApp.BINDINGS, ("Z", "crash", "Crash")]
OracleApp._merged_bindings = OracleApp._merge_bindings()
run_app(Path(sys.argv[1]))
"""


class Terminal:
    """The app as a child on a pty of 80 x 24, and what it wrote."""

    def __init__(self, runs_dir: Path) -> None:
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="80", LINES="24")
            os.execv(sys.executable, [sys.executable, "-c", SCRIPT, str(runs_dir)])

    def read(self, seconds: float) -> bytes:
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                new = os.read(self.fd, 65_536)
            except OSError:  # how a pty says that its other end is closed
                return b""
            self.output += new
            return new
        return b""

    def until(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            assert time.monotonic() < deadline, self.output[-2000:]
            self.read(0.1)

    def wait(self, *, read: bool) -> int:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while read and self.read(0.1):
                    pass
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if read:
                self.read(0.05)
            else:
                time.sleep(0.05)
        raise AssertionError("the app does not end")

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def assert_restored(self) -> None:
        """Nothing that the app switched on is on any more; the last word of each counts."""
        for mode in (b"?1049", b"?1000", b"?1003", b"?1006", b"?1004", b"?2004"):
            on, off = (self.output.rfind(b"\x1b[" + mode + end) for end in (b"h", b"l"))
            assert off > on >= 0, (mode, self.output[-2000:])
        assert self.output.rfind(b"\x1b[?25h") > self.output.rfind(b"\x1b[?25l") >= 0
        assert self.output.rfind(b"\x1b[<u") > self.output.rfind(b"\x1b[>") >= 0
        flags = termios.tcgetattr(self.fd)[3]
        assert flags & termios.ECHO
        assert flags & termios.ICANON


@pytest.fixture
def terminal(make_run: MakeRun, runs_dir: Path) -> Iterator[Callable[[], Terminal]]:
    make_run("done")
    opened: list[Terminal] = []

    def open_terminal() -> Terminal:
        opened.append(Terminal(runs_dir))
        opened[-1].until(b"lenet5-mini")
        return opened[-1]

    yield open_terminal
    for each in opened:
        if each.pid:
            os.kill(each.pid, signal.SIGKILL)
            os.waitpid(each.pid, 0)


def test_q_leaves_and_restores_the_terminal(terminal: Callable[[], Terminal]) -> None:
    app = terminal()
    os.write(app.fd, b"q")
    assert app.wait(read=True) == 0
    app.assert_restored()


def test_keys_that_come_while_it_leaves_are_nobodys(terminal: Callable[[], Terminal]) -> None:
    app = terminal()
    os.write(app.fd, b"q" + b"jk?/xQ," * 100)
    assert app.wait(read=True) == 0
    assert b"Traceback" not in app.output
    app.assert_restored()


def test_a_burst_of_keys_is_taken_in_order(terminal: Callable[[], Terminal]) -> None:
    app = terminal()
    # As keys of the list these would ask to delete, begin a new study, and quit.
    os.write(app.fd, b"/dnq")
    app.until(b"No run matches")
    os.write(app.fd, b"\x7f\x7f\x7fmnist\rq")
    assert app.wait(read=True) == 0


def test_a_hang_up_ends_the_app(terminal: Callable[[], Terminal]) -> None:
    app = terminal()
    os.close(app.fd)
    assert app.wait(read=False) == 128 + signal.SIGHUP


def test_sigterm_ends_the_app_and_restores_the_terminal(
    terminal: Callable[[], Terminal],
) -> None:
    app = terminal()
    os.kill(app.pid, signal.SIGTERM)
    assert app.wait(read=True) == 128 + signal.SIGTERM
    app.assert_restored()


def test_sighup_alone_ends_the_app_and_restores_the_terminal(
    terminal: Callable[[], Terminal],
) -> None:
    app = terminal()
    os.kill(app.pid, signal.SIGHUP)
    assert app.wait(read=True) == 128 + signal.SIGHUP
    app.assert_restored()


def test_a_crash_restores_the_terminal_and_says_what_went_wrong(
    terminal: Callable[[], Terminal],
) -> None:
    app = terminal()
    os.write(app.fd, b"Z")
    assert app.wait(read=True) == 1
    app.assert_restored()
    assert b"a mistake in the app" in app.output[app.output.rfind(b"\x1b[?1049l") :]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_the_sigcont_of_a_hang_up_starts_no_second_reader_of_keys(
    terminal: Callable[[], Terminal],
) -> None:
    app = terminal()
    app.read(0.5)
    before = app.threads
    for _ in range(5):
        os.kill(app.pid, signal.SIGCONT)
        app.read(0.1)
    # Workers may come meanwhile, but Textual's two threads a SIGCONT would be ten.
    assert app.threads < before + 2 * 5
    os.write(app.fd, b"q")
    assert app.wait(read=True) == 0
    app.assert_restored()


def test_ctrl_z_gives_the_terminal_back_and_fg_draws_everything_again(
    terminal: Callable[[], Terminal],
) -> None:
    app = terminal()
    os.write(app.fd, b"\x1a")
    deadline, status = time.monotonic() + PATIENCE, 0
    while not os.WIFSTOPPED(status):
        assert time.monotonic() < deadline, app.output[-2000:]
        app.read(0.05)
        status = os.waitpid(app.pid, os.WNOHANG | os.WUNTRACED)[1]
    while app.read(0.1):
        pass
    app.assert_restored()
    app.output = b""
    os.kill(app.pid, signal.SIGCONT)
    app.until(b"lenet5-mini")
    os.write(app.fd, b"q")
    assert app.wait(read=True) == 0
    app.assert_restored()


def test_ctrl_c_says_how_the_app_is_left(terminal: Callable[[], Terminal]) -> None:
    app = terminal()
    os.write(app.fd, b"\x03")
    app.until(b"ctrl+q while you type")
    os.write(app.fd, b"\x11")
    assert app.wait(read=True) == 0


def test_a_screen_that_does_not_change_sends_next_to_nothing(
    terminal: Callable[[], Terminal],
) -> None:
    app = terminal()
    os.write(app.fd, b"\r")
    app.until(b"pruned train loss")
    app.until(b"n=45")
    sent, deadline = [], time.monotonic() + PATIENCE
    while min(sent, default=2_000) >= 2_000 and time.monotonic() < deadline:
        # The first windows may hold the first frames and looks, more of them on a busy machine.
        before, start = len(app.output), time.monotonic()
        while time.monotonic() - start < 4:
            app.read(0.5)
        sent.append(len(app.output) - before)
    assert min(sent) < 2_000, sent
