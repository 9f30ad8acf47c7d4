"""Slice plans and wiring: a slim network is the dense one with the pruned filters masked."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.catalog import MODELS, find_model
from engine.errors import UsageError
from engine.space import CandidateSpace
from engine.work.models import build_model, slice_plan
from engine.work.surgery import (
    LayerPlan,
    Slice,
    SlicePlan,
    candidate_states,
    kept_filters,
    l1_selection,
    plan_from_graph,
    slim_state,
    stack_states,
    take_network,
)

torch.set_num_threads(1)


class _NormedNet(nn.Module):
    """Two convolutions with norms, and a flatten of 6x6 maps: what no LeNet has."""

    def __init__(self, first: int = 6, second: int = 8) -> None:
        super().__init__()
        self.one = nn.Conv2d(1, first, 3, padding=1)
        self.norm_one = nn.BatchNorm2d(first)
        self.two = nn.Conv2d(first, second, 3, bias=False)
        self.norm_two = nn.BatchNorm2d(second)
        self.last = nn.Linear(second * 36, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.norm_one(self.one(images)))
        maps = functional.relu(self.norm_two(self.two(maps)))
        return self.last(maps.flatten(1))


def _randomised(network: nn.Module, seed: int) -> nn.Module:
    """Gives every tensor, running statistics too, values that no symmetry can hide behind."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            values = torch.randn(tensor.shape, generator=generator) * 0.3
            tensor.copy_(values.abs() + 0.5 if "running_var" in name else values)
    return network.eval()


def _masked(network: nn.Module, plan: SlicePlan, pruned: dict[str, list[int]]) -> dict[str, Tensor]:
    """The dense network whose consumers read nothing from the pruned filters."""
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for layer, gone in pruned.items():
        for part in plan[layer].following:
            if part.dim == 1:
                for index in gone:
                    state[part.tensor].narrow(
                        1, part.offset + index * part.block, part.block
                    ).zero_()
    return state


