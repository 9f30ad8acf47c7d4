"""What a person types becomes a spec, or one sentence about the entry that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.entries import FIELDS, entries_of, problems_in, read_entries
from engine.presets import PRESETS, QUICK
from engine.study_rules import SpecError


def test_nothing_typed_is_the_protocol_on_the_shipped_digits():
    spec = read_entries({})
    assert (spec.model, spec.dataset, spec.layers) == ("lenet5-mini", "mnist-5k", ("conv1",))
    assert (spec.pretrain.epochs, spec.retrain.epochs, spec.repeats) == (30, 30, 1)
    assert spec.candidates is None
    assert spec.wiring == "correct"


def test_nothing_typed_with_a_preset_is_the_preset():
    for preset in PRESETS.values():
        for single in preset.each():
            assert read_entries({}, single) == single.spec


def test_everything_typed():
    spec = read_entries(
        {
            "model": "lenet5",
            "dataset": "fashion-mnist",
            "layers": "conv1, conv2",
            "ratio": "0.5,.25",
            "candidates": "100",
            "repeats": "3",
            "epochs": "3",
            "pretrain_epochs": "12",
            "seed": "9",
            "wiring": "released",
            "precision": "BF16",
        }
    )
    assert spec.precision == "bf16"
    assert spec.layers == ("conv1", "conv2")
    assert spec.ratios == (0.5, 0.25)
    assert (spec.candidates, spec.repeats, spec.seed, spec.wiring) == (100, 3, 9, "released")
    assert spec.retrain.drops == ((2, 1e-4),)
    assert spec.pretrain.drops == ((8, 0.001),)


def test_entries_of_a_spec_read_back_as_the_spec():
    two_layers = read_entries({"layers": "conv1,conv2", "ratio": ".5,.2", "seed": "3"})
    for spec in (QUICK.spec, two_layers):
        assert read_entries(entries_of(spec)) == spec
        assert set(entries_of(spec)) == set(FIELDS)


def test_one_entry_changes_one_thing_of_a_preset():
    assert read_entries({"seed": "4"}, QUICK) == QUICK.spec.with_(seed=4)
    assert read_entries({"wiring": "released"}, QUICK) == QUICK.spec.with_(wiring="released")
    assert read_entries({"epochs": "2"}, QUICK).retrain == QUICK.spec.retrain.lasting(2)


def test_another_layer_keeps_the_presets_ratio():
    assert read_entries({"layers": "conv2"}, QUICK).ratios == (0.2,)
    assert read_entries({"layers": "conv1+conv2"}, QUICK).ratios == (0.2, 0.2)


def test_another_model_brings_its_own_recipes():
    spec = read_entries({"model": "lenet5"}, QUICK)
    assert spec.dataset == "mnist-5k"
    assert spec.retrain == spec.model_info.retrain


def test_large_spaces_are_sampled_by_default():
    spec = read_entries({"layers": "conv1,conv2", "ratio": "0.5"})
    assert spec.candidates == 1_000
    assert read_entries({"layers": "conv1", "ratio": "0.5"}).candidates is None


@pytest.mark.parametrize(
    ("entries", "field", "says"),
    [
        ({"model": "resnet57"}, "model", "no model named 'resnet57'"),
        ({"dataset": "imagewoof"}, "dataset", "no data set named 'imagewoof'"),
        ({"layers": "conv7"}, "layers", "no layer named 'conv7'"),
        ({"layers": ","}, "layers", "at least one layer"),
        ({"layers": "conv1,conv1"}, "layers", "twice"),
        ({"ratio": "0"}, "ratio", "between 0 and 1"),
        ({"ratio": "1"}, "ratio", "between 0 and 1"),
        ({"ratio": "-3"}, "ratio", "between 0 and 1"),
        ({"ratio": "nan"}, "ratio", "between 0 and 1"),
        ({"ratio": "inf"}, "ratio", "between 0 and 1"),
        ({"ratio": "half"}, "ratio", "must be a number"),
        ({"ratio": "0.5,0.5"}, "ratio", "one for each"),
        ({"ratio": "0.99"}, "ratio", "all 10 filters"),
        ({"candidates": "0"}, "candidates", "at least 1"),
        ({"candidates": "-5"}, "candidates", "at least 1"),
        ({"candidates": "many"}, "candidates", "whole number or all"),
        ({"candidates": "46"}, "candidates", "Between 1 and 45"),
        ({"repeats": "0"}, "repeats", "from 1"),
        ({"repeats": "1.5"}, "repeats", "whole number"),
        ({"epochs": "6,7"}, "epochs", "whole number, not '6,7'"),
        ({"candidates": "1,00"}, "candidates", "whole number or all"),
        ({"search": "foo"}, "search", "greedy, swap or l1"),
        ({"epochs": "0"}, "epochs", "from 1"),
        ({"pretrain_epochs": "-1"}, "pretrain_epochs", "from 1"),
        ({"seed": "-1"}, "seed", "from 0"),
        ({"wiring": "reversed"}, "wiring", "correct or released"),
        ({"precision": "half"}, "precision", "float32 or bf16"),
        ({"model": "lenet5-mini-w40", "ratio": ".5", "candidates": "all"}, "candidates", "sample"),
    ],
)
def test_a_wrong_entry_is_named_in_one_sentence(entries, field, says):
    problems = problems_in(entries)
    assert set(problems) == {field}
    assert says in problems[field]
    assert "\n" not in problems[field]
    with pytest.raises(SpecError) as caught:
        read_entries(entries)
    assert (caught.value.field, str(caught.value)) == (field, problems[field])


def test_commas_part_thousands():
    spec = read_entries({"layers": "conv1,conv2", "ratio": "0.5", "candidates": "1,200"})
    assert spec.candidates == 1_200


def test_all_wrong_entries_are_named_at_once():
    wrong = {"model": "x", "ratio": "2", "repeats": "no", "epochs": "0"}
    assert set(problems_in(wrong)) == set(wrong)


def test_right_entries_have_no_problems():
    assert problems_in({}, QUICK) == {}
    assert problems_in(entries_of(QUICK.spec)) == {}


@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        st.one_of(
            st.text(max_size=12),
            st.floats().map(repr),
            st.integers().map(str),
            st.sampled_from(["conv1,conv2", "all", "0.5", "lenet5", "1e400", "٣", "1__0"]),
        ),
    )
)
def test_whatever_is_typed_gives_a_spec_or_sentences(entries):
    problems = problems_in(entries)
    assert all(text and "\n" not in text for text in problems.values())
    if problems:
        with pytest.raises(SpecError):
            read_entries(entries)
    else:
        read_entries(entries)
