import contextlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from engine.errors import RunFileError, UsageError
from engine.store.layout import RowStatus
from engine.store.reader import RunReader
from engine.store.requests import send_request
from engine.store.writer import RunWriter
from tests.store_harness.cases import (
    EPOCHS,
    batch,
    config,
    make_curves,
    make_pruned,
    rows_at,
    wrong_rows,
)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "case"
    RunWriter.create(folder, config())
    return folder


def test_new_run_is_queued_private_and_empty(run: Path) -> None:
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    assert stat.S_IMODE((run / "run.h5").stat().st_mode) == 0o600
    assert [path.name for path in run.iterdir()] == ["run.h5"]
    assert [path.name for path in run.parent.iterdir()] == ["case"]
    with RunReader(run) as reader:
        assert (reader.status, len(reader.rows), reader.config) == ("queued", 0, config())


def test_create_refuses_what_exists(run: Path) -> None:
    before = (run / "run.h5").read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        RunWriter.create(run, config())
    assert (run / "run.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run_id", "../up"),
        ("run_id", None),
        ("score_names", ["loss", "loss"]),
        ("score_names", ["seed"]),
        ("score_names", "loss"),
        ("layers", ["conv\x1b1"]),
        ("epochs", -1),
        ("epochs", True),
        ("n_total", 1 << 40),
        ("spec", {"note": "x" * 1_000_001}),
        ("spec", {"note": {1, 2}}),
    ],
)
def test_create_refuses_a_config_it_could_not_store(
    tmp_path: Path, key: str, value: object
) -> None:
    with pytest.raises(UsageError):
        RunWriter.create(tmp_path / "case", config() | {key: value})
    assert list(tmp_path.iterdir()) == []


def test_create_leaves_nothing_where_the_disk_is_full(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UsageError, match="cannot be made"):
            RunWriter.create(tmp_path / "case", config())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_what_was_appended_is_there_after_reopening(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.set_status("running")
        writer.append(*batch(0, 30))
    with RunWriter.open(run) as writer:
        assert writer.status == "running"
        assert len(writer.rows) == writer.n_finished == 30
        assert writer.has(2, 1, RowStatus.DONE)
        assert not writer.has(2, 1, RowStatus.DIVERGED)
        assert not writer.has(10, 0)
        writer.append(*batch(30, 30))
        writer.publish()
    with RunReader(run) as reader:
        assert len(reader.rows) == 60
        assert wrong_rows(reader) == 0


def test_later_append_replaces_the_row_and_its_curve(run: Path) -> None:
    index = np.arange(6)
    with RunWriter.open(run) as writer:
        writer.append(rows_at(index, RowStatus.SCORED), None, make_pruned(rows_at(index)))
        assert writer.n_finished == 0
        assert writer.has(0, 0, RowStatus.SCORED)
        assert not writer.has(0, 0, RowStatus.DONE)
        writer.publish()
        rows = rows_at(index)
        writer.append(rows, make_curves(rows))
        assert writer.n_finished == 6
        writer.append(rows[:1], None)
        assert writer.n_finished == 6
        with RunReader(run) as reader:
            assert reader.curve(0, 0) is None
            assert reader.curve(1, 0) is not None
            assert reader.pruned(1) == make_pruned(rows)[3]
        writer.append(rows[:1], make_curves(rows[:1]))
    for _ in range(2):
        with RunReader(run) as reader:
            assert wrong_rows(reader) == 0
        with RunWriter.open(run) as writer:
            writer.publish(True)


def test_arrays_of_another_run_are_refused(run: Path) -> None:
    rows, curves, pruned = batch(0, 3)
    with RunWriter.open(run) as writer:
        with pytest.raises(ValueError, match="record type"):
            writer.append(np.zeros(3, "f8"))
        with pytest.raises(ValueError, match="do not fit the rows"):
            writer.append(rows, curves[:, :-1])
        with pytest.raises(ValueError, match="one entry per row"):
            writer.append(rows, curves, pruned[:2])
        with pytest.raises(ValueError, match="16 bits"):
            writer.append(rows[:1], None, [[[70_000], []]])
        rows["status"] = 0
        with pytest.raises(ValueError, match="unknown status"):
            writer.append(rows, curves, pruned)
        assert len(writer.rows) == 0


def test_append_goes_on_after_a_full_disk(run: Path) -> None:
    resource = pytest.importorskip("resource")
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 30))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        room = (run / "run.journal").stat().st_size + 50
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            for _ in range(2):
                with pytest.raises(OSError, match="large"):
                    writer.append(*batch(30, 30))
                with pytest.raises(OSError, match="large"):
                    writer.publish()
            writer.beat({"note": "x" * 20_000})
            with RunReader(run) as reader:
                assert (len(reader.rows), reader.warning) == (30, "")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not list(run.glob("*.tmp"))
        assert len(writer.rows) == writer.n_finished == 30
        writer.append(*batch(30, 30))
        writer.publish()
    with RunReader(run) as reader:
        assert len(reader.rows) == 60
        assert wrong_rows(reader) == 0


