"""Scores with shared work are those of the pruned networks, built and evaluated one by one."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine.errors import UsageError
from engine.work.tiny_cnn import evaluate_networks, pruned_losses
from engine.work.tiny_cnn.sharing import SharingPlan

SAMPLES = 90
CONSUMER = {"conv1": "conv2", "conv2": "conv3", "conv3": "fc1"}


def base(conv1=10, conv2=10, conv3=10, dense=(10, 10), seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "conv1": (conv1, 1, 5, 5),
        "conv2": (conv2, conv1, 5, 5),
        "conv3": (conv3, conv2, 5, 5),
    }
    widths = (conv3, *dense)
    shapes |= {f"fc{i + 1}": (widths[i + 1], widths[i]) for i in range(len(dense))}
    state = {}
    for name, shape in shapes.items():
        scale = float(np.prod(shape[1:])) ** -0.5
        state[f"{name}.weight"] = rng.normal(scale=scale, size=shape).astype(np.float32)
        state[f"{name}.bias"] = rng.normal(scale=0.1, size=shape[:1]).astype(np.float32)
    return state


def data(classes=10):
    rng = np.random.default_rng(9)
    pixels = rng.normal(size=(SAMPLES, 32, 32)).astype(np.float32)
    return pixels, rng.integers(0, classes, SAMPLES)


def slim(state, layer, kept, consumers=None):
    """The pruned network; `consumers` are the next layer's inputs that stay."""
    pruned = dict(state)
    for part in ("weight", "bias"):
        pruned[f"{layer}.{part}"] = state[f"{layer}.{part}"][sorted(kept)]
    name = f"{CONSUMER[layer]}.weight"
    pruned[name] = state[name][:, sorted(kept if consumers is None else consumers)]
    return pruned


def loss_in_torch(state, pixels, labels):
    p = {name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()}
    x = torch.tensor(pixels, dtype=torch.float64)[:, None]
    for name in ("conv1", "conv2"):
        x = functional.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"])
        x = functional.max_pool2d(functional.relu(x), 2)
    x = functional.relu(functional.conv2d(x, p["conv3.weight"], p["conv3.bias"])).flatten(1)
    last = sum(name.startswith("fc") for name in p) // 2
    for i in range(1, last + 1):
        x = functional.linear(x, p[f"fc{i}.weight"], p[f"fc{i}.bias"])
        x = functional.relu(x) if i < last else x
    target = torch.tensor(labels)
    return float(functional.cross_entropy(x, target)), float(
        (x.argmax(1) == target).double().mean()
    )


def some(filters, count, number, seed=0):
    rng = np.random.default_rng(seed)
    return [sorted(rng.choice(filters, count, replace=False).tolist()) for _ in range(number)]


