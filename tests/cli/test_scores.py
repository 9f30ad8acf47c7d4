"""`scores`, and the flags of `run` that choose them."""

from engine.scores import SCORES


def test_scores_are_listed_with_their_direction(oracle_tui):
    answer = oracle_tui("scores", "--json")
    assert answer.code == 0
    listed = {score["name"]: score for score in answer.json}
    assert list(listed) == list(SCORES)
    assert listed["pruned_train_loss"]["low_is_good"] is True
    assert listed["pruned_train_acc"]["low_is_good"] is False
    assert [name for name, score in listed.items() if score["always"]] == list(SCORES)[:2]
    text = oracle_tui("scores")
    assert (text.code, text.err) == (0, "")
    assert [line.split()[0] for line in text.out.splitlines()[1:]] == list(SCORES)


def test_a_wrong_score_is_refused_before_anything_starts(oracle_tui, own_folders):
    answer = oracle_tui("run", "--preset", "quick", "--scores", "tailor")
    assert answer.code == 2
    assert "did you mean taylor" in answer.err
    assert answer.err.count("\n") == 1
    assert not (own_folders / "runs").exists()
