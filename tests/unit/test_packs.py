"""Every way of computing a pack against the same candidate trained alone in a plain torch loop."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.catalog import find_model
from engine.recipe import Recipe
from engine.work.augment import batch_draws, train_batches
from engine.work.batches import batch_order, pretrain_order
from engine.work.datasets import ImageData
from engine.work.models import build_model, slice_plan
from engine.work.packs import (
    MOMENTUM,
    Pack,
    fused_trouble,
    make_pack,
    network_of,
    pack_kind,
    quickest_kind,
)
from engine.work.packs.fused import FusedPack
from engine.work.packs.solo import SoloPack
from engine.work.packs.stacked import StackedPack
from engine.work.surgery import candidate_states
from tests.digits import first_digits, strong_state

torch.set_num_threads(1)

KINDS = ("solo", "stacked", "fused")
# Ways that compute a candidate by itself give the same bits whatever is beside it.
EXACT_KINDS = ("solo", "fused")
# Between ways, sums are taken in another order. After the dozen SGD steps below, parameters of
# about 0.1 were 1e-6 apart at most, and losses of about 2 were 6e-8 apart.
TOLERANCE = {"rtol": 0.0, "atol": 1e-5}
LOSS_TOLERANCE = 2e-6

RECIPE = Recipe(epochs=2, learning_rate=0.02, momentum=0.9, weight_decay=1e-3, batch_size=96)
RATES = (0.02, 0.005)
MODEL = find_model("lenet5-mini")


@pytest.fixture(scope="module")
def data() -> ImageData:
    """500 and 230 real digits: neither a whole number of batches."""
    return first_digits(500, 230)


def _states(
    layers: list[str], candidates: list[list[list[int]]], seed: int = 3
) -> dict[str, Tensor]:
    return candidate_states(strong_state(MODEL, seed), slice_plan(MODEL, 10), layers, candidates)


@pytest.fixture(scope="module")
def states() -> dict[str, Tensor]:
    return _states(["conv1"], [[[0, 1, 2, 3, 4]], [[1, 3, 5, 7, 9]], [[5, 6, 7, 8, 9]]])


def _order(data: ImageData, epoch: int) -> NDArray[np.int64]:
    return batch_order(0, 0, epoch, len(data.train_labels))


def _train(pack: Pack, data: ImageData, epochs: range = range(2)) -> Pack:
    for epoch in epochs:
        pack.train(_order(data, epoch), RATES[epoch])
    return pack


def _plain(state: dict[str, Tensor], data: ImageData) -> tuple[nn.Module, dict[str, list[float]]]:
    """One candidate, one network, torch's own parts and nothing of this project's packs."""
    kept = {f"conv{i}": len(state[f"conv{i}.bias"]) for i in (1, 2, 3)}
    network = build_model(MODEL, 10, kept)
    network.load_state_dict(state)
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(2):
        for group in optimiser.param_groups:
            group["lr"] = RATES[epoch]
        order = torch.from_numpy(_order(data, epoch))
        for start in range(0, len(order), 96):
            batch = order[start : start + 96]
            optimiser.zero_grad()
            criterion(network(data.train_images[batch]), data.train_labels[batch]).backward()
            optimiser.step()
    found: dict[str, list[float]] = {}
    for split in ("train", "test"):
        images, labels = data.split(split)
        with torch.no_grad():
            logits = network(images)
            right = (logits.argmax(1) == labels).double().mean().item()
            found[split] = [criterion(logits.double(), labels).item(), right]
    return network, found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("layers", "candidates"),
    [
        (["conv1"], [[[0, 1, 2, 3, 4]], [[1, 3, 5, 7, 9]], [[5, 6, 7, 8, 9]]]),
        (["conv3"], [[[8]], [[0]]]),
        (["conv1", "conv2", "conv3"], [[[0, 1], [2, 3, 4], [9]], [[8, 9], [0, 1, 2], [5]]]),
    ],
    ids=["conv1", "conv3", "all three"],
)
def test_a_pack_does_what_each_candidate_does_alone(
    kind: str, layers: list[str], candidates: list[list[list[int]]], data: ImageData
) -> None:
    states = _states(layers, candidates)
    pack = _train(make_pack(MODEL, states, data, RECIPE, kind=kind), data)
    state = pack.state()
    evaluations = {split: pack.evaluate(split) for split in ("train", "test")}
    for place in range(pack.size):
        alone, found = _plain(network_of(states, place), data)
        for name, tensor in network_of(state, place).items():
            torch.testing.assert_close(tensor, alone.state_dict()[name], **TOLERANCE)
        for split, (loss, accuracy) in found.items():
            assert evaluations[split].loss[place] == pytest.approx(loss, abs=LOSS_TOLERANCE)
            assert evaluations[split].accuracy[place] == pytest.approx(accuracy, abs=1e-12)
    assert not np.allclose(evaluations["train"].loss[0], evaluations["train"].loss[1], atol=1e-3)


def test_the_reference_is_the_plain_loop_to_the_bit(
    states: dict[str, Tensor], data: ImageData
) -> None:
    state = _train(SoloPack(MODEL, states, data, RECIPE), data).state()
    for place in range(3):
        alone, _ = _plain(network_of(states, place), data)
        for name, tensor in network_of(state, place).items():
            assert torch.equal(tensor, alone.state_dict()[name])


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_does_not_depend_on_its_pack(
    kind: str, states: dict[str, Tensor], data: ImageData
) -> None:
    together = _train(make_pack(MODEL, states, data, RECIPE, kind=kind, threads=2), data)
    single = {name: tensor[1:2] for name, tensor in states.items()}
    alone = _train(make_pack(MODEL, single, data, RECIPE, kind=kind), data)
    tolerance = {"rtol": 0.0, "atol": 0.0} if kind in EXACT_KINDS else TOLERANCE
    for name, tensor in alone.state().items():
        torch.testing.assert_close(together.state()[name][1:2], tensor, **tolerance)
    if kind in EXACT_KINDS:
        assert together.evaluate("test").loss[1] == alone.evaluate("test").loss[0]


@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_a_candidate_does_not_depend_on_threads(
    kind: str, states: dict[str, Tensor], data: ImageData
) -> None:
    one = _train(make_pack(MODEL, states, data, RECIPE, kind=kind, threads=1), data)
    torch.set_num_threads(2)
    try:
        two = _train(make_pack(MODEL, states, data, RECIPE, kind=kind, threads=2), data)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for name, tensor in one.state().items():
        assert torch.equal(two.state()[name], tensor)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_may_be_cut_between_batches(
    kind: str, states: dict[str, Tensor], data: ImageData
) -> None:
    whole = _train(make_pack(MODEL, states, data, RECIPE, kind=kind), data, range(1))
    cut = make_pack(MODEL, states, data, RECIPE, kind=kind)
    order = _order(data, 0)
    for start in range(0, len(order), 2 * 96):
        cut.train(order[start : start + 2 * 96], RATES[0])
    for name, tensor in whole.state().items():
        assert torch.equal(cut.state()[name], tensor)


@pytest.mark.parametrize("after", KINDS)
@pytest.mark.parametrize("before", KINDS)
def test_a_state_resumes_in_every_kind_of_pack(
    before: str, after: str, states: dict[str, Tensor], data: ImageData
) -> None:
    first = _train(make_pack(MODEL, states, data, RECIPE, kind=before), data, range(1))
    state = first.state()
    assert {name for name in state if not name.startswith(MOMENTUM)} == set(states)
    assert {name.removeprefix(MOMENTUM) for name in state} == set(states)
    resumed = make_pack(MODEL, states, data, RECIPE, kind=after)
    resumed.load_state({name: state[name].clone() for name in sorted(state)})
    for name, tensor in state.items():
        assert torch.equal(resumed.state()[name], tensor)
    _train(resumed, data, range(1, 2))
    _train(first, data, range(1, 2))
    tolerance = {"rtol": 0.0, "atol": 0.0} if before == after else TOLERANCE
    for name, tensor in first.state().items():
        torch.testing.assert_close(resumed.state()[name], tensor, **tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_a_copy(kind: str, states: dict[str, Tensor], data: ImageData) -> None:
    given = {name: tensor.clone() for name, tensor in states.items()}
    pack = make_pack(MODEL, given, data, RECIPE, kind=kind)
    before = pack.state()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    _train(pack, data, range(1))
    assert all(torch.equal(before[name], kept[name]) for name in kept)
    assert all(torch.equal(given[name], states[name]) for name in states)
    pack.load_state(before)
    _train(pack, data, range(1))
    assert all(torch.equal(before[name], kept[name]) for name in kept)


@pytest.mark.parametrize("kind", KINDS)
def test_a_diverged_candidate_does_not_touch_the_others(
    kind: str, states: dict[str, Tensor], data: ImageData
) -> None:
    spoilt = {name: tensor.clone() for name, tensor in states.items()}
    spoilt["conv2.weight"][1, 0, 0] = float("nan")
    sound = _train(make_pack(MODEL, states, data, RECIPE, kind=kind), data, range(1))
    beside = _train(make_pack(MODEL, spoilt, data, RECIPE, kind=kind), data, range(1))
    expected, found = sound.evaluate("train"), beside.evaluate("train")
    assert np.isnan(found.loss[1])
    assert np.array_equal(found.loss[[0, 2]], expected.loss[[0, 2]])
    assert np.array_equal(found.accuracy[[0, 2]], expected.accuracy[[0, 2]])


def test_the_kind_is_chosen_by_device_and_model(states: dict[str, Tensor], data: ImageData) -> None:
    assert fused_trouble() == ""
    assert pack_kind(MODEL, {"conv1": 5}, data) == "fused"
    assert isinstance(make_pack(MODEL, states, data, RECIPE), FusedPack)
    assert isinstance(make_pack(MODEL, states, data, RECIPE, kind="solo"), SoloPack)
    assert isinstance(make_pack(MODEL, states, data, RECIPE, kind="stacked"), StackedPack)


def test_the_quickest_kind_is_measured_and_a_kind_that_fails_is_left_out(data: ImageData) -> None:
    lines: list[str] = []
    kinds = ["fused", "no such kind", "solo"]
    chosen = quickest_kind(MODEL, {"conv1": 5}, data, RECIPE, kinds=kinds[::2], say=lines.append)
    assert chosen in kinds[::2]
    assert [line.split(":")[0] for line in lines] == [f"packs of kind {k}" for k in kinds[::2]]
    rates = [float(line.split(":")[1].split()[0].replace(",", "")) for line in lines]
    assert chosen == kinds[::2][int(np.argmax(rates))]

    state = torch.random.get_rng_state()
    lines.clear()
    broken = replace(data, train_images=data.train_images.double())
    # torch's modules refuse doubles; the kernel takes floats only, and nothing else is left.
    assert quickest_kind(MODEL, {}, broken, RECIPE, kinds=["stacked", "solo"], say=lines.append)
    assert all("cannot be used here" in line for line in lines)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", ["solo", "stacked"])
def test_augmented_batches_are_the_same_for_every_kind(
    kind: str, states: dict[str, Tensor], data: ImageData
) -> None:
    moving = replace(data, black=torch.full((1,), data.train_images.min().item()))
    order, draws = _order(data, 0), batch_draws(0, 0, 0, len(data.train_labels))
    pack = make_pack(MODEL, states, moving, RECIPE, kind=kind)
    pack.train(order, RATES[0], draws)
    # The same batches, cropped and mirrored beforehand, in a pack that augments nothing.
    images = torch.cat([batch for batch, _ in train_batches(moving, order, 96, draws)])
    ready = replace(data, train_images=images, train_labels=data.train_labels[order])
    alone = make_pack(MODEL, states, ready, RECIPE, kind=kind)
    alone.train(np.arange(len(order)), RATES[0])
    for name, tensor in alone.state().items():
        assert torch.equal(pack.state()[name], tensor)
    still = make_pack(MODEL, states, data, RECIPE, kind=kind)
    still.train(order, RATES[0])
    assert not torch.allclose(still.state()["conv1.weight"], pack.state()["conv1.weight"])


def test_the_fused_kernel_refuses_to_augment(states: dict[str, Tensor], data: ImageData) -> None:
    moving = replace(data, black=torch.zeros(1))
    assert pack_kind(MODEL, {"conv1": 5}, moving) == "solo"
    draws = batch_draws(0, 0, 0, len(data.train_labels))
    with pytest.raises(ValueError, match="the kernels know no crops"):
        make_pack(MODEL, states, data, RECIPE, kind="fused").train(_order(data, 0), 0.1, draws)


def test_bf16_casts_the_training_and_nothing_else(
    states: dict[str, Tensor], data: ImageData
) -> None:
    assert pack_kind(MODEL, {"conv1": 5}, data, "bf16") == "solo"
    cast = make_pack(MODEL, states, data, RECIPE, precision="bf16")
    exact = make_pack(MODEL, states, data, RECIPE, kind="solo")
    # Before training, evaluations are float32 in both; channels last may round them otherwise.
    np.testing.assert_allclose(
        cast.evaluate("test").loss, exact.evaluate("test").loss, atol=LOSS_TOLERANCE
    )
    for pack in (cast, exact):
        pack.train(_order(data, 0)[:96], RATES[0])
    found, wanted = cast.state(), exact.state()
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    for name in states:
        step, exact_step = found[name] - states[name], wanted[name] - states[name]
        # Eight bits of mantissa: nearly the same step, and not the same.
        assert 1e-5 < (step - exact_step).norm() / exact_step.norm() < 0.3


def test_without_numba_candidates_are_trained_one_by_one() -> None:
    program = (
        "import sys\n"
        "sys.modules['numba'] = None\n"
        "from engine.catalog import find_dataset, find_model\n"
        "from engine.work.datasets import load_dataset\n"
        "from engine.work.packs import fused_trouble, pack_kind\n"
        "data = load_dataset(find_dataset('mnist-5k'), download=False)\n"
        "assert pack_kind(find_model('lenet5-mini'), {}, data) == 'solo'\n"
        "assert 'numba' in fused_trouble()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_batches_follow_from_seed_repeat_and_epoch_alone() -> None:
    order = batch_order(7, 1, 2, 1_000)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(1_000))
    torch.manual_seed(0)
    assert np.array_equal(order, batch_order(7, 1, 2, 1_000))
    others = [batch_order(8, 1, 2, 1_000), batch_order(7, 0, 2, 1_000), batch_order(7, 1, 3, 1_000)]
    others.append(pretrain_order(7, 2, 1_000))
    assert not any(np.array_equal(order, other) for other in others)
