import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.errors import RunFileError, UsageError
from engine.store import reader as reader_module
from engine.store.layout import RowStatus
from engine.store.published import Published, open_published
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from tests.store_harness.cases import batch, config, make_curves, rows_at, wrong_rows


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "case"
    RunWriter.create(folder, config())
    return folder


def test_refresh_sees_rows_status_and_publishes_of_a_live_run(run: Path) -> None:
    with RunWriter.open(run) as writer, RunReader(run) as reader:
        reader.refresh()
        assert not reader.refresh()
        writer.append(*batch(0, 30))
        assert reader.refresh()
        assert len(reader.rows) == 30
        writer.set_status("paused", "by hand")
        assert reader.refresh()
        assert (reader.status, reader.message) == ("paused", "by hand")
        writer.publish()
        assert not reader.refresh()  # nothing new: the same rows in another place
        writer.set_summary({"tau": 0.5})
        writer.publish(True)
        assert reader.refresh()
        assert reader.summary == {"tau": 0.5}
        writer.append(*batch(30, 3))
        assert reader.refresh()
        assert len(reader.rows) == 33
        assert wrong_rows(reader) == 0
        assert not reader.refresh()


def test_rows_between_two_publishes_are_not_missed(run: Path) -> None:
    with RunWriter.open(run) as writer, RunReader(run) as reader:
        for i in range(12):
            writer.append(*batch(10 * i, 10))
            if i % 3 == 1:
                writer.publish()
            if i % 4 == 3:
                reader.refresh()
                assert len(reader.rows) == 10 * (i + 1)
        assert wrong_rows(reader) == 0


def test_unchanged_run_costs_two_stat_calls(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunWriter.open(run) as writer, RunReader(run) as reader:
        writer.append(*batch(0, 9))
        reader.refresh()
        calls: list[str] = []
        real = os.stat
        monkeypatch.setattr(os, "stat", lambda path: calls.append("stat") or real(path))
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened a file"))
        assert not reader.refresh()
        assert calls == ["stat", "stat"]
        monkeypatch.undo()


def test_rows_are_sorted_and_cannot_be_changed(run: Path) -> None:
    with RunWriter.open(run) as writer, RunReader(run) as reader:
        for start in (60, 0, 30):
            rows, curves, pruned = batch(start, 30)
            writer.append(rows[::-1].copy(), curves[::-1], pruned[::-1])
            if start == 0:
                writer.publish()
        reader.refresh()
        keys = list(zip(reader.rows["candidate"], reader.rows["repeat"], strict=True))
        assert keys == sorted(keys)
        assert wrong_rows(reader) == 0
        with pytest.raises(ValueError, match="read-only"):
            reader.rows["status"] = 1


def test_curves_of_published_and_newer_rows_line_up(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 12))
        writer.append(rows_at(np.arange(12, 24), RowStatus.SCORED))
        writer.publish()
        rows = rows_at(np.arange(12, 18))
        writer.append(rows, make_curves(rows))
        with RunReader(run) as reader:
            curves = reader.curves()
            assert np.array_equal(curves[:18], make_curves(rows_at(np.arange(18))))
            assert np.isnan(curves[18:]).all()
            assert np.array_equal(reader.curve(4, 1), curves[13])
            assert np.array_equal(reader.curve(0, 1), curves[1])
            assert reader.curve(7, 0) is None
            assert reader.curve(999, 0) is None


def test_pruned_filters_of_known_and_unknown_candidates(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 6))
        writer.publish()
        writer.append(*batch(6, 3))
        writer.append(rows_at(np.arange(30, 33)))
        with RunReader(run) as reader:
            assert reader.pruned(1) == [[1, 4], [1]]
            assert reader.pruned(2) == [[2, 5], [2]]
            assert reader.pruned(10) == [[], []]
            with pytest.raises(UsageError, match="no candidate 11"):
                reader.pruned(11)


def test_bare_file_is_a_run_of_its_own(run: Path, tmp_path: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 9))
        writer.set_status("done")
        writer.publish(True)
    copy = tmp_path / "copy.h5"
    shutil.copy(run / "run.h5", copy)
    with RunReader(copy) as reader:
        assert (reader.status, reader.folder, reader.live(), reader.log_tail(5)) == (
            "done",
            None,
            None,
            [],
        )
        assert wrong_rows(reader) == 0
        assert not reader.refresh()
    (tmp_path / "link.h5").symlink_to(copy)
    with RunReader(tmp_path / "link.h5") as reader:
        assert len(reader.rows) == 9


def test_naming_the_file_of_a_live_run_means_the_run(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 9))
        with RunReader(run / "run.h5") as reader:
            assert len(reader.rows) == 9


