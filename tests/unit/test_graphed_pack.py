"""Convolutional networks side by side, against each trained by itself; on a CPU, unrecorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engine.catalog import find_dataset, find_model
from engine.recipe import Recipe
from engine.work.augment import batch_draws
from engine.work.datasets import ImageData, load_dataset
from engine.work.describe import describe_model
from engine.work.mixing import batch_mixes
from engine.work.models import build_model, slice_plan
from engine.work.packs import Pack, make_pack, solo
from engine.work.packs.graphed import recordable
from engine.work.packs.recording import first_cause
from engine.work.surgery import candidate_states

torch.set_num_threads(1)

PLAIN = Recipe(epochs=1, learning_rate=0.05, batch_size=32, weight_decay=5e-4)
ALL_EXTRAS = replace(
    PLAIN, optimiser="adamw", label_smoothing=0.1, mixup=0.2, cutmix=1.0, clip=0.5, ema=0.9
)
RECIPES = {"plain": PLAIN, "averaged": replace(PLAIN, ema=0.9, clip=0.5), "all": ALL_EXTRAS}
RATE = {"sgd": 0.05, "adamw": 0.002}
# 6 whole batches and a short one.
ORDER = np.random.default_rng(0).permutation(200)
MODELS = {
    "resnet20@8": (("layer1.0.conv1", "layer3.1.conv1"), (8, 30)),
    "vgg11@16": (("features.0", "features.4"), (40, 64)),
}

State = dict[str, torch.Tensor]


def _data(size: int) -> ImageData:
    whole = load_dataset(find_dataset("mnist-5k"), size=size, channels=3, download=False)
    return replace(
        whole,
        train_images=whole.train_images[:200],
        train_labels=whole.train_labels[:200],
        test_images=whole.test_images[:100],
        test_labels=whole.test_labels[:100],
    )


@pytest.fixture(autouse=True)
def layers_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks alone are trained by torch's layers, too: other rounding turns a ReLU now and then.

    On a CPU, that is. What layers of our own compute is compared with float64 elsewhere.
    """
    monkeypatch.setattr(solo, "has_own_layers", lambda *told: False)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return _data(8)


def _states(name: str = "resnet20@8", count: int = 3) -> State:
    layers, lost = MODELS[name]
    info = describe_model(name)
    candidates = [tuple(tuple(range(n, n + each)) for each in lost) for n in range(count)]
    torch.manual_seed(0)
    state = dict(build_model(info, 10).state_dict())
    return candidate_states(state, slice_plan(info, 10), layers, candidates)


def _pack(
    kind: str, states: State, data: ImageData, recipe: Recipe = PLAIN, **more: object
) -> Pack:
    name = "resnet20@8" if data.train_images.shape[-1] == 8 else "vgg11@16"
    return make_pack(describe_model(name), states, data, recipe, kind=kind, **more)  # type: ignore[arg-type]


def _trained(pack: Pack, recipe: Recipe = PLAIN, *, start: int = 0, stop: int = 200) -> State:
    mixes = batch_mixes(0, 0, 0, recipe, 200)
    part = None if mixes is None else mixes.part(start, stop)
    pack.train(ORDER[start:stop], RATE[recipe.optimiser], None, part)
    return pack.state()


def _close(one: State, other: State, atol: float) -> None:
    assert set(one) == set(other)
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=atol, msg=name)


def _equal(one: State, other: State) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_it_does_what_each_candidate_does_alone(data: ImageData, recipe: Recipe) -> None:
    states = _states()
    graphed, solo = (_pack(kind, states, data, recipe) for kind in ("graphed", "solo"))
    found, expected = (_trained(pack, recipe, stop=96) for pack in (graphed, solo))
    assert "layer1.0.bn1.running_var" in found
    assert found["bn1.num_batches_tracked"].tolist() == [3, 3, 3]
    _close(found, expected, 2e-4 if recipe.optimiser == "adamw" else 2e-5)
    # Differences of rounding grow with every step, so evaluations are compared from one state.
    graphed.load_state(expected)
    for split in ("train", "test"):
        one, other = graphed.evaluate(split), solo.evaluate(split)
        np.testing.assert_allclose(one.loss, other.loss, atol=2e-5)
        np.testing.assert_array_equal(one.accuracy, other.accuracy)