@pytest.mark.parametrize("name", ["replace", "open", "fsync"])
def test_failed_publish_leaves_file_and_journal_standing(
    run: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = getattr(os, name)
    calls: list[int] = []

    def fails_at(number: int) -> Callable[..., object]:
        def function(*arguments: object, **options: object) -> object:
            calls.append(number)
            if len(calls) == number:
                raise OSError(28, "No space left on device")
            return real(*arguments, **options)

        return function

    failures = 0
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 30))
        for number in range(1, 8):
            calls.clear()
            with monkeypatch.context() as patch, contextlib.suppress(OSError):
                patch.setattr(os, name, fails_at(number))
                writer.publish()
            failures += len(calls) == number
            start = len(writer.rows)
            writer.append(*batch(start, 3))
            with RunReader(run) as reader:
                assert len(reader.rows) == start + 3
                assert wrong_rows(reader) == 0
    assert failures >= 2


def test_maybe_publish_when_rows_double_or_after_thirty_seconds(run: Path) -> None:
    clock = Clock()
    with RunWriter.open(run, clock=clock) as writer:
        assert not writer.maybe_publish()
        writer.append(*batch(0, 10))
        assert writer.maybe_publish()
        writer.append(*batch(10, 9))
        assert not writer.maybe_publish()
        writer.append(*batch(19, 1))
        assert writer.maybe_publish()
        clock.seconds += 31
        assert not writer.maybe_publish()
        writer.append(*batch(20, 1))
        assert writer.maybe_publish()
        writer.set_status("paused")
        clock.seconds += 29
        assert not writer.maybe_publish()
        clock.seconds += 2
        assert writer.maybe_publish()


