"""Making runs: their names, their folders, and what they begin with."""

import stat

import pytest

from engine.control import create_pair, create_run, run_name
from engine.entries import read_entries
from engine.errors import UsageError
from engine.presets import QUICK
from engine.spec import StudySpec
from engine.store.listing import list_runs
from engine.store.reader import RunReader


def test_a_new_run_is_queued_empty_and_private(tmp_path):
    folder = create_run(tmp_path / "runs", QUICK.spec, "cpu")
    assert folder == tmp_path / "runs" / run_name(QUICK.spec)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    run = RunReader(folder)
    assert (run.status, len(run.rows)) == ("queued", 0)
    assert run.config["run_id"] == folder.name
    assert run.config["n_total"] == 45
    assert run.config["device"] == "cpu"
    assert StudySpec.from_json(run.config["spec"]) == QUICK.spec


def test_the_same_study_twice_is_two_runs(tmp_path):
    names = [create_run(tmp_path, QUICK.spec).name for _ in range(3)]
    assert names == [run_name(QUICK.spec) + end for end in ("", "-2", "-3")]


@pytest.mark.parametrize(
    "entries",
    [
        {"layers": "conv1,conv2"},
        {"layers": "conv1,conv2,conv3", "ratio": "0.5,0.3,0.25", "candidates": "5"},
        {"model": "lenet5-mini-w40", "dataset": "fashion-mnist", "seed": str(2**63 - 1)},
        {"ratio": "1e-9"},
    ],
)
def test_any_study_gives_a_run_that_opens(tmp_path, entries):
    spec = read_entries(entries)
    folder = create_run(tmp_path, spec)
    assert folder.parent == tmp_path
    assert StudySpec.from_json(RunReader(folder).config["spec"]) == spec


def test_the_largest_study_of_the_spec_fits_the_store(tmp_path):
    spec = read_entries(
        {"layers": "conv1,conv2", "ratio": "0.5", "candidates": "4000", "repeats": "1000"}
    )
    assert spec.rows == 4_000_000
    assert RunReader(create_run(tmp_path, spec)).config["n_total"] == 4_000_000


def test_a_folder_where_nothing_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        create_run(tmp_path / "file", QUICK.spec)


def test_a_pair_differs_in_the_wiring_alone_and_is_named_in_both(tmp_path):
    correct, released = create_pair(tmp_path, QUICK.spec)
    again, _ = create_pair(tmp_path, QUICK.spec)
    assert again.name == f"{correct.name}-2"
    specs = [StudySpec.from_json(RunReader(run).config["spec"]) for run in (correct, released)]
    assert specs == [QUICK.spec, QUICK.spec.with_(wiring="released")]
    pair = {"correct": correct.name, "released": released.name}
    assert all(RunReader(run).config["wiring_pair"] == pair for run in (correct, released))


def test_a_queued_run_is_listed_with_what_it_studies(tmp_path):
    run = create_run(tmp_path, read_entries({"ratio": "0.2"}))
    (listed,) = list_runs(tmp_path)
    assert listed.status == "queued"
    found = {key: listed.summary[key] for key in ("id", "model", "dataset", "layers", "ratio")}
    assert found == {
        "id": run.name,
        "model": "lenet5-mini",
        "dataset": "mnist-5k",
        "layers": "conv1",
        "ratio": "0.2",
    }