def test_rows_stay_when_the_run_vanishes(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 9))
    with RunReader(run) as reader:
        shutil.rmtree(run)
        with pytest.raises(RunFileError, match="is not there"):
            reader.refresh()
        assert len(reader.rows) == 9


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_no_run_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFileError, match=f"{name}.* (does not exist|is not there)"):
        RunReader(tmp_path / name)


def test_torn_tail_is_neither_shown_nor_warned_of(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 9))
    path = run / "run.journal"
    whole = path.read_bytes()
    with RunReader(run) as reader:
        path.write_bytes(whole + whole[44:-5])
        reader.refresh()
        assert (len(reader.rows), reader.warning) == (9, "")


def test_old_file_beside_a_newer_journal_is_warned_of(run: Path) -> None:
    old = (run / "run.h5").read_bytes()
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 9))
        writer.publish()
        writer.append(*batch(9, 3))
    (run / "run.h5").write_bytes(old)  # as in a folder that was copied while it was written
    with RunReader(run) as reader:
        assert len(reader.rows) == 3
        assert "older than its journal" in reader.warning
    with RunWriter.open(run) as writer:
        assert len(writer.rows) == 3
        writer.append(*batch(0, 9))
        writer.publish()
    with RunReader(run) as reader:
        assert (len(reader.rows), wrong_rows(reader), reader.warning) == (12, 0, "")


def test_log_tail_is_bounded_and_printable(run: Path) -> None:
    lines = [f"line {i} \x1b[31m" for i in range(20_000)]
    (run / "engine.log").write_text("\n".join(lines) + "\n")
    with RunReader(run) as reader:
        assert reader.log_tail(2) == [r"line 19998 \x1b[31m", r"line 19999 \x1b[31m"]
        assert 100 < len(reader.log_tail(10**9)) < 20_000
        assert reader.log_tail(0) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b"\xff" * 50, b'{"a": ' + b"[" * 5000, b"x" * (1 << 19)],
)
def test_unreadable_live_file_is_none(run: Path, content: bytes) -> None:
    (run / "live.json").write_bytes(content)
    with RunReader(run) as reader:
        assert reader.live() is None


def test_live_file_from_a_stranger_is_cut_down_to_what_it_may_hold(run: Path) -> None:
    (run / "live.json").write_text(
        '{"heartbeat": -1, "status": "\\u001b[2J", "stage": "cooking", "stage_done": 1e400,'
        '"stage_unit": "\\u001b", "n_done": true, "rate": NaN, "eta_seconds": "soon", "note": 5,'
        '"provisional": [[1, 0, 3, 0.5, 0.25], [1], "x", [1, 0, 3, "a", 2], [-1, 0, 3, 0.5, 1]],'
        '"more": 1}'
    )
    with RunReader(run) as reader:
        live = reader.live()
    assert live == {
        "heartbeat": 0,
        "stage_done": 0,
        "stage_total": 0,
        "n_done": 0,
        "n_total": 0,
        "status": "",
        "stage": "",
        "stage_unit": r"\x1b",
        "note": "",
        "rate": None,
        "eta_seconds": None,
        "provisional": [[1, 0, 3, 0.5, 0.25]],
        "pid": 0,
        "monotonic": None,
    }


def test_publish_in_the_middle_of_opening_hides_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 9))
        publishes = iter(range(3))

        def opens_late(path: Path, *, follow: bool) -> Published:
            for _ in publishes:
                writer.publish()
                writer.append(*batch(writer.n_rows, 3))
                break
            return open_published(path, follow=follow)

        monkeypatch.setattr(reader_module, "open_published", opens_late)
        with RunReader(run) as reader:
            assert len(reader.rows) == 18
            assert wrong_rows(reader) == 0


def test_other_journal_in_the_same_inode_is_read_from_its_start(run: Path) -> None:
    with RunWriter.open(run) as writer:
        writer.append(*batch(0, 3))
    path = run / "run.journal"
    with RunReader(run) as reader:
        path.rename(run / "first")
        with RunWriter.open(run) as writer:
            for start in (30, 60, 90):
                writer.append(*batch(start, 30))
        other = path.read_bytes()
        path.unlink()
        (run / "first").rename(path)
        path.write_bytes(other)
        assert reader.refresh()
        assert (len(reader.rows), wrong_rows(reader), reader.warning) == (90, 0, "")


def test_frames_that_are_already_published_do_not_bring_old_rows_back(run: Path) -> None:
    rows = rows_at(np.arange(6))
    with RunWriter.open(run) as writer:
        writer.append(rows_at(np.arange(6), RowStatus.SCORED), None, batch(0, 6)[2])
        old = (run / "run.journal").read_bytes()
        writer.append(rows, make_curves(rows))
        writer.publish()
    # a crash before the new journal, and damage to the end of the old one
    (run / "run.journal").write_bytes(old)
    with RunReader(run) as reader:
        assert wrong_rows(reader) == 0
    with RunWriter.open(run) as writer:
        assert writer.n_finished == 6