def test_status_and_summary_are_published(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.set_status("failed", "no \x1b[1mmemory")
        writer.set_summary({"tau": np.float64(-0.25), "p": float("nan"), "n": np.int64(3)})
        writer.publish()
        with pytest.raises(ValueError, match="not a status"):
            writer.set_status("asleep")
        with pytest.raises(ValueError, match="longer than"):
            writer.set_summary({"x": "y" * 40_000})
    with RunReader(run) as reader:
        assert (reader.status, reader.message) == ("failed", r"no \x1b[1mmemory")
        assert reader.summary == {"tau": -0.25, "p": None, "n": 3}
    with h5py.File(run / "run.h5") as file:
        header = json.loads(file.attrs["summary"])
    assert header["summary"]["tau"] == -0.25
    assert header["status"] == "failed"


def test_longest_message_and_summary_fit_together(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.set_summary({"x": "y" * 19_000})
        writer.set_status("failed", "\U0001f600" * 5000)
        writer.publish()
    with RunReader(run) as reader:
        assert len(reader.message) == 1000


def test_final_file_is_compressed_and_plain_h5py_reads_both(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 300))
        sizes = []
        for final in (False, True):
            writer.publish(final)
            sizes.append((run / "run.h5").stat().st_size)
            with h5py.File(run / "run.h5") as file:
                assert file["candidates"].fletcher32
                assert file["candidates"]["best_test_acc"][4] == 1 / 6
                assert file["curves"].shape == (300, EPOCHS, 4)
                row = file["candidates"][5]
                start, length = int(row["pruned_offset"]), int(row["pruned_length"])
                pairs = file["pruned"][start : start + length].tolist()
                assert pairs == [(0, 1), (0, 4), (1, 1)]
    assert sizes[1] < sizes[0] / 2


def test_run_without_epochs_is_finished_when_scored(tmp_path: Path) -> None:
    folder = tmp_path / "scores"
    RunWriter.create(folder, config(epochs=0))
    with RunWriter.open(folder) as writer:
        writer.append(rows_at(np.arange(9), RowStatus.SCORED, 0))
        assert writer.n_finished == 9
        writer.publish()
    with RunReader(folder) as reader:
        assert reader.curves().shape == (9, 0, 4)
        assert reader.curve(0, 0) is None


def test_config_survives_reopening_and_publishing_to_the_letter(tmp_path: Path) -> None:
    document = config(spec={"note": "two\nlines \u202e"})
    RunWriter.create(tmp_path / "case", document)
    for _ in range(2):
        with RunWriter.open(tmp_path / "case") as writer:
            assert writer.config == document
            writer.publish()
    with RunReader(tmp_path / "case") as reader:
        assert reader.config["spec"] == {"note": r"two\nlines \u202e"}


def test_damaged_journal_keeps_the_whole_records_behind_the_damage(run: Path) -> None:
    with RunWriter.open(run) as writer:
        for start in (0, 30, 60):
            writer.append(*batch(start, 30))
    path = run / "run.journal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # in the second of three records
    path.write_bytes(data)
    with RunReader(run) as reader:
        assert len(reader.rows) == 60
        assert wrong_rows(reader) == 0
        assert "damaged" in reader.warning
    with RunWriter.open(run) as writer:
        assert len(writer.rows) == 60
        writer.append(*batch(30, 30))
        with RunReader(run) as reader:
            assert (len(reader.rows), wrong_rows(reader), reader.warning) == (90, 0, "")
            assert "damaged" in reader.log_tail(1)[0]


def test_journal_of_another_run_is_refused(run: Path, tmp_path: Path) -> None:
    RunWriter.create(tmp_path / "other", config("other"))
    RunWriter.open(tmp_path / "other").close()
    os.replace(tmp_path / "other" / "run.journal", run / "run.journal")
    with pytest.raises(RunFileError, match="belongs to another run"):
        RunWriter.open(run)
    with pytest.raises(RunFileError, match="belongs to another run"):
        RunReader(run)
    assert not (run / "lock").exists()


def test_open_refuses_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match="not the folder of a run"):
        RunWriter.open(tmp_path)


def test_beat_counts_and_is_replaced_whole(run: Path) -> None:
    with RunWriter.open(run) as writer:
        for done in (1, 2):
            writer.beat({"status": "running", "stage": "scoring", "n_done": done})
    with RunReader(run) as reader:
        live = reader.live()
    assert live is not None
    assert (live["heartbeat"], live["n_done"], live["rate"]) == (2, 2, None)
    assert not list(run.glob("*.tmp"))


def test_log_does_not_follow_a_link(run: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with RunWriter.open(run) as writer:
        writer.log("one\nline")
        with RunReader(run) as reader:
            (line,) = reader.log_tail(5)
        assert line.endswith(r"+00:00 one\nline")
        (run / "engine.log").unlink()
        (run / "engine.log").symlink_to(victim)
        writer.log("lost")
    assert victim.read_text() == "precious"


def test_request_is_seen_and_obeyed_once(run: Path) -> None:
    with RunWriter.open(run) as writer:
        assert writer.request() is None
        writer.obeyed()
        send_request(run, "pause")
        assert writer.request() == "pause"
        writer.obeyed()
        assert writer.request() is None
