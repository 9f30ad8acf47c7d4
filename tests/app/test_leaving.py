"""What the end of the app waits for, and what it does not: acts, and a terminal that is gone."""

from __future__ import annotations

import os
import pty
import threading

from oracle_tui.acts import Acts
from oracle_tui.terminal import LastingFile


def test_the_end_waits_for_acts_and_for_nothing_else() -> None:
    acts, go_on, ended = Acts(), threading.Event(), threading.Event()
    acts.wait()  # nothing is going on

    def act() -> None:
        with acts.one():
            started.set()
            go_on.wait(60)

    def leave() -> None:
        acts.wait()
        ended.set()

    started = threading.Event()
    threads = [threading.Thread(target=act), threading.Thread(target=leave)]
    threads[0].start()
    assert started.wait(60)
    threads[1].start()
    assert not ended.wait(0.05)
    go_on.set()
    assert ended.wait(60)
    for thread in threads:
        thread.join()


def test_an_act_that_fails_is_over_too() -> None:
    acts = Acts()
    try:
        with acts.one():
            raise OSError("no space")
    except OSError:
        pass
    acts.wait()


def test_what_is_written_to_a_terminal_that_is_gone_goes_nowhere() -> None:
    ours, theirs = pty.openpty()
    file = LastingFile(os.fdopen(theirs, "w"))
    assert file.isatty()
    file.write("here\n")
    file.flush()
    assert b"here" in os.read(ours, 100)
    os.close(ours)
    for _ in range(3):
        file.write("nobody reads this\n")
        file.flush()
    assert file.gone
    assert not file.isatty()
    assert os.readlink(f"/proc/self/fd/{file.fileno()}") == os.devnull
