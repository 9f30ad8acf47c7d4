"""The driver: what it does with what workers report, and packs that go on where they were."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.control import create_run
from engine.entries import read_entries
from engine.errors import RunFailure
from engine.store.layout import RowStatus, empty_rows
from engine.store.writer import RunWriter
from engine.work.bench import Bench
from engine.work.chunks import ChunkWork
from engine.work.datasets import load_dataset
from engine.work.executors.base import (
    Broken,
    Chunk,
    ChunkDone,
    EpochDone,
    Lost,
    Note,
    PackDone,
    Report,
    Tell,
)
from engine.work.executors.inline import InlineExecutor
from engine.work.models import slice_plan
from engine.work.pretraining import BaseNetwork, initial_state
from engine.work.retraining import Retraining
from engine.work.session import Session
from engine.work.sizing import PackSizer
from tests.executors.synthetic import Synthetic, expected_curves

SPEC = read_entries(
    {"ratio": "0.2", "candidates": "8", "epochs": "3", "pretrain_epochs": "1", "repeats": "2"}
)


def make_bench() -> Bench:
    """Returns a bench with a base network that was never trained."""
    data = load_dataset(SPEC.dataset_info)
    base = BaseNetwork(initial_state(SPEC, 10), 0.1, 2.3, 0.1, 2.3, 0, "none", False)
    return Bench(SPEC, torch.device("cpu"), 1, data, base, slice_plan(SPEC.model_info, 10))


@pytest.fixture(scope="module")
def bench() -> Bench:
    return make_bench()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    """A run whose candidates are all scored."""
    run = create_run(tmp_path / "runs", SPEC, "cpu")
    with RunWriter.open(run) as writer:
        rows = empty_rows(SPEC.rows)
        rows["candidate"] = np.repeat(np.arange(8), 2)
        rows["repeat"] = np.tile(np.arange(2), 8)
        rows["status"] = RowStatus.SCORED
        rows["pruned_train_loss"] = rows["candidate"]
        writer.append(rows, None, [[[0, 1]]] * SPEC.rows)
        yield writer


class Unlucky(InlineExecutor):
    """Meets with what cannot be had here at will: GPUs that are full, workers that are lost."""

    def __init__(self, work: Synthetic, mishaps: deque[str]) -> None:
        super().__init__(work.open(), 1, "cpu")
        self.mishaps = mishaps
        self.widths: list[int] = []

    def collect(self, tell: Tell) -> None:
        chunk = self._waiting[0]
        self.widths.append(chunk.width)
        mishap = self.mishaps.popleft() if self.mishaps else ""
        if not mishap:
            super().collect(tell)
            return
        self._waiting.popleft()
        if mishap == "full":
            tell(Broken(chunk.number, "CUDA out of memory.", "trace", True))
            return
        if mishap == "half done":
            # One repeat was reported before the worker went.
            repeat, candidates = chunk.packs[0]
            tell(PackDone(chunk.number, repeat, candidates, expected_curves(candidates, 0, 3), 1))
        tell(Lost(chunk.number, "worker 0 was killed (SIGKILL)"))


def work(bench: Bench, writer: RunWriter, executor: InlineExecutor, size: int = 4) -> None:
    sizer = PackSizer(1, "cpu")
    sizer.size = size
    Retraining(bench, executor, writer, Session(writer, SPEC.rows), sizer).run()


def log_of(writer: RunWriter) -> str:
    return (writer.folder / "engine.log").read_text()


def all_as_expected(writer: RunWriter) -> bool:
    rows = writer.rows
    curves = [expected_curves((int(row["candidate"]),), int(row["repeat"]), 3) for row in rows]
    last = np.array([curve[0, -1, 3] for curve in curves])
    return bool((rows["status"] == RowStatus.DONE).all() and (rows["last_test_acc"] == last).all())


def test_of_a_lost_chunk_only_what_is_missing_is_done_again(bench, writer, tmp_path):
    executor = Unlucky(Synthetic(3, str(tmp_path)), deque(["half done"]))
    work(bench, writer, executor)
    assert all_as_expected(writer)
    assert "was killed (SIGKILL); its 4 candidate(s) are tried again" in log_of(writer)
    steps = (tmp_path / "steps").read_text().splitlines()
    # 8 candidates in packs of 4, 2 repeats, 3 epochs: 12 steps, less the repeat that was reported.
    assert len(steps) <= 12


def test_a_chunk_that_kills_every_worker_ends_the_run(bench, writer, tmp_path):
    executor = Unlucky(Synthetic(3, str(tmp_path)), deque(["lost"] * 3))
    with pytest.raises(RunFailure, match="died 3 times") as failure:
        work(bench, writer, executor, size=8)
    assert len(str(failure.value).splitlines()) == 1


def test_a_full_gpu_gets_half_as_many(bench, writer, tmp_path):
    executor = Unlucky(Synthetic(3, str(tmp_path)), deque(["full", "full"]))
    work(bench, writer, executor, size=8)
    assert all_as_expected(writer)
    assert executor.widths[:2] == [8, 4]
    assert "out of memory; packs of 4 from here on" in log_of(writer)


def test_a_single_candidate_that_does_not_fit_ends_the_run(bench, writer, tmp_path):
    executor = Unlucky(Synthetic(3, str(tmp_path)), deque(["full"] * 9))
    with pytest.raises(RunFailure, match="out of memory"):
        work(bench, writer, executor, size=1)


def test_an_exception_ends_the_run_with_its_trace_in_the_log(bench, writer, tmp_path):
    executor = InlineExecutor(Synthetic(3, str(tmp_path), wrong=5).open(), 1, "cpu")
    with pytest.raises(RunFailure, match="ArithmeticError: candidate 5 is wrong"):
        work(bench, writer, executor)
    assert log_of(writer).count("in interfere") == 1


class Enough(Exception):
    pass


def test_a_pack_goes_on_from_where_it_was_saved(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", "0")
    chunk = Chunk(1, ((1, (2, 5)),))
    whole: list[Report] = []
    ChunkWork(bench, None)(chunk, whole.append)

    def until_the_third(report: Report) -> None:
        if isinstance(report, EpochDone) and report.epoch == 3:
            raise Enough

    with pytest.raises(Enough):
        ChunkWork(bench, tmp_path)(chunk, until_the_third)
    (saved,) = tmp_path.glob("checkpoint-*.pt")
    assert saved.stat().st_mode & 0o077 == 0
    rest: list[Report] = []
    ChunkWork(bench, tmp_path)(chunk, rest.append)
    assert [r.epoch for r in rest if isinstance(r, EpochDone)] == [3]
    assert any(isinstance(r, Note) and "from epoch 2" in r.text for r in rest)
    (expected,) = (r.curves for r in whole if isinstance(r, PackDone))
    (found,) = (r.curves for r in rest if isinstance(r, PackDone))
    np.testing.assert_array_equal(expected, found)
    assert isinstance(rest[-1], ChunkDone)


def test_a_damaged_checkpoint_counts_as_none(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", "0")
    chunk = Chunk(1, ((0, (3,)),))
    first: list[Report] = []
    ChunkWork(bench, tmp_path)(chunk, first.append)
    (saved,) = tmp_path.glob("checkpoint-*.pt")
    saved.write_bytes(saved.read_bytes()[:100])
    again: list[Report] = []
    ChunkWork(bench, tmp_path)(chunk, again.append)
    assert [r.epoch for r in again if isinstance(r, EpochDone)] == [1, 2, 3]
    assert any(isinstance(r, Note) and "cannot be read" in r.text for r in again)