@pytest.mark.parametrize("wiring", ["correct", "released"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3"])
@pytest.mark.parametrize(
    ("widths", "count"),
    [
        ({}, 5),
        ({}, 8),
        ({}, 2),
        ({"conv1": 20, "conv2": 13, "conv3": 17, "dense": (12, 10, 16)}, 7),
        ({"conv1": 40, "conv2": 40, "conv3": 40, "dense": (16,)}, 20),
        ({"conv1": 6, "conv2": 16, "conv3": 120, "dense": (84, 10)}, 3),
    ],
    ids=["half", "most", "few", "odd", "wide", "LeNet5"],
)
def test_scores_are_those_of_the_pruned_networks(widths, count, layer, wiring):
    state = base(**widths)
    filters = len(state[f"{layer}.bias"])
    candidates = some(filters, count, 12)
    consumers = some(filters, count, 1, seed=1)[0] if wiring == "released" else None
    pixels, labels = data(len(state[max(n for n in state if n.endswith("bias"))]))
    loss, accuracy = pruned_losses(
        state, layer, candidates, pixels, labels, threads=2, wiring_inputs=consumers
    )
    for k, kept in enumerate(candidates):
        expected = loss_in_torch(slim(state, layer, kept, consumers), pixels, labels)
        assert loss[k] == pytest.approx(expected[0], abs=2e-6)
        assert accuracy[k] == pytest.approx(expected[1], abs=1e-12)
    assert np.ptp(loss) > 1e-3


def test_released_wiring_with_its_own_choice_is_correct_wiring():
    state, (pixels, labels) = base(), data()
    kept = [[1, 2, 5, 8, 9]]
    right = pruned_losses(state, "conv1", kept, pixels, labels, threads=1)
    released = pruned_losses(state, "conv1", kept, pixels, labels, threads=1, wiring_inputs=kept[0])
    assert released[0][0] == pytest.approx(right[0][0], abs=1e-6)
    assert released[1][0] == right[1][0]


@pytest.mark.parametrize("wiring_inputs", [None, [0, 2, 4, 5, 9]])
def test_a_score_depends_on_nothing_around_it(wiring_inputs):
    state, (pixels, labels) = base(), data()
    every = list(itertools.combinations(range(10), 5))

    def score(sets, threads):
        return pruned_losses(
            state, "conv1", sets, pixels, labels, threads=threads, wiring_inputs=wiring_inputs
        )[0]

    together = score(every, 1)
    assert len(together) == 252
    assert np.array_equal(score(every, 3), together)
    assert np.array_equal(score(every[::-1], 1), together[::-1])
    assert np.array_equal(score([every[77]], 2), together[[77]])


def test_sets_of_different_sizes_and_in_any_order():
    state, (pixels, labels) = base(), data()
    sets = [[3], [9, 0, 4], list(range(10))]
    loss, _ = pruned_losses(state, "conv2", sets, pixels, labels, threads=1)
    for value, kept in zip(loss, sets, strict=True):
        expected = loss_in_torch(slim(state, "conv2", kept), pixels, labels)[0]
        assert value == pytest.approx(expected, abs=2e-6)


def test_pruning_nothing_is_the_base_network():
    state, (pixels, labels) = base(), data()
    whole, _ = evaluate_networks([state], pixels, labels, threads=1)
    for layer in CONSUMER:
        loss, _ = pruned_losses(state, layer, [range(10)], pixels, labels, threads=1)
        assert loss[0] == pytest.approx(whole[0], abs=1e-6)


def test_nan_reaches_only_the_candidates_that_keep_it():
    state, (pixels, labels) = base(), data()
    state["conv1.weight"][3] = np.nan
    sets = [[3, 4], [0, 1], [1, 3], [2, 9]]
    loss, _ = pruned_losses(state, "conv1", sets, pixels, labels, threads=1)
    assert np.isnan(loss).tolist() == [True, False, True, False]


def test_several_layers_pruned_at_once_are_evaluated_as_they_are():
    state, (pixels, labels) = base(), data()
    networks = [
        slim(slim(state, "conv1", first), "conv3", third)
        for first, third in zip(some(10, 5, 4), some(10, 3, 4), strict=True)
    ]
    loss, accuracy = evaluate_networks(networks, pixels, labels, threads=2)
    for k, network in enumerate(networks):
        expected = loss_in_torch(network, pixels, labels)
        assert loss[k] == pytest.approx(expected[0], abs=1e-6)
        assert accuracy[k] == pytest.approx(expected[1], abs=1e-12)


def test_bad_input_is_named():
    state, (pixels, labels) = base(), data()

    def score(layer, kept, **named):
        return pruned_losses(state, layer, kept, pixels, labels, threads=1, **named)

    with pytest.raises(UsageError, match="fc1"):
        score("fc1", [[0]])
    with pytest.raises(UsageError, match=r"0\.\.9"):
        score("conv1", [[0, 10]])
    with pytest.raises(UsageError, match="each once"):
        score("conv1", [[2, 2]])
    with pytest.raises(UsageError, match="as many as"):
        score("conv1", [[0, 1]], wiring_inputs=[4])


def test_a_plan_shares_its_sums():
    """All 252 halves of ten filters: 62 sums of subsets of five, two to a candidate."""
    plan = SharingPlan.of(10, list(itertools.combinations(range(10), 5)), None)
    assert len(plan.pairs) == 10
    assert len(plan.entries) == 63
    assert plan.terms.shape == (252, 2)
    released = SharingPlan.of(10, list(itertools.combinations(range(10), 5)), [0, 1, 2, 3, 4])
    assert len(released.pairs) == 30
    assert len(released.entries) < 252
