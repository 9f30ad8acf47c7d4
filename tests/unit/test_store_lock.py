import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import RunFileError
from engine.store.lock import RunLock, boot_id, process_start, read_holder
from tests.store_harness.cases import write_lock

HOLD = """
import sys
from pathlib import Path
from engine.store.lock import RunLock
lock = RunLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def holding(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_lock_names_this_process_and_goes_with_it(path: Path) -> None:
    lock = RunLock.acquire(path)
    holder = read_holder(path)
    assert holder is not None
    assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert holder.state() == "alive"
    assert path.stat().st_mode & 0o777 == 0o600
    lock.release()
    assert not path.exists()


def test_second_writer_is_refused_even_with_takeover(path: Path) -> None:
    lock = RunLock.acquire(path)
    for takeover in (False, True):
        with pytest.raises(RunFileError, match=f"process {os.getpid()} on"):
            RunLock.acquire(path, takeover=takeover)
    lock.release()
    RunLock.acquire(path).release()


def test_living_process_holds_and_a_killed_one_does_not(path: Path) -> None:
    process = holding(path)
    for takeover in (False, True):
        with pytest.raises(RunFileError, match=f"process {process.pid} on .*stop that engine"):
            RunLock.acquire(path, takeover=takeover)
    process.kill()
    # not yet waited for: a zombie, which a parent that never looks leaves for ever
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    holder = read_holder(path)
    assert holder is not None
    assert holder.state() == "dead"
    RunLock.acquire(path).release()
    process.communicate()


@pytest.mark.parametrize(
    "changes", [{"started": 1.0}, {"pid": 2**31 - 1}, {"boot": "another start of this machine"}]
)
def test_other_process_with_that_number_does_not_hold(
    path: Path, changes: dict[str, object]
) -> None:
    if "boot" in changes and not boot_id():
        pytest.skip("this system does not name its starts")
    write_lock(path, **changes)
    RunLock.acquire(path).release()


def test_lock_of_another_host_needs_an_explicit_takeover(path: Path) -> None:
    write_lock(path, host="elsewhere\x1b[2J")
    with pytest.raises(RunFileError, match="elsewhere") as caught:
        RunLock.acquire(path)
    assert str(caught.value).isprintable()
    lock = RunLock.acquire(path, takeover=True)
    holder = read_holder(path)
    assert holder is not None
    assert holder.host == socket.gethostname()
    lock.release()


@pytest.mark.parametrize("content", ["", "{", '{"host": 3}', "\0" * 40])
def test_lock_whose_writer_died_while_making_it_is_free(path: Path, content: str) -> None:
    path.write_text(content)
    assert read_holder(path) is None
    RunLock.acquire(path).release()


def test_lock_that_is_a_link_or_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(RunFileError, match="cannot be"):
        RunLock.acquire(tmp_path / "link")
    assert (tmp_path / "victim").read_text() == "precious"
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RunFileError):
        RunLock.acquire(tmp_path / "fifo")


def test_release_leaves_a_lock_that_is_no_longer_ours(path: Path) -> None:
    lock = RunLock.acquire(path)
    path.unlink()
    other = RunLock.acquire(path)
    lock.release()
    assert path.exists()
    other.release()


def test_start_of_a_process_is_stable_and_none_for_none() -> None:
    first = process_start(os.getpid())
    assert first is not None
    assert process_start(os.getpid()) == pytest.approx(first, abs=0.5)
    assert process_start(2**31 - 1) is None


def test_lock_that_cannot_be_written_is_not_left_empty(path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(RunFileError, match="cannot be written"):
            RunLock.acquire(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()
    RunLock.acquire(path).release()


def test_what_is_still_held_by_an_orphan_of_a_dead_engine_is_refused(path: Path) -> None:
    process = holding(path)
    write_lock(path, started=1.0)  # names a dead process, but someone holds the file
    with pytest.raises(RunFileError):
        RunLock.acquire(path, takeover=True)
    process.kill()
    process.communicate()
    RunLock.acquire(path).release()
