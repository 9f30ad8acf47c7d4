import os
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.store.requests import clear_request, pending_request, send_request
from engine.store.writer import RunWriter
from tests.store_harness.cases import config


@pytest.fixture
def run(tmp_path: Path) -> Path:
    RunWriter.create(tmp_path / "case", config())
    return tmp_path / "case"


def test_last_request_counts_until_it_is_cleared(run: Path) -> None:
    assert pending_request(run) is None
    for action in ("pause", "resume", "stop"):
        send_request(run, action)
        assert pending_request(run) == action
    assert (run / "request.json").stat().st_mode & 0o777 == 0o600
    clear_request(run)
    clear_request(run)
    assert pending_request(run) is None


def test_unknown_action_and_wrong_folder_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pause, resume, stop"):
        send_request(run, "dance\x1b")
    with pytest.raises(UsageError, match="not the folder of a run"):
        send_request(tmp_path, "stop")


@pytest.mark.parametrize(
    "content", [b"", b"stop", b'{"action": "rm -rf"}', b'{"action": ["stop"]}', b"x" * 10_000]
)
def test_anything_else_is_no_request(run: Path, content: bytes) -> None:
    (run / "request.json").write_bytes(content)
    assert pending_request(run) is None


def test_link_is_replaced_and_not_written_through(run: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (run / "request.json").symlink_to(tmp_path / "victim")
    assert pending_request(run) is None
    send_request(run, "stop")
    assert (tmp_path / "victim").read_text() == "precious"
    assert pending_request(run) == "stop"


def test_fifo_is_no_request(run: Path) -> None:
    os.mkfifo(run / "request.json")
    assert pending_request(run) is None
