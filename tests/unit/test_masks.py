"""Candidates of single weights as records: seeds that regenerate masks, and their checksums."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.check import same_pruned
from engine.control import run_name
from engine.entries import read_entries
from engine.errors import UsageError
from engine.facts import facts_of
from engine.masks import (
    MaskSpace,
    checksum,
    drawn,
    mask_space,
    record_of,
    seed_of,
    smallest,
    told,
)
from engine.presets import QUICK
from engine.spec import StudySpec
from engine.study_rules import SpecError

SPACE = MaskSpace((250, 2_500), (225, 1_250), 20, 7)
ENTRIES = {"granularity": "weights", "ratio": ".9", "layers": "conv1,conv2", "candidates": "8"}


def masks_of(space: MaskSpace, candidate: int) -> list[np.ndarray]:
    return drawn([seed_of(r) for r in space[candidate]], space.weights, space.pruned)


def test_a_record_regenerates_its_masks() -> None:
    for candidate in range(3):
        masks = masks_of(SPACE, candidate)
        assert [len(mask) for mask in masks] == [250, 2_500]
        assert [int(mask.sum()) for mask in masks] == [225, 1_250]
        for record, mask in zip(SPACE[candidate], masks, strict=True):
            assert len(record) == 8
            assert max(record) < 1 << 16
            assert record_of(seed_of(record), mask) == record
            assert told(record) == {"seed": seed_of(record), "checksum": checksum(mask).hex()}
    assert len({SPACE[candidate] for candidate in range(20)}) == 20
    with pytest.raises(IndexError):
        _ = SPACE[20]


def test_masks_never_change() -> None:
    """Another mask from the same seed would make every run before it wrong."""
    assert told(SPACE[0][0]) == GOLDEN[0]
    assert told(SPACE[0][1]) == GOLDEN[1]


GOLDEN = (
    {"seed": 7844920105336757606, "checksum": "970816aba2182fed"},
    {"seed": 9030028365299881345, "checksum": "8acb21f35f4787d4"},
)


def test_a_larger_sample_begins_with_the_smaller_one_and_every_weight_is_as_likely() -> None:
    larger = MaskSpace(SPACE.weights, SPACE.pruned, 400, 7)
    assert [larger[c] for c in range(20)] == [SPACE[c] for c in range(20)]
    gone = np.mean([masks_of(larger, c)[1] for c in range(400)], axis=0)
    # Half of them go; the mean of 400 coins has a deviation of 1/40.
    assert abs(gone.mean() - 0.5) < 1e-12
    assert np.abs(gone - 0.5).max() < 5 / 40
    assert sorted(larger.work_order()) == list(range(400))


def test_weights_of_all_layers_together_are_drawn_across_them() -> None:
    space = MaskSpace((250, 2_500), (275,), 20, 7)
    counts = [[int(mask.sum()) for mask in masks_of(space, c)] for c in range(20)]
    assert {sum(pair) for pair in counts} == {275}
    assert len({first for first, _ in counts}) > 5
    first, second = space[0]
    assert first[:4] == second[:4]
    assert first[4:] != second[4:]
    assert space.product() == "C(2750,275)"


def test_the_smallest_are_taken_and_of_equal_ones_the_first() -> None:
    assert smallest(np.array([3.0, 1.0, 2.0, 1.0, 1.0]), 2).tolist() == [0, 1, 0, 1, 0]
    assert smallest(np.array([3.0, 1.0, 2.0]), 2).tolist() == [0, 1, 1]


def test_counts_in_words() -> None:
    assert mask_space((40,), (20,), 1, 0).in_all() == "137,846,528,820"
    assert SPACE.formula().startswith("20 of C(250,225) x C(2500,1250) = ")
    huge = MaskSpace((2_359_296,), (1_179_648,), 3, 0)
    # Stirling: 2^n / sqrt(pi n / 2).
    digits = 2_359_296 * np.log10(2) - 0.5 * np.log10(np.pi * 1_179_648)
    assert huge.in_all().endswith(f"e+{int(digits)}")


def test_too_few_masks_and_no_sample_are_refused() -> None:
    with pytest.raises(UsageError, match="too few masks"):
        mask_space((12,), (6,), 100, 0)
    with pytest.raises(UsageError, match="sample some of them"):
        mask_space((250,), (125,), None, 0)
    with pytest.raises(UsageError, match="can be sampled"):
        mask_space((250,), (125,), 0, 0)
    for record in ((), (1,) * 7, (-1,) * 8, (1 << 16,) * 8):
        with pytest.raises(UsageError, match="no seed and checksum"):
            seed_of(record)


def test_a_study_of_single_weights() -> None:
    spec = read_entries(ENTRIES)
    assert (spec.masked, spec.kept, spec.search, spec.rows) == (True, {}, ("l1",), 9)
    assert spec.space.weights == (250, 2_500)
    assert spec.space.pruned == (225, 2_250)
    assert StudySpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert run_name(spec).endswith("conv1_conv2-0.9-of-weights")
    facts = facts_of({"spec": spec.to_json()})
    assert facts.title.endswith("0.9 of the weights")
    assert facts.columns["granularity"] == "weights"
    across = read_entries({**ENTRIES, "scope": "global", "search": "none"})
    assert (across.space.pruned, across.search) == ((2_475,), ())
    assert len({spec.hash, across.hash, read_entries({**ENTRIES, "granularity": ""}).hash}) == 3
    for old in (QUICK.spec, read_entries({})):
        assert not {"granularity", "scope"} & set(old.to_json())
        assert "granularity" not in facts_of({"spec": old.to_json()}).columns
    # Pruned filters are counted as before, also in facts of models from before weights were.
    assert read_entries({}).kept == {"conv1": 8}


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"granularity": "blocks"}, "granularity", "filters or weights"),
        ({"scope": "model"}, "scope", "layer or global"),
        ({"granularity": "filters", "scope": "global"}, "scope", "for weights"),
        ({"wiring": "released"}, "wiring", "its wiring is correct"),
        ({"scope": "global", "ratio": ".9,.5"}, "ratio", "one ratio"),
        ({"ratio": ".9999"}, "ratio", "all 250 weights of conv1"),
        ({"candidates": "all"}, "candidates", "sample some of them"),
        ({"search": "greedy"}, "search", "greedy is not for weights"),
        ({"scores": "fpgm"}, "scores", "fpgm is not for single weights: it compares filters"),
        ({"scores": "l2"}, "scores", "is its l1"),
        ({"scores": "taylor"}, "scores", "is its snip"),
    ],
)
def test_what_single_weights_are_not_for(changes: dict[str, str], field: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        read_entries({**ENTRIES, **changes})
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


def test_all_scores_are_those_of_weights() -> None:
    scores = read_entries({**ENTRIES, "scores": "all"}).scores
    assert {"l1", "lamp", "snip", "grasp", "hessian", "fisher", "random"} <= set(scores)
    assert not {"l2", "fpgm", "bn_scale", "taylor"} & set(scores)


def test_a_stored_record_is_compared_word_by_word() -> None:
    spec = read_entries(ENTRIES)
    stored = [list(record) for record in spec.space[3]]
    assert same_pruned(spec, stored, spec.space[3])
    for layer, place in ((0, 0), (1, 7)):
        wrong = [list(record) for record in stored]
        wrong[layer][place] ^= 1
        assert not same_pruned(spec, wrong, spec.space[3])
    swapped = [list(reversed(record)) for record in stored]
    assert not same_pruned(spec, swapped, spec.space[3])
