"""Which scores there are, what may be typed for them, and that old studies keep their names."""

import pytest

from engine.entries import problems_in, read_entries
from engine.presets import QUICK
from engine.scores import BASE_SCORES, SCORES, applies, find_score, in_order, read_scores
from engine.spec import StudySpec
from engine.study_rules import SpecError


def test_base_scores_are_always_measured_and_come_first():
    assert read_entries({}).scores == BASE_SCORES
    assert read_entries({"scores": "random,l1"}).scores == (*BASE_SCORES, "l1", "random")
    assert read_scores(" l1 ,, pruned_train_acc", "lenet") == (*BASE_SCORES, "l1")


def test_the_order_typed_makes_no_other_study():
    first, second = (read_entries({"scores": text}) for text in ("taylor,l2", "l2, taylor"))
    assert first == second
    assert first.hash == second.hash != read_entries({}).hash


def test_all_is_what_exists_for_the_model():
    scores = read_entries({"scores": "all"}).scores
    assert set(SCORES) - set(scores) == {"bn_scale"}
    assert applies(SCORES["bn_scale"], "resnet")
    assert set(read_scores("all", "resnet", ["mine@0123456789ab"])) == {
        *SCORES,
        "mine@0123456789ab",
    }


def test_short_retrainings_of_any_length_are_known():
    info = find_score("short_retrain_acc_12")
    assert info is not None
    assert info.title == "Test accuracy after 12 epochs"
    assert not info.low_is_good
    assert read_entries({"scores": "short-retrain-train-acc-3"}).scores[2:] == (
        "short_retrain_train_acc_3",
    )
    for name in ("short_retrain_acc_0", "short_retrain_acc", "short_retrain_acc_x"):
        assert find_score(name) is None


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("tailor", "did you mean taylor"),
        ("zzz", "oracle-tui scores"),
        ("bn_scale", "needs BatchNorm"),
        ("short_retrain_acc_31", "longer than the retraining of 30"),
        ("l1@0123", "cannot be the name"),
        ("a b", "no score named"),
    ],
)
def test_a_wrong_score_is_named_in_one_sentence(typed, says):
    problems = problems_in({"scores": typed})
    assert set(problems) == {"scores"}
    assert says in problems["scores"]


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (("l1",), "pruned_train_loss"),
        ((*BASE_SCORES, "l1", "l1"), "twice"),
        ((*BASE_SCORES, "mine@0123456789ab", "mine@ba9876543210"), "twice"),
        ((*BASE_SCORES, "no name"), "cannot be the name"),
        ((*BASE_SCORES, *(f"mine_{i}" for i in range(40))), "at most"),
    ],
)
def test_a_spec_from_elsewhere_is_checked(scores, says):
    with pytest.raises(SpecError) as caught:
        QUICK.spec.with_(scores=scores)
    assert caught.value.field == "scores"
    assert says in str(caught.value)


def test_a_spec_with_anothers_own_score_still_reads():
    """Its package need not be installed where a finished run is looked at."""
    spec = QUICK.spec.with_(scores=(*BASE_SCORES, "from_a_package", "mine@0123456789ab"))
    assert StudySpec.from_json(spec.to_json()) == spec
    assert spec.score_names == (*BASE_SCORES, "from_a_package", "mine")


def test_a_spec_from_before_there_were_scores_reads_and_keeps_its_hash():
    data = QUICK.spec.to_json()
    del data["scores"], data["search"]
    assert StudySpec.from_json(data) == QUICK.spec
    assert StudySpec.from_json(data).hash == "99204e37918e"


def test_a_preset_keeps_its_scores():
    preset = type(QUICK)("x", "", (QUICK.spec.with_(scores=(*BASE_SCORES, "l1")),))
    assert read_entries({"seed": "3"}, preset).scores == (*BASE_SCORES, "l1")


def test_order_is_ours_then_by_name():
    assert in_order(["z", "random", "a", "l1", "z"]) == ("l1", "random", "a", "z")
