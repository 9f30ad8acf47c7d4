"""What befalls engines: kills inside a pack, takeovers, memory that runs out, odd checkpoints."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from engine.__main__ import main as engine_main
from engine.store.liveness import HeartbeatClock, engine_life
from engine.store.reader import RunReader
from engine.work.checkpoint import (
    CHECKPOINTS,
    PackCheckpoint,
    checkpoint_path,
    checkpoint_seconds,
)
from engine.work.chunks import ChunkWork
from engine.work.executors.base import Tell
from engine.work.memory import out_of_memory
from tests.engine.conftest import finished, start, wait_for, work_through
from tests.engine.test_study import table
from tests.store_harness.cases import write_lock

MakeRun = Callable[..., Path]

# One candidate and many epochs: whatever is resumed is resumed inside a pack.
ONE_LONG_PACK = {"candidates": "1", "epochs": "40", "repeats": "1"}
# What the optimiser and the average keep has to survive too; fewer epochs, of a slower kind.
RICH = "optimiser=adamw,mixup=.2,cutmix=1,clip=1,ema=.99,schedule=cosine,warmup=1"
ONE_RICH_PACK = {**ONE_LONG_PACK, "epochs": "5", "recipe": RICH}


def log(run: Path) -> str:
    return (run / "engine.log").read_text()


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(ONE_LONG_PACK, id="plain"),
        pytest.param(ONE_RICH_PACK, id="rich", marks=pytest.mark.slow),
    ],
)
def test_an_engine_killed_inside_a_pack_goes_on_from_its_epoch(
    pack: dict[str, str], make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", "0")
    undisturbed, killed = make_run(pack), make_run(pack)
    work_through(undisturbed)
    assert ("know no AdamW and mixup" in log(undisturbed)) == ("recipe" in pack)
    engine = start(killed)
    wait_for(lambda: any(killed.glob(CHECKPOINTS)), "the first checkpoint", engine)
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()
    assert finished(killed) == set()
    (checkpoint,) = killed.glob(CHECKPOINTS)
    assert checkpoint.stat().st_mode & 0o777 == 0o600
    assert engine_life(killed, "running", HeartbeatClock()).status == "stalled"
    work_through(killed)
    (line,) = [line for line in log(killed).splitlines() if "going on with a pack" in line]
    assert int(line.rpartition(" ")[2]) >= 1
    for name in ("candidates", "curves"):
        pd.testing.assert_frame_equal(
            table(undisturbed, name), table(killed, name), check_exact=True
        )
    assert not list(killed.glob("checkpoint*"))


def test_an_engine_whose_run_was_deleted_ends_in_one_sentence(make_run: MakeRun) -> None:
    run = make_run(candidates="20", epochs="400", repeats="1")
    command = [sys.executable, "-m", "engine", str(run)]
    engine = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(
        lambda: (run / "engine.log").exists() and "worker:" in log(run), "the first pack", engine
    )
    shutil.rmtree(run)
    _, said = engine.communicate(timeout=120)
    assert engine.returncode == 1
    assert said == f"The run is no longer at {run}; this engine ends.\n"


def test_a_checkpoint_that_does_not_fit_is_left_aside(make_run: MakeRun) -> None:
    undisturbed, run = make_run(), make_run()
    work_through(undisturbed)
    spec_hash = _spec_hash(run)
    curves = np.full((1, 2, 4), 0.5)
    for candidates, state in (
        ((0,), {"conv1.weight": torch.zeros(1, 3)}),
        ((5_000_000,), {}),
        ((-1,), {}),
        ((0, 0), {}),
        ((), {}),
    ):
        PackCheckpoint(candidates, 0, 1, curves, state).save(run, spec_hash)
        assert PackCheckpoint.load(run, spec_hash, 0, candidates, print) is not None
    PackCheckpoint((0,), 0, 1, curves, {"conv1.weight": torch.zeros(1, 3)}).save(run, spec_hash)
    work_through(run)
    assert "does not fit the study" in log(run)
    assert not list(run.glob("checkpoint*"))
    pd.testing.assert_frame_equal(table(undisturbed), table(run), check_exact=True)


def _spec_hash(run: Path) -> str:
    from engine.spec import StudySpec

    return StudySpec.from_json(RunReader(run).config["spec"]).hash


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"PK\x03\x04" + bytes(100), None],
    ids=["empty", "junk", "zip", "fifo"],
)
def test_a_checkpoint_of_a_stranger_is_none(tmp_path: Path, content: bytes | None) -> None:
    checkpoint = checkpoint_path(tmp_path, 0, (0,))
    if content is None:
        os.mkfifo(checkpoint)
    else:
        checkpoint.write_bytes(content)
    said: list[str] = []
    assert PackCheckpoint.load(tmp_path, "x", 0, (0,), said.append) is None
    assert PackCheckpoint.load_all(tmp_path, "x", said.append) == []
    assert len(said) == 2


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"study": "x", "state": Evil()}, checkpoint_path(tmp_path, 0, (0,)))
    assert PackCheckpoint.load(tmp_path, "x", 0, (0,), lambda sentence: None) is None
    assert PackCheckpoint.load_all(tmp_path, "x", lambda sentence: None) == []
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_is_not_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    checkpoint = checkpoint_path(run, 0, (0,))
    for path in (checkpoint, checkpoint.with_name(f"{checkpoint.name}.tmp")):
        path.symlink_to(precious)
    PackCheckpoint((0,), 0, 1, np.zeros((1, 2, 4)), {}).save(run, "x")
    assert precious.read_text() == "mine"
    assert not checkpoint.is_symlink()


@pytest.mark.parametrize(
    ("value", "seconds"), [("5", 5.0), ("0", 0.0), ("-1", 30.0), ("nan", 30.0), ("soon", 30.0)]
)
def test_the_time_between_checkpoints_can_be_set(
    monkeypatch: pytest.MonkeyPatch, value: str, seconds: float
) -> None:
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", value)
    assert checkpoint_seconds() == seconds


def test_memory_that_ran_out_is_known_however_it_is_said() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert out_of_memory(caught.value)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(1 << 55)
    assert out_of_memory(of_numpy.value)
    assert out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(ValueError("out of memory"))


def test_a_study_that_runs_out_of_memory_says_so_and_can_be_resumed(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with an allocation that no machine has room for."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run = make_run()
    with monkeypatch.context() as patch:
        patch.setattr(ChunkWork, "_retrain", lambda *_: torch.empty(1 << 50))
        assert engine_main([str(run)]) == 1
    reader = RunReader(run)
    assert reader.status == "failed"
    assert reader.message.startswith("The engine ran out of memory;")
    assert "packs of 1 from here on" in log(run) or "out of memory" in log(run)
    work_through(run)
    assert RunReader(run).status == "done"


@pytest.mark.slow
def test_smaller_packs_are_tried_when_memory_runs_out(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    whole, run = make_run(), make_run()
    work_through(whole)
    real = ChunkWork._retrain

    def short(
        self: ChunkWork, chunk: int, repeat: int, candidates: tuple[int, ...], tell: Tell
    ) -> None:
        if len(candidates) > 1:
            torch.empty(1 << 50)
        real(self, chunk, repeat, candidates, tell)

    with monkeypatch.context() as patch:
        patch.setattr(ChunkWork, "_retrain", short)
        assert engine_main([str(run)]) == 0
    assert "out of memory; packs of 1 from here on" in log(run)
    pd.testing.assert_frame_equal(table(whole), table(run), check_exact=True)


@pytest.mark.slow
def test_an_engine_whose_run_was_taken_over_ends_and_writes_no_more(make_run: MakeRun) -> None:
    run = make_run(candidates="45", epochs="60", ratio="0.2")
    engine = start(run)
    wait_for(lambda: len(finished(run)) > 0, "the first finished candidate", engine)
    document = json.loads((run / "lock").read_text())
    write_lock(run / "lock", host="elsewhere", pid=document["pid"] + 1)
    assert engine.wait(60) == 1
    assert "taken over by process" in log(run)
    held, journal = finished(run), (run / "run.journal").read_bytes()
    assert json.loads((run / "lock").read_text())["host"] == "elsewhere"
    assert RunReader(run).status == "running"
    # And back again, explicitly, since nobody can see from here whether that engine lives.
    refused = subprocess.run(
        [sys.executable, "-m", "engine", str(run)], capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 2
    assert "elsewhere" in refused.stderr
    assert (run / "run.journal").read_bytes() == journal
    taken = subprocess.Popen(
        [sys.executable, "-m", "engine", "--takeover", str(run)], start_new_session=True
    )
    wait_for(lambda: finished(run) > held, "going on", taken)
    taken.terminate()
    assert taken.wait(60) == 0


@pytest.mark.slow
def test_after_a_restart_of_the_machine_a_run_is_resumed_without_asking(make_run: MakeRun) -> None:
    run = make_run()
    write_lock(run / "lock", boot="an earlier start", pid=os.getpid())
    assert engine_life(run, "running", HeartbeatClock()).restarted
    work_through(run)
    assert RunReader(run).status == "done"


def test_a_journal_that_cannot_be_begun_is_one_sentence(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run = make_run()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("engine.store.recovery.Journal.start", full)
        assert engine_main([str(run)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (run / "lock").exists()
