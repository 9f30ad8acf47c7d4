"""GPU memory that runs out in the middle of a retraining: smaller packs, and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.control import create_run
from engine.errors import RunFailure
from engine.presets import QUICK
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN
from engine.spec import StudySpec
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from engine.work import retraining
from engine.work.augment import Draws
from engine.work.bench import Bench
from engine.work.checkpoint import PackCheckpoint
from engine.work.mixing import Mixes
from engine.work.packs.fused import FusedPack
from engine.work.session import Session
from engine.work.sizing import PackSizer
from engine.work.study import run_study

SPEC: StudySpec = QUICK.spec.with_(
    candidates=11,
    repeats=2,
    pretrain=LENET_PRETRAIN.lasting(1),
    retrain=LENET_RETRAIN.lasting(2),
)
FIELDS = ["candidate", "repeat", "status", "best_test_acc", "last_test_loss", "last_train_loss"]


class SmallDevice(FusedPack):
    """Candidates on a device that has room for K at most `most`, found out while training."""

    most = 2
    sizes: list[int]

    def train(
        self,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None = None,
        mixes: Mixes | None = None,
    ) -> None:
        """Trains the first half of the batches, then finds no memory for more than `most`."""
        self.sizes.append(self.size)
        if self.size > self.most:
            super().train(order[: len(order) // 2], rate, draws, mixes)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        super().train(order, rate, draws, mixes)


def _study(folder: Path) -> RunReader:
    writer = RunWriter.open(create_run(folder, SPEC, "cpu"))
    with Session(writer, SPEC.rows) as session:
        run_study(writer, session)
    path = writer.folder
    writer.close()
    return RunReader(path)


def _start_with(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = PackSizer.__init__

    def begin(self: PackSizer, *told: Any) -> None:
        before(self, *told)
        self.size = size

    monkeypatch.setattr(PackSizer, "__init__", begin)


def _scarce(monkeypatch: pytest.MonkeyPatch, most: int) -> type[SmallDevice]:
    monkeypatch.setattr(SmallDevice, "most", most)
    monkeypatch.setattr(SmallDevice, "sizes", [], raising=False)
    make = Bench.make_pack

    def small(self: Bench, candidates: list[tuple[tuple[int, ...], ...]]) -> SmallDevice:
        pack = make(self, candidates)
        assert isinstance(pack, FusedPack)
        pack.__class__ = SmallDevice
        assert isinstance(pack, SmallDevice)
        return pack

    monkeypatch.setattr(Bench, "make_pack", small)
    return SmallDevice


def test_packs_are_halved_and_no_row_is_lost_or_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = _study(tmp_path / "plenty")
    _start_with(8, monkeypatch)
    device = _scarce(monkeypatch, 2)
    scarce = _study(tmp_path / "scarce")
    # 8 and 4 do not fit; from there on nothing larger than 2 is tried again.
    assert device.sizes[:2] == [8, 4]
    assert set(device.sizes[2:]) <= {1, 2}
    assert scarce.rows.shape == (22,)
    assert np.array_equal(scarce.rows[FIELDS], plenty.rows[FIELDS])
    assert np.array_equal(scarce.curves(), plenty.curves())
    log = "\n".join(scarce.log_tail(100))
    assert "packs of 4 from here on" in log
    assert "packs of 2 from here on" in log


def test_memory_that_runs_out_in_a_later_repeat_keeps_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = _study(tmp_path / "plenty")
    _start_with(4, monkeypatch)
    device = _scarce(monkeypatch, 99)
    show = retraining.Retraining._keep

    def then_scarce(self: retraining.Retraining, candidates: list[int], *rest: object) -> None:
        show(self, candidates, *rest)  # type: ignore[arg-type]
        device.most = 2

    monkeypatch.setattr(retraining.Retraining, "_keep", then_scarce)
    scarce = _study(tmp_path / "scarce")
    # The first repeat of four was kept; the second began again in packs of two.
    assert device.sizes.count(4) == 3
    assert np.array_equal(scarce.rows[FIELDS], plenty.rows[FIELDS])
    assert np.array_equal(scarce.curves(), plenty.curves())


def test_a_single_candidate_without_memory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _start_with(2, monkeypatch)
    _scarce(monkeypatch, 0)
    with pytest.raises(RunFailure, match="memory"):
        _study(tmp_path)


def test_an_interrupted_pack_that_no_longer_fits_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = _study(tmp_path / "plenty")
    # A run that was stopped with a pack of eight between its epochs.
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", "0")
    _start_with(8, monkeypatch)
    folder = create_run(tmp_path / "scarce", SPEC, "cpu")

    class Stopped(BaseException):
        """The power goes."""

    def stop(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as first:
        save = PackCheckpoint.save

        def save_and_stop(self: PackCheckpoint, *where: Path | str) -> None:
            save(self, *where)  # type: ignore[arg-type]
            stop()

        first.setattr(PackCheckpoint, "save", save_and_stop)
        writer = RunWriter.open(folder)
        with pytest.raises(Stopped), Session(writer, SPEC.rows) as session:
            run_study(writer, session)
        writer.close()
    assert len(list(folder.glob("checkpoint-*.pt"))) == 1
    device = _scarce(monkeypatch, 4)
    writer = RunWriter.open(folder)
    with Session(writer, SPEC.rows) as session:
        run_study(writer, session)
    writer.close()
    assert device.sizes[0] == 8
    scarce = RunReader(folder)
    assert np.array_equal(scarce.rows[FIELDS], plenty.rows[FIELDS])
    assert np.array_equal(scarce.curves(), plenty.curves())
    assert not list(folder.glob("checkpoint-*"))