@pytest.mark.parametrize(
    ("name", "pruned"),
    [
        ("lenet5-mini", {"conv1": [0, 3, 9]}),
        ("lenet5-mini", {"conv2": [1, 2, 3, 4, 5]}),
        ("lenet5-mini-d7", {"conv3": [9]}),
        ("lenet5-mini-w20", {"conv1": [0, 19], "conv2": [5], "conv3": [0, 2]}),
        ("lenet5", {"conv1": [2], "conv3": list(range(0, 120, 2))}),
    ],
)
def test_a_slim_network_equals_the_masked_dense_one(
    name: str, pruned: dict[str, list[int]]
) -> None:
    info = find_model(name)
    plan = slice_plan(info, 10)
    dense = _randomised(build_model(info, 10), 7)
    kept = {layer: kept_filters(plan[layer].filters, gone) for layer, gone in pruned.items()}
    slim = build_model(info, 10, {layer: len(some) for layer, some in kept.items()})
    slim.load_state_dict(slim_state(dense.state_dict(), plan, kept))
    images = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    expected = torch.func.functional_call(dense, _masked(dense, plan, pruned), (images,))
    torch.testing.assert_close(slim(images), expected, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(slim(images), dense(images), atol=1e-3)


def test_norms_and_a_flatten_with_blocks_are_sliced_too() -> None:
    dense = _randomised(_NormedNet(), 3)
    plan = plan_from_graph(dense, torch.zeros(1, 1, 8, 8), ["one", "two"])
    pruned = {"one": [0, 4], "two": [1, 2, 7]}
    kept = {layer: kept_filters(plan[layer].filters, gone) for layer, gone in pruned.items()}
    slim = _NormedNet(4, 5).eval()
    slim.load_state_dict(slim_state(dense.state_dict(), plan, kept))
    images = torch.randn(5, 1, 8, 8)
    expected = torch.func.functional_call(dense, _masked(dense, plan, pruned), (images,))
    torch.testing.assert_close(slim(images), expected, rtol=1e-5, atol=1e-5)


def test_the_graph_tells_a_layers_own_tensors_from_those_that_follow() -> None:
    plan = plan_from_graph(_NormedNet(), torch.zeros(1, 1, 8, 8), ["one", "two"])
    assert plan["one"].own == (Slice("one.weight", 0), Slice("one.bias", 0))
    assert {part.tensor for part in plan["one"].following} == {
        "norm_one.weight",
        "norm_one.bias",
        "norm_one.running_mean",
        "norm_one.running_var",
        "two.weight",
    }
    assert Slice("last.weight", 1, block=36) in plan["two"].following


@pytest.mark.parametrize("name", [name for name in MODELS if "lenet" in name])
def test_plans_written_by_hand_are_those_of_the_dependency_graph(name: str) -> None:
    info = find_model(name)
    network = build_model(info, 10)
    found, written = plan_from_graph(network, torch.zeros(1, 1, 32, 32)), slice_plan(info, 10)
    assert tuple(found[layer.name] for layer in info.layers) == written.layers
    assert found.refused == written.refused


def test_making_a_plan_of_the_catalog_needs_no_slow_import() -> None:
    """Torch-Pruning brings torchvision along, seconds that the start of a study can do without."""
    program = (
        "import sys\n"
        "from engine.catalog import find_model\n"
        "from engine.work.models import slice_plan\n"
        "slice_plan(find_model('lenet5-mini'), 10)\n"
        "assert not {'torch_pruning', 'torchvision'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


class _Concatenated(nn.Module):
    def __init__(self, left: int = 3, right: int = 4) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, left, 3), nn.Conv2d(1, right, 3)
        self.last = nn.Conv2d(left + right, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.cat([self.left(images), self.right(images)], 1))


def test_concatenated_filters_are_found_behind_each_other() -> None:
    dense = _randomised(_Concatenated(), 4)
    plan = plan_from_graph(dense, torch.zeros(1, 1, 8, 8), ["left", "right"])
    assert plan["right"].following == (Slice("last.weight", 1, offset=3),)
    kept = {"left": [0, 2], "right": [1, 3]}
    state = dense.state_dict()
    slim = _Concatenated(2, 2).eval()
    slim.load_state_dict(slim_state(state, plan, kept))
    images = torch.randn(5, 1, 8, 8)
    masked = _masked(dense, plan, {"left": [1], "right": [0, 2]})
    expected = torch.func.functional_call(dense, masked, (images,))
    torch.testing.assert_close(slim(images), expected, rtol=1e-5, atol=1e-5)
    stacked = stack_states(state, plan, [kept, {"left": [0, 1], "right": [0, 3]}])
    assert torch.equal(stacked["last.weight"][0], slim.last.weight)
    assert torch.equal(stacked["last.weight"][1], state["last.weight"][:, [0, 1, 3, 6]])


def test_filters_that_their_reader_mixes_with_others_are_refused() -> None:
    class Interleaved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4)
            self.last = nn.Conv2d(4, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.norm(self.first(images)))

    with pytest.raises(UsageError, match=r"'first'.*group norm.*choose another layer"):
        plan_from_graph(Interleaved(), torch.zeros(1, 1, 8, 8), ["first"])


def test_stacked_states_are_the_single_ones() -> None:
    info = find_model("lenet5-mini")
    plan = slice_plan(info, 10)
    state = _randomised(build_model(info, 10), 5).state_dict()
    kept = [{"conv1": [0, 1, 2], "conv2": [9]}, {"conv1": [3, 7, 9], "conv2": [4]}]
    readers = [{"conv1": [1, 2, 3], "conv2": [0]}] * 2
    stacked = stack_states(state, plan, kept, readers)
    for place in range(2):
        single = slim_state(state, plan, kept[place], readers[place])
        network = take_network(stacked, place)
        assert list(network) == list(single)
        assert all(torch.equal(network[name], single[name]) for name in single)


