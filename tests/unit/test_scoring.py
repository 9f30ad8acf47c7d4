"""Pruned train loss: against each pruned network evaluated by itself in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.catalog import find_model
from engine.work.datasets import ImageData
from engine.work.models import build_model, slice_plan
from engine.work.packs import Evaluation
from engine.work.scoring import pruned_scores
from engine.work.surgery import l1_selection
from tests.digits import first_digits, strong_state

torch.set_num_threads(1)

KINDS = ("solo", "stacked", "fused")
# Ways that compute a candidate by itself give the same bits whatever is beside it.
EXACT_KINDS = ("solo", "fused")
# Logits are float32 sums of at most 250 products; their mean loss agrees with float64 to this.
TOLERANCE = 2e-6

MODEL = find_model("lenet5-mini")
PLAN = slice_plan(MODEL, 10)


@pytest.fixture(scope="module")
def data() -> ImageData:
    """1,130 real digits: in every way of computing more than one piece, the last one short."""
    return first_digits(1_130, 10)


@pytest.fixture(scope="module")
def base() -> dict[str, Tensor]:
    return strong_state(MODEL, seed=5)


CHOICES = {
    "conv1": (["conv1"], [[[0, 1]], [[2, 9]], [[7, 8]]]),
    "conv2": (["conv2"], [[[0, 1, 2, 3, 4]], [[5, 6, 7, 8, 9]]]),
    "conv3": (["conv3"], [[[3]], [[4]]]),
    "two, named backwards": (["conv3", "conv1"], [[[3, 4], [0]], [[5, 6], [1]]]),
    "all": (["conv1", "conv2", "conv3"], [[[0], [1], [2]], [[3], [4], [5]]]),
}


def _alone(
    base: dict[str, Tensor],
    data: ImageData,
    layers: list[str],
    pruned: list[list[int]],
    wiring: str,
) -> tuple[float, float]:
    """The pruned network built with lists of indices, and evaluated in float64."""
    state = {name: tensor.double() for name, tensor in base.items()}
    kept = {}
    for layer, gone in zip(layers, pruned, strict=True):
        own = [i for i in range(10) if i not in gone]
        gone_l1 = l1_selection(base, layer, len(gone))
        readers = own if wiring == "correct" else [i for i in range(10) if i not in gone_l1]
        reader = {"conv1": "conv2", "conv2": "conv3", "conv3": "fc1"}[layer]
        state[f"{layer}.weight"] = state[f"{layer}.weight"][own]
        state[f"{layer}.bias"] = state[f"{layer}.bias"][own]
        state[f"{reader}.weight"] = state[f"{reader}.weight"][:, readers]
        kept[layer] = len(own)
    network = build_model(MODEL, 10, kept).double()
    network.load_state_dict(state)
    with torch.no_grad():
        logits = network(data.train_images.double())
    right = (logits.argmax(1) == data.train_labels).double().mean().item()
    return nn.CrossEntropyLoss()(logits, data.train_labels).item(), right


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wiring", ["correct", "released"])
@pytest.mark.parametrize(("layers", "candidates"), CHOICES.values(), ids=CHOICES)
def test_scores_are_those_of_each_pruned_network(
    layers: list[str],
    candidates: list[list[list[int]]],
    wiring: str,
    kind: str,
    base: dict[str, Tensor],
    data: ImageData,
) -> None:
    found = pruned_scores(MODEL, base, PLAN, layers, candidates, data, wiring=wiring, kind=kind)
    for place, candidate in enumerate(candidates):
        loss, accuracy = _alone(base, data, layers, candidate, wiring)
        assert found.loss[place] == pytest.approx(loss, abs=TOLERANCE)
        # One image may have two equal logits.
        assert found.accuracy[place] == pytest.approx(accuracy, abs=1.5 / len(data.train_labels))
    assert len(set(found.loss)) == len(candidates)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_does_not_depend_on_the_candidates_beside_it(
    kind: str, base: dict[str, Tensor], data: ImageData
) -> None:
    candidates = [[gone] for gone in itertools.combinations(range(10), 2)][::4]

    def score(some: list[list[tuple[int, ...]]]) -> Evaluation:
        return pruned_scores(MODEL, base, PLAN, ["conv1"], some, data, kind=kind, threads=2)

    together = score(candidates)
    for some in (candidates[:1], candidates[3:8], candidates[::-1]):
        places = [candidates.index(one) for one in some]
        apart = score(some)
        if kind in EXACT_KINDS:
            assert np.array_equal(apart.loss, together.loss[places])
        np.testing.assert_allclose(apart.loss, together.loss[places], rtol=0, atol=TOLERANCE)
        assert np.array_equal(apart.accuracy, together.accuracy[places])


def test_released_scores_are_the_correct_ones_for_l1s_choice_alone(
    base: dict[str, Tensor], data: ImageData
) -> None:
    candidates = [[gone] for gone in itertools.combinations(range(10), 2)]
    correct, released = (
        pruned_scores(MODEL, base, PLAN, ["conv1"], candidates, data, wiring=wiring).loss
        for wiring in ("correct", "released")
    )
    same = np.abs(correct - released) < TOLERANCE
    l1_choice = [tuple(l1_selection(base, "conv1", 2))]
    assert [one for one, equal in zip(candidates, same, strict=True) if equal] == [l1_choice]
    assert np.all(same | (np.abs(correct - released) > 100 * TOLERANCE))


@pytest.mark.parametrize("kind", KINDS)
def test_progress_rises_to_the_number_of_candidates(
    kind: str, base: dict[str, Tensor], data: ImageData
) -> None:
    told: list[int] = []
    layers, candidates = CHOICES["conv1"]
    pruned_scores(MODEL, base, PLAN, layers, candidates, data, kind=kind, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(candidates)


@pytest.mark.parametrize("kind", KINDS)
def test_progress_may_break_off(kind: str, base: dict[str, Tensor], data: ImageData) -> None:
    class Enough(Exception):
        pass

    def stop(done: int) -> None:
        raise Enough

    layers, candidates = CHOICES["conv1"]
    with pytest.raises(Enough):
        pruned_scores(MODEL, base, PLAN, layers, candidates, data, kind=kind, progress=stop)


def test_no_candidates_have_no_scores(base: dict[str, Tensor], data: ImageData) -> None:
    assert pruned_scores(MODEL, base, PLAN, ["conv1"], [], data).loss.shape == (0,)


def test_scoring_leaves_the_base_network_as_it_is(base: dict[str, Tensor], data: ImageData) -> None:
    before = {name: tensor.clone() for name, tensor in base.items()}
    pruned_scores(MODEL, base, PLAN, *CHOICES["all"], data, wiring="released")
    assert all(torch.equal(base[name], before[name]) for name in base)
