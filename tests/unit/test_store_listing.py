import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.store import listing as listing_module
from engine.store.listing import INDEX_NAME, find_run, list_runs
from engine.store.writer import RunWriter
from tests.store_harness.cases import batch, config


def finished(folder: Path, n: int = 9) -> Path:
    RunWriter.create(folder, config(folder.name, n_total=n))
    with RunWriter.open(folder) as writer:
        writer.append(*batch(0, n))
        writer.set_status("done")
        writer.set_summary({"tau": -0.5})
        writer.publish(True)
    return folder


def test_folders_bare_files_and_live_runs_are_listed(tmp_path: Path) -> None:
    finished(tmp_path / "a")
    shutil.copy(tmp_path / "a" / "run.h5", tmp_path / "b.h5")
    RunWriter.create(tmp_path / "c", config("c"))
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with RunWriter.open(tmp_path / "c") as writer:
        writer.set_status("running")
        writer.append(*batch(0, 12))
        listed = {row.id: row for row in list_runs(tmp_path)}
        assert set(listed) == {"a", "b", "c"}
        assert (listed["c"].status, listed["c"].n_done, listed["c"].n_total) == ("running", 12, 300)
    for name in "ab":
        assert listed[name].error is None
        assert (listed[name].status, listed[name].n_done) == ("done", 9)
        assert listed[name].summary == {"tau": -0.5}
    assert {row.id: row.status for row in list_runs(tmp_path)}["c"] == "stalled"


def test_bad_files_become_rows_with_their_reason(tmp_path: Path) -> None:
    good = finished(tmp_path / "good")
    data = (good / "run.h5").read_bytes()
    for name, content in {
        "empty": b"",
        "short": data[:-100],
        "text": b"text" * 100,
        "flipped": data[:-20] + bytes([data[-20] ^ 1]) + data[-19:],
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.h5").write_bytes(content)
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / "run.h5")
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "dangling.h5").symlink_to(tmp_path / "nothing")
    (tmp_path / "gone").mkdir()
    shutil.copy(good / "run.journal", tmp_path / "gone")
    for _ in range(2):  # with and without an index
        listed = {row.id: row for row in list_runs(tmp_path)}
        assert {name for name, row in listed.items() if row.error is None} == {"good"}
        assert set(listed) == {"good", "empty", "short", "text", "flipped", "fifo", "gone"}
        for row in listed.values():
            assert row.error is None or (row.error.endswith(".") and row.error.isprintable())


def test_journal_that_is_bad_or_of_strangers_does_not_stop_the_listing(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run / "run.journal").write_bytes(os.urandom(5000))
    (run / "live.json").write_bytes(b"\xff")
    (run / "lock").write_bytes(b"\xff")
    (row,) = list_runs(tmp_path)
    assert (row.error, row.status, row.n_done) == (None, "done", 9)


def test_index_is_used_while_files_stay_and_not_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(tmp_path / "a")
    first = list_runs(tmp_path)
    assert (tmp_path / INDEX_NAME).stat().st_mode & 0o777 == 0o600
    with monkeypatch.context() as patch:
        patch.setattr(listing_module, "_examine", lambda *_, **__: pytest.fail("read a file"))
        assert list_runs(tmp_path) == first
    with RunWriter.open(tmp_path / "a") as writer:
        writer.append(*batch(9, 3))
    assert list_runs(tmp_path)[0].n_done == 12
    with RunWriter.open(tmp_path / "a") as writer:
        writer.set_summary({"tau": 1})
        writer.publish()
    assert list_runs(tmp_path)[0].summary == {"tau": 1}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"version": 1, "runs": 3}', b'{"version": 99, "runs": {}}', b"\xff" * 9],
)
def test_spoiled_index_is_no_more_than_slow(tmp_path: Path, content: bytes) -> None:
    finished(tmp_path / "a")
    first = list_runs(tmp_path)
    (tmp_path / INDEX_NAME).write_bytes(content)
    assert list_runs(tmp_path) == first


def test_index_with_wrong_types_is_read_anew(tmp_path: Path) -> None:
    finished(tmp_path / "a")
    first = list_runs(tmp_path)
    for key, value in {"status": 3, "n_done": "x", "summary": [], "error": 7}.items():
        document = json.loads((tmp_path / INDEX_NAME).read_text())
        document["runs"]["a"][key] = value
        (tmp_path / INDEX_NAME).write_text(json.dumps(document))
        assert list_runs(tmp_path) == first


def test_listing_needs_neither_hdf5_nor_a_folder(tmp_path: Path) -> None:
    finished(tmp_path / "a")
    program = (
        "import sys; from pathlib import Path; from engine.store.listing import list_runs;"
        "assert list_runs(Path(sys.argv[1]) / 'nowhere') == [];"
        "assert len(list_runs(Path(sys.argv[1]))) == 1; assert 'h5py' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file cannot be read"):
        list_runs(tmp_path / "file")
    with pytest.raises(UsageError, match=r"file cannot be read \(Not a directory\)"):
        find_run(tmp_path / "file", "lenet")
    assert list_runs(tmp_path / "nowhere") == []
    with pytest.raises(UsageError, match=r"No run in .* begins with 'lenet'"):
        find_run(tmp_path / "nowhere", "lenet")


def test_find_run_by_id_prefix_and_path(tmp_path: Path) -> None:
    for name in ("lenet-1", "lenet-1-b", "vgg"):
        RunWriter.create(tmp_path / name, config(name))
    bare = tmp_path / "copy.h5"
    shutil.copy(tmp_path / "vgg" / "run.h5", bare)
    assert find_run(tmp_path, "lenet-1") == tmp_path / "lenet-1"
    assert find_run(tmp_path, "lenet-1-") == tmp_path / "lenet-1-b"
    assert find_run(tmp_path, "v") == tmp_path / "vgg"
    assert find_run(tmp_path, "copy") == bare
    assert find_run(tmp_path, str(bare)) == bare
    with pytest.raises(UsageError, match=r"2 runs \(lenet-1, lenet-1-b\)"):
        find_run(tmp_path, "lenet")
    with pytest.raises(UsageError, match=r"There is no run at /no/such\.h5"):
        find_run(tmp_path, "/no/such.h5")
    with pytest.raises(UsageError, match=r"is no run: there is no run\.h5 in it"):
        find_run(tmp_path, str(tmp_path))
    for text in ("nope", "", "\x1b[2J", "a\0b/c"):
        with pytest.raises(UsageError) as caught:
            find_run(tmp_path, text)
        assert str(caught.value).isprintable()