def test_networks_without_shortcuts_too() -> None:
    data, states = _data(16), _states("vgg11@16", 2)
    found, expected = (_trained(_pack(k, states, data), stop=64) for k in ("graphed", "solo"))
    _close(found, expected, 2e-5)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_candidate_depends_neither_on_its_pack_nor_on_a_cut_nor_on_a_resume(
    data: ImageData, recipe: Recipe
) -> None:
    states = _states()
    together = _pack("graphed", states, data, recipe)
    expected = _trained(together, recipe)
    alone = _pack("graphed", {name: t[1:2] for name, t in states.items()}, data, recipe)
    saved = _trained(alone, recipe, stop=96)
    resumed = _pack("graphed", {name: t[:1] for name, t in states.items()}, data, recipe)
    resumed.load_state(saved)
    found = _trained(resumed, recipe, start=96)
    assert _equal(found, {name: tensor[1:2] for name, tensor in expected.items()})
    for split in ("train", "test"):
        assert resumed.evaluate(split).loss[0] == together.evaluate(split).loss[1]


def test_a_state_of_another_kind_is_gone_on_with(data: ImageData) -> None:
    states = _states()
    begun = _trained(_pack("solo", states, data), stop=64)
    found, expected = _pack("graphed", states, data), _pack("solo", states, data)
    for pack in (found, expected):
        pack.load_state(begun)
    _close(_trained(found, start=64, stop=128), _trained(expected, start=64, stop=128), 2e-5)


def test_a_diverged_candidate_does_not_touch_the_others(data: ImageData) -> None:
    states = _states()
    expected = _trained(_pack("graphed", states, data))
    states["conv1.weight"][0] = float("nan")
    pack = _pack("graphed", states, data)
    found = _trained(pack)
    assert _equal({n: t[1:] for n, t in found.items()}, {n: t[1:] for n, t in expected.items()})
    assert np.isfinite(pack.evaluate("test").loss).tolist() == [False, True, True]


def test_single_weights_stay_zero(data: ImageData) -> None:
    states = _states()
    name = "layer2.0.conv2.weight"
    mask = torch.rand(states[name].shape, generator=torch.Generator().manual_seed(1)) < 0.5
    states[name] = states[name] * mask
    packs = [_pack(k, states, data, masks={name: mask}) for k in ("graphed", "solo")]
    found, expected = (_trained(pack, stop=96) for pack in packs)
    assert not found[name][~mask].any()
    _close(found, expected, 2e-5)


def test_crops_and_bfloat16_are_those_of_each_alone(data: ImageData) -> None:
    moving = replace(data, black=torch.full((3,), -1.0))
    states, draws = _states(), batch_draws(0, 0, 0, 96)
    for precision, tolerance in (("float32", 2e-5), ("bf16", 0.02)):
        packs = [_pack(k, states, moving, precision=precision) for k in ("graphed", "solo")]
        for pack in packs:
            pack.train(ORDER[:96], 0.01, draws)
        one, other = (pack.state()["conv1.weight"] for pack in packs)
        assert (one - other).abs().max() < tolerance
        assert (one - states["conv1.weight"]).abs().max() > 0.005


class _Dropping(nn.Module):
    def __init__(self, share: float) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, 1, 1), nn.Dropout(share)


def test_what_draws_or_has_no_convolutions_is_not_recorded() -> None:
    assert recordable(build_model(find_model("resnet56"), 10))
    assert recordable(_Dropping(0.0))
    assert not recordable(_Dropping(0.5))
    remembering = _Dropping(0.0)
    remembering.attention_bias_cache = {}
    assert not recordable(remembering)
    assert not recordable(nn.Linear(2, 2))


def test_memory_that_runs_out_in_a_recording_is_told_as_that() -> None:
    hidden: RuntimeError | None = None
    try:
        try:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
    except RuntimeError as error:
        hidden = error
    assert hidden is not None
    assert isinstance(first_cause(hidden), torch.cuda.OutOfMemoryError)
    other = RuntimeError("invalid argument")
    assert first_cause(other) is other


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_compiled_code_does_what_the_network_does(data: ImageData) -> None:
    from torch._dynamo.utils import counters
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        pytest.skip("torch.compile needs a C++ compiler for a CPU")
    # One block a stage; compiling takes a CPU some seconds for each convolution.
    info = replace(describe_model("resnet20@8"), source="resnet8")
    networks = []
    for seed in range(3):
        torch.manual_seed(seed)
        networks.append(build_model(info, 10).state_dict())
    states = {name: torch.stack([n[name] for n in networks]) for name in networks[0]}

    def trained(kind: str, states: State) -> State:
        return _trained(make_pack(info, states, data, PLAIN, kind=kind), stop=40)

    before = sum(counters["stats"].values())
    found = trained("compiled", states)
    assert sum(counters["stats"].values()) > before, "nothing was compiled"
    assert found["bn1.num_batches_tracked"].tolist() == [2, 2, 2]
    _close(found, trained("graphed", states), 1e-4)
    alone = trained("compiled", {name: tensor[1:2] for name, tensor in states.items()})
    assert _equal(alone, {name: tensor[1:2] for name, tensor in found.items()})
