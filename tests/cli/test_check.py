"""`check RUN` and `check RUN --repair NEW` as a person meets them."""


def test_a_damaged_run_is_told_and_repaired_beside_it(oracle_tui, own_folders, make_run):
    # The rows of this fixture are made up, so what a check finds in them is what it should.
    run = make_run()
    answer = oracle_tui("check", run.name)
    assert answer.code == 1
    assert "error: a seed that is not the study's" in answer.out
    assert answer.err == f"{run.name} is not as it was written.\n"
    told = oracle_tui("check", str(run), "--json")
    assert told.code == 1
    assert told.json["whole"] is False
    assert told.json["n_done"] == 45
    new = own_folders / "runs" / "again"
    repaired = oracle_tui("check", run.name, "--repair", str(new))
    assert repaired.code == 0
    assert "repair: " in repaired.out
    assert oracle_tui("check", "again").code == 0
    assert oracle_tui("check", run.name, "--repair", str(new)).code == 2


def test_the_shipped_run_is_whole(oracle_tui):
    answer = oracle_tui("check", "lenet5-mini-mnist-5k-conv1-0.5")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.endswith("is whole: 756 rows, 756 of them finished.\n")


def test_a_run_that_is_not_there(oracle_tui):
    assert oracle_tui("check", "nothing").code == 2
