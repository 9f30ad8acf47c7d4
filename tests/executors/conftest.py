"""Real studies of a few candidates, placed with each executor."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.control import create_run
from engine.entries import read_entries

SMALL = {
    "layers": "conv1",
    "ratio": "0.2",
    "candidates": "12",
    "epochs": "2",
    "pretrain_epochs": "2",
    "repeats": "2",
}


@pytest.fixture
def place(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Returns a function that makes a queued run for an executor."""
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(shared_cache))

    def make(executor: str = "inline", shard: tuple[int, int] | None = None, **more: str) -> Path:
        spec = read_entries({**SMALL, **more})
        return create_run(tmp_path / "runs", spec, "cpu", executor=executor, shard=shard)

    return make