def test_stacked_blocks_are_the_single_ones() -> None:
    plan = SlicePlan((LayerPlan("a", 3, (Slice("a.weight", 0),), (Slice("b.weight", 1, 4),)),))
    state = {"a.weight": torch.arange(6.0).view(3, 2), "b.weight": torch.arange(24.0).view(2, 12)}
    kept = [{"a": [0, 2]}, {"a": [1, 2]}]
    stacked = stack_states(state, plan, kept)
    assert stacked["b.weight"][0].tolist()[0] == [0, 1, 2, 3, 8, 9, 10, 11]
    for place in range(2):
        single = slim_state(state, plan, kept[place])
        assert all(torch.equal(stacked[name][place], single[name]) for name in single)


def test_stacked_states_share_no_memory() -> None:
    state = {"a.weight": torch.zeros(3, 2), "c.bias": torch.zeros(4)}
    plan = SlicePlan((LayerPlan("a", 3, (Slice("a.weight", 0),), ()),))
    stacked = stack_states(state, plan, [{"a": [0]}, {"a": [1]}])
    stacked["c.bias"][0] += 1
    assert stacked["c.bias"][1].tolist() == [0, 0, 0, 0]
    assert state["c.bias"].tolist() == [0, 0, 0, 0]


def test_l1_selection_takes_small_weights_first_and_lower_indices_on_ties() -> None:
    rows = [3.0, -1.0, 2.0, 1.0, -1.0]
    state = {
        "conv.weight": torch.tensor(rows).view(5, 1, 1, 1).expand(5, 2, 3, 3).contiguous(),
        "conv.bias": torch.tensor([0.0, 9.0, 0.0, 9.0, 9.0]),
    }
    assert l1_selection(state, "conv", 1) == [1]
    assert l1_selection(state, "conv", 2) == [1, 3]
    assert l1_selection(state, "conv", 4) == [1, 2, 3, 4]


@pytest.mark.parametrize("gone", [[10], [-1], [1, 1], list(range(10))])
def test_impossible_candidates_are_refused(gone: list[int]) -> None:
    with pytest.raises(UsageError, match="filters"):
        kept_filters(10, gone)


def test_released_wiring_is_the_correct_one_for_l1s_choice_alone() -> None:
    info = find_model("lenet5-mini")
    plan = slice_plan(info, 10)
    state = _randomised(build_model(info, 10), 11).state_dict()
    space = CandidateSpace((10,), (2,), None, 0)
    candidates = [space[index] for index in range(len(space))]
    correct = candidate_states(state, plan, ["conv1"], candidates, "correct")
    released = candidate_states(state, plan, ["conv1"], candidates, "released")
    l1_choice = tuple(l1_selection(state, "conv1", 2))
    same = [
        all(torch.equal(correct[name][place], released[name][place]) for name in correct)
        for place in range(len(candidates))
    ]
    assert [candidates[place][0] for place in range(45) if same[place]] == [l1_choice]
    for name in ("conv1.weight", "conv1.bias", "conv3.weight", "fc1.weight"):
        assert torch.equal(correct[name], released[name])
    readers = kept_filters(10, l1_choice)
    expected = state["conv2.weight"][:, readers]
    assert all(torch.equal(one, expected) for one in released["conv2.weight"])


def test_released_wiring_changes_what_every_other_candidate_computes() -> None:
    info = find_model("lenet5-mini")
    plan = slice_plan(info, 10)
    state = _randomised(build_model(info, 10), 11).state_dict()
    images = torch.randn(4, 1, 32, 32)
    candidates = [[gone] for gone in itertools.combinations(range(10), 2)]
    both = {
        wiring: candidate_states(state, plan, ["conv1"], candidates, wiring)
        for wiring in ("correct", "released")
    }
    network = build_model(info, 10, {"conv1": 8}).eval()
    l1_choice = l1_selection(state, "conv1", 2)
    for place, (gone,) in enumerate(candidates):
        logits = [
            torch.func.functional_call(network, take_network(states, place), (images,))
            for states in both.values()
        ]
        assert torch.equal(*logits) == (list(gone) == l1_choice)


def test_an_unknown_wiring_is_refused() -> None:
    info = find_model("lenet5-mini")
    state = build_model(info, 10).state_dict()
    with pytest.raises(UsageError, match="wiring is correct or released"):
        candidate_states(state, slice_plan(info, 10), ["conv1"], [[[0]]], "crossed")
