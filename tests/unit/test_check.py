"""Verifying and repairing runs: every fault that can be made is found, none where there is none."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.check import check_run
from engine.control import run_config
from engine.entries import read_entries
from engine.errors import UsageError
from engine.folders import shipped_folder
from engine.outcomes import outcomes_of
from engine.repair import make_repaired, repair_run
from engine.seeds import derive_seed
from engine.spec import StudySpec
from engine.store.layout import RowStatus, empty_rows
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from engine.summary import summarise_run
from engine.tables import export_csv
from tests.store_harness.cases import write_lock

SHIPPED = shipped_folder() / "runs" / "lenet5-mini-mnist-5k-conv1-0.5.h5"
SPEC = read_entries({"ratio": "0.2", "epochs": "4", "repeats": "2", "candidates": "20"})
Change = Callable[[np.ndarray, np.ndarray, list[list[list[int]]]], None]


def content(spec: StudySpec = SPEC) -> tuple[np.ndarray, np.ndarray, list[list[list[int]]]]:
    """Rows, curves and filters as the engine would write them."""
    n = spec.rows
    rows = empty_rows(n)
    rows["candidate"], rows["repeat"] = np.arange(n) // spec.repeats, np.arange(n) % spec.repeats
    rows["status"] = RowStatus.DONE
    rows["seed"] = [derive_seed(spec.seed, "batches", int(repeat)) for repeat in rows["repeat"]]
    rows["pruned_train_loss"] = 1 + rows["candidate"] * 0.1
    rows["pruned_train_acc"] = 0.5
    curves = np.random.default_rng(0).uniform(0.1, 0.9, (n, spec.retrain.epochs, 4))
    for name, values in outcomes_of(curves).items():
        rows[name] = values
    rows["epochs"] = spec.retrain.epochs
    filters = [[list(layer) for layer in spec.space[int(c)]] for c in rows["candidate"]]
    return rows, curves.astype(np.float32), filters


def make(folder: Path, change: Change | None = None, *, publish: bool = True, **more: Any) -> Path:
    RunWriter.create(folder, run_config(SPEC, folder.name, "cpu") | more)
    rows, curves, filters = content()
    if change:
        change(rows, curves, filters)
    with RunWriter.open(folder) as writer:
        half = len(rows) // 2
        writer.append(rows[:half], curves[:half], filters[:half])
        writer.append(rows[half:], curves[half:], filters[half:])
        writer.set_status("done")
        if publish:
            writer.set_summary(summarise_run(writer.config, "done", writer.rows))
            writer.publish(final=True)
    return folder


def errors(path: Path) -> list[str]:
    checked = check_run(path)
    found = [finding.text for finding in checked.findings if finding.level == "error"]
    assert checked.whole == (not found)
    assert all(text.isprintable() and text.endswith(".") for text in found)
    return found


@pytest.mark.parametrize("publish", [True, False])
def test_a_good_run_has_no_finding(tmp_path: Path, publish: bool) -> None:
    checked = check_run(make(tmp_path / "run", publish=publish))
    assert checked.findings == ()
    assert (checked.n_rows, checked.n_done) == (SPEC.rows, SPEC.rows)


def test_the_shipped_run_is_whole() -> None:
    assert check_run(SHIPPED).findings == ()


def _other_filter(rows: np.ndarray, curves: np.ndarray, filters: list[list[list[int]]]) -> None:
    taken = filters[6][0]
    filters[6] = filters[7] = [[next(i for i in range(10) if i not in taken), taken[1]]]


def _wrong_seed(rows: np.ndarray, curves: np.ndarray, filters: list[list[list[int]]]) -> None:
    rows["seed"][5] += np.uint64(1)


def _better(rows: np.ndarray, curves: np.ndarray, filters: list[list[list[int]]]) -> None:
    rows["best_test_acc"][5] += 0.01


def _above_one(rows: np.ndarray, curves: np.ndarray, filters: list[list[list[int]]]) -> None:
    rows["pruned_train_acc"][5] = 1.5


def _no_curve(rows: np.ndarray, curves: np.ndarray, filters: list[list[list[int]]]) -> None:
    curves[5] = np.nan


def _stranger(rows: np.ndarray, curves: np.ndarray, filters: list[list[list[int]]]) -> None:
    rows["candidate"][-1] = 40


def _unfinished(rows: np.ndarray, curves: np.ndarray, filters: list[list[list[int]]]) -> None:
    rows[-1:] = empty_rows(1)
    rows["candidate"][-1], rows["repeat"][-1], rows["status"][-1] = 19, 1, RowStatus.SCORED
    rows["pruned_train_loss"][-1], rows["pruned_train_acc"][-1] = 2.9, 0.5
    rows["seed"][-1] = derive_seed(SPEC.seed, "batches", 1)
    curves[-1] = np.nan


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_filter, "filters that are not those of the spec's candidate: 3."),
        (_wrong_seed, "a seed that is not the study's: candidate/repeat 2/1."),
        (_better, "outcomes that are not those of the learning curve: candidate/repeat 2/1."),
        (_above_one, "not between 0 and 1: candidate/repeat 2/1."),
        (_no_curve, "trained, but without a learning curve: candidate/repeat 2/1."),
        (_stranger, "rows that the study does not have: candidate/repeat 40/1."),
        (_unfinished, "it is done, but 39 of 40 rows are finished."),
    ],
)
def test_what_is_not_of_the_study_is_found(tmp_path: Path, change: Change, said: str) -> None:
    found = errors(make(tmp_path / "run", change))
    assert any(said in text for text in found), found


def test_a_spec_that_is_another_is_found(tmp_path: Path) -> None:
    other = SPEC.with_(ratios=(0.3,)).to_json()
    assert any("filters" in text for text in errors(make(tmp_path / "a", spec=other)))
    assert any("n_total" in text for text in errors(make(tmp_path / "b", n_total=41)))
    found = errors(make(tmp_path / "c", publish=False, spec={"model": "\x1b[31m"}))
    assert any("not one of a study" in text for text in found)


def test_every_kind_of_damage_to_the_files_is_found(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", publish=False)

    def damaged(name: str) -> Path:
        shutil.copytree(whole, tmp_path / name)
        return tmp_path / name

    flipped = damaged("flipped")
    data = bytearray((flipped / "run.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (flipped / "run.h5").write_bytes(data)
    assert any("checksum" in text for text in errors(flipped))

    journal = damaged("journal")
    data = bytearray((journal / "run.journal").read_bytes())
    data[200] ^= 1
    (journal / "run.journal").write_bytes(data)
    found = errors(journal)
    assert any("damaged at byte" in text for text in found)
    assert any("39" not in text and "rows are finished" in text for text in found)

    torn = damaged("torn")
    with open(torn / "run.journal", "ab") as file:
        file.write(b"PJF1")
    assert [finding.level for finding in check_run(torn).findings] == ["note"]

    header = damaged("header")
    data = bytearray((header / "run.journal").read_bytes())
    data[9] ^= 1
    (header / "run.journal").write_bytes(data)
    assert any("header is damaged" in text for text in errors(header))

    gone = damaged("gone")
    (gone / "run.h5").unlink()
    assert any("is not there" in text for text in errors(gone))


def test_loose_modes_odd_files_and_a_dead_lock_are_told(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    run.chmod(0o755)
    (run / "run.h5").chmod(0o644)
    (run / "link").symlink_to("/etc/passwd")
    (run / "live.json").write_text("\x1b[2J")
    (run / "live.json").chmod(0o600)
    write_lock(run / "lock", started=1.0)
    (run / "lock").chmod(0o600)
    texts = " ".join(finding.text for finding in check_run(run).findings)
    for said in ("mode 0755", "mode 0644", "link is not a regular file", "live.json", "gone"):
        assert said in texts
    assert check_run(run).whole


def test_a_place_with_nothing_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        check_run(tmp_path / "nothing")


# -- repair ----------------------------------------------------------------------------------------


def spoil_chunk(file: Path, times: int = 1) -> None:
    """Turns bits over in the middle of the largest data set of a run file."""
    import h5py

    with h5py.File(file, "r") as opened:
        info = opened["curves"].id.get_chunk_info(0)
    data = bytearray(file.read_bytes())
    for i in range(times):
        data[info.byte_offset + 40 + 8 * i] ^= 0x10
    file.write_bytes(data)


def test_a_whole_run_is_repaired_to_itself(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    repaired = repair_run(run, tmp_path / "new")
    assert (repaired.n_done, repaired.n_scored, repaired.notes) == (SPEC.rows, 0, ())
    assert check_run(tmp_path / "new").findings == ()
    ours, old = RunReader(tmp_path / "new"), RunReader(run)
    assert export_csv([ours], "curves") == export_csv([old], "curves").replace(b"run,", b"new,")


def test_what_a_damaged_chunk_held_is_retrained_and_the_rest_is_kept(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    spoil_chunk(run / "run.h5")
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert before != after
    assert not check_run(run).whole
    repaired = repair_run(run, tmp_path / "new")
    assert (repaired.n_done, repaired.n_scored) == (0, SPEC.rows)  # one chunk holds all curves
    assert any("checksum" in note for note in repaired.notes)
    assert check_run(tmp_path / "new").whole
    reader = RunReader(tmp_path / "new")
    assert reader.status == "stopped"
    np.testing.assert_array_equal(
        reader.rows["pruned_train_loss"], content()[0]["pruned_train_loss"]
    )
    assert {path.name: path.read_bytes() for path in run.iterdir()} == after


def test_whole_records_behind_a_damaged_one_are_kept(tmp_path: Path) -> None:
    run = make(tmp_path / "run", publish=False)
    data = bytearray((run / "run.journal").read_bytes())
    data[200] ^= 1
    (run / "run.journal").write_bytes(data)
    repaired = repair_run(run, tmp_path / "new")
    assert repaired.n_done == SPEC.rows // 2
    assert check_run(tmp_path / "new").whole


@pytest.mark.parametrize(
    ("change", "done", "scored"),
    [
        (_other_filter, 38, 0),
        (_wrong_seed, 39, 0),
        (_better, 39, 1),
        (_no_curve, 39, 1),
        (_stranger, 39, 0),
        (_unfinished, 39, 1),
    ],
)
def test_rows_that_are_not_the_studys_are_done_again(
    tmp_path: Path, change: Change, done: int, scored: int
) -> None:
    repaired = make_repaired(make(tmp_path / "run", change), tmp_path / "new")
    assert (repaired.n_done, repaired.n_scored, repaired.n_total) == (done, scored, SPEC.rows)
    assert check_run(tmp_path / "new").whole
    assert RunReader(tmp_path / "new").status == "stopped"


def test_a_bare_file_is_made_where_it_is_named_so(tmp_path: Path) -> None:
    repaired = repair_run(make(tmp_path / "run"), tmp_path / "new.h5")
    assert repaired.n_done == SPEC.rows
    assert (tmp_path / "new.h5").stat().st_mode & 0o777 == 0o600
    assert check_run(tmp_path / "new.h5").findings == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.h5", "run"]


def test_nothing_is_ever_written_over(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    (tmp_path / "new").mkdir()
    for place in (tmp_path / "new", run):
        with pytest.raises(UsageError, match="exists already"):
            repair_run(run, place)
    (tmp_path / "junk.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(5000))
    with pytest.raises(UsageError):
        repair_run(tmp_path / "junk.h5", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junk.h5", "new", "run"]


@pytest.mark.slow
def test_no_damage_to_a_file_makes_a_repair_that_is_not_whole(tmp_path: Path) -> None:
    """Random damage: either a sentence, or a new run in which nothing is wrong."""
    run = make(tmp_path / "run")
    good = (run / "run.h5").read_bytes()
    generator = np.random.default_rng(4)
    made = 0
    for trial in range(12):
        data = bytearray(good)
        for place in generator.integers(0, len(data), 1 + trial % 4):
            data[place] ^= 1 << int(generator.integers(8))
        (run / "run.h5").write_bytes(data)
        try:
            repair_run(run, tmp_path / f"new{trial}")
        except UsageError:
            continue
        made += 1
        assert check_run(tmp_path / f"new{trial}").whole
        rows = RunReader(tmp_path / f"new{trial}").rows
        expected = content()[0]
        places = rows["candidate"] * SPEC.repeats + rows["repeat"]
        np.testing.assert_array_equal(
            rows["pruned_train_loss"], expected["pruned_train_loss"][places]
        )
    assert made
