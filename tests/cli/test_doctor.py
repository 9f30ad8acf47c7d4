"""`doctor`: what it tells, and its exit code."""


def test_a_machine_that_runs_these_tests_can_start_a_run(oracle_tui, own_folders):
    answer = oracle_tui("doctor", "--json")
    assert answer.code == 0
    told = answer.json
    assert told["can_start"] is True
    assert told["problems"] == []
    assert told["versions"]["torch"]
    assert told["devices"]["cpus_usable"] >= 1
    runs, cache, _ = told["folders"]
    assert (runs["name"], runs["path"]) == ("runs", str(own_folders / "runs"))
    assert runs["fsync_ms"] > 0
    assert cache["path"] == str(own_folders / "cache")


def test_a_runs_folder_that_cannot_be_made_is_exit_code_1(oracle_tui, own_folders, monkeypatch):
    monkeypatch.setattr(
        "engine.doctor.probe_torch",
        lambda seconds: {"error": "", "devices": {"cpu": "cpu"}, "kernel": {"usable": True}},
    )
    blocked = own_folders / "file"
    blocked.write_text("in the way")
    answer = oracle_tui("doctor", "--runs-dir", str(blocked))
    assert answer.code == 1
    assert "problem: " in answer.out
    assert str(blocked) in answer.out
    assert answer.err == "No run can start here.\n"
