"""Everything that runs on a GPU, on one that is pretended: where tensors are, and recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.catalog import find_dataset, find_model
from engine.entries import read_entries
from engine.model_info import ModelInfo
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.work.augment import batch_draws, train_batches
from engine.work.bench import Bench
from engine.work.chunks import ChunkWork
from engine.work.criteria import Scorer
from engine.work.criteria.losses import recalibrate
from engine.work.datasets import ImageData, prepare
from engine.work.describe import describe_model
from engine.work.executors.base import Chunk, PackDone, Report
from engine.work.mixing import batch_mixes
from engine.work.models import build_model, network_of, slice_plan
from engine.work.packs import Evaluation, Pack, make_pack, quickest_kind
from engine.work.packs.recording import Recorder
from engine.work.packs.solo import laid_out
from engine.work.pretraining import base_network
from engine.work.scoring import pruned_scores
from engine.work.surgery import candidate_states
from tests.benches import bench_of, only
from tests.digits import first_digits, strong_state
from tests.pretended_gpu import NotOnAGpu, pretended_gpu

torch.set_num_threads(1)

PLAIN = Recipe(epochs=2, learning_rate=0.05, batch_size=16, weight_decay=5e-4)
ALL_EXTRAS = replace(
    PLAIN, optimiser="adamw", label_smoothing=0.1, mixup=0.2, cutmix=1.0, clip=0.5, ema=0.9
)
RECIPES = {"plain": PLAIN, "all": ALL_EXTRAS}
ORDER = np.random.default_rng(0).permutation(40)
LENET = find_model("lenet5-mini")
PICKS = [((0, 1, 2, 3, 4),), ((1, 3, 5, 7, 9),), ((5, 6, 7, 8, 9),)]

State = dict[str, Tensor]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    with pretended_gpu(monkeypatch) as device:
        yield device


def _noise(info: ModelInfo, *, augmented: bool = False) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(40, info.channels, info.size, info.size, generator=generator)
    black = torch.full((info.channels,), -1.0) if augmented else None
    labels = torch.arange(40) % 10
    return ImageData(images, labels, images, labels, 10, "noise", black)


# What is pretended refuses what a GPU refuses.


def _mixes_places(there: Tensor) -> object:
    return there + torch.ones(3)


def _indexes_there(there: Tensor) -> object:
    return torch.ones(3)[there.long()]


def _gathers(there: Tensor) -> object:
    return torch.stack([there, torch.ones(3)])


def _takes_numbers(there: Tensor) -> object:
    return there.numpy()


@pytest.mark.parametrize("wrong", [_mixes_places, _indexes_there, _gathers, _takes_numbers])
def test_what_a_gpu_refuses_is_refused(
    gpu: torch.device, wrong: Callable[[Tensor], object]
) -> None:
    there = torch.zeros(3, device=gpu)
    assert there.is_cuda
    assert there.device == gpu
    with pytest.raises(NotOnAGpu):
        wrong(there)
    assert there.cpu().numpy().tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "waits",
    [
        lambda t: t.sum().item(),
        lambda t: t[t > 0],
        lambda t: t.add_(torch.tensor(1.0)),
        lambda t: t.copy_(torch.ones(3)),
        lambda t: torch.tensor([1.0], device="cuda"),
        lambda t: bool(t.any()),
    ],
)
def test_what_a_recording_cannot_hold_is_refused_there(
    gpu: torch.device, waits: Callable[[Tensor], object]
) -> None:
    there = torch.zeros(3, device=gpu)
    waits(there)

    def work(given: Tensor) -> None:
        waits(given)

    with pytest.raises(NotOnAGpu, match="within a recording"):
        Recorder(gpu).run(work, [], there)


def test_what_a_recording_changes_unsaid_shows(gpu: torch.device) -> None:
    said, unsaid = torch.zeros(1, device=gpu), torch.zeros(1, device=gpu)

    def work(given: Tensor) -> None:
        said.add_(given)
        unsaid.add_(given)

    Recorder(gpu).run(work, [said], torch.ones(1, device=gpu))
    assert (float(said), float(unsaid)) == (1, 2)


# Packs.


def _used(pack: Pack, recipe: Recipe, data: ImageData) -> tuple[State, Evaluation]:
    """Trains, saves, loads and goes on: two whole batches and a short one, twice."""
    draws = batch_draws(0, 0, 0, 40) if data.augmented else None
    mixes = batch_mixes(0, 0, 0, recipe, 40)
    pack.train(ORDER, 0.01, draws, mixes)
    state = pack.state()
    assert all(type(tensor) is Tensor for tensor in state.values()), "a state is on the CPU"
    pack.load_state(state)
    pack.train(ORDER, 0.005, draws, mixes)
    pack.evaluate("train")
    return pack.state(), pack.evaluate("test")


def _compare(
    gpu: torch.device, pack_on: Callable[[ImageData], Pack], data: ImageData, recipe: Recipe
) -> None:
    expected, before = _used(pack_on(data), recipe, data)
    there = data.to(gpu)
    found, after = _used(pack_on(there), recipe, there)
    assert found.keys() == expected.keys()
    plain = recipe.optimiser == "sgd"  # AdamW divides rounding by rounding
    np.testing.assert_allclose(after.loss, before.loss, atol=2e-5 if plain else 1e-3)
    if plain:
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("kind", ["solo", "graphed"])
def test_deep_networks_with_crops_in_both_precisions(
    gpu: torch.device, kind: str, precision: str, recipe: Recipe
) -> None:
    info = describe_model("resnet20@8")
    torch.manual_seed(0)
    # One block a stage.
    info = replace(info, source="resnet8")
    state = build_model(info, 10).state_dict()
    states = {name: torch.stack([tensor] * 2) for name, tensor in state.items()}
    mask = torch.ones_like(states["layer1.0.conv1.weight"], dtype=torch.bool)
    mask[:, ::2] = False
    masks = {"layer1.0.conv1.weight": mask}

    def pack_on(data: ImageData) -> Pack:
        return make_pack(info, states, data, recipe, kind=kind, precision=precision, masks=masks)

    _compare(gpu, pack_on, _noise(info, augmented=True), recipe)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("kind", ["solo", "stacked"])
@pytest.mark.parametrize("wiring", ["correct", "released"])
def test_lenets_of_both_wirings(gpu: torch.device, kind: str, recipe: Recipe, wiring: str) -> None:
    base = strong_state(LENET)
    states = candidate_states(base, slice_plan(LENET, 10), ["conv1"], PICKS, wiring)
    masks = {"fc1.weight": torch.rand(states["fc1.weight"].shape) < 0.5}

    def pack_on(data: ImageData) -> Pack:
        return make_pack(LENET, states, data, recipe, kind=kind, masks=masks)

    _compare(gpu, pack_on, _noise(LENET, augmented=recipe.ema > 0), recipe)


def test_images_that_are_read_for_each_batch(gpu: torch.device) -> None:
    info = find_dataset("mnist-5k")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32)).astype(np.uint8)
    labels = np.arange(40, dtype=np.int64) % 10
    whole, stored = (
        prepare(info, pixels, labels, pixels, labels, channels=3, room=room).to(gpu)
        for room in (1 << 30, 0)
    )
    assert stored.train_images.is_cuda
    assert whole.train_images.stride(1) == 0, "the channels of grey images are views of one"
    batches = (train_batches(data, ORDER, 16, None) for data in (whole, stored))
    for one, other in zip(*batches, strict=True):
        assert one[0].is_cuda
        assert torch.equal(one[0], other[0])
    assert torch.equal(whole.test_images[3:7], stored.test_images[3:7])


# Before and around the packs.


@pytest.mark.parametrize("wiring", ["correct", "released"])
@pytest.mark.parametrize("kind", ["solo", "stacked"])
def test_scores(gpu: torch.device, kind: str, wiring: str) -> None:
    base, plan, data = strong_state(LENET), slice_plan(LENET, 10), first_digits(60, 10)
    picks = [((2,), pick[0]) for pick in PICKS]
    on_both = (
        pruned_scores(LENET, base, plan, ["conv3", "conv1"], picks, where, wiring=wiring, kind=kind)
        for where in (data, data.to(gpu))
    )
    expected, found = on_both
    np.testing.assert_allclose(found.loss, expected.loss, atol=1e-6)
    np.testing.assert_array_equal(found.accuracy, expected.accuracy)


def test_scores_of_deep_networks_share_what_comes_before(gpu: torch.device) -> None:
    info = describe_model("resnet20@8")
    torch.manual_seed(0)
    base, data = dict(build_model(info, 10).state_dict()), _noise(info)
    expected, found = (
        pruned_scores(
            info, base, slice_plan(info, 10), ["layer3.0.conv1"], [((0, 5),), ((1, 2),)], where
        )
        for where in (data, data.to(gpu))
    )
    np.testing.assert_allclose(found.loss, expected.loss, atol=1e-5)


def _on(gpu: torch.device, bench: Bench, kind: str | None = None) -> Bench:
    return replace(bench, device=gpu, data=bench.data.to(gpu), kind=kind, left_out=("triton",))


def test_other_scores(gpu: torch.device) -> None:
    # Not fisher: what vmap makes of a tensor no longer says where it is.
    wanted = ("l1", "taylor", "snip", "hessian", "grasp", "short_retrain_acc_1")
    bench = only(bench_of(read_entries({"epochs": "2", "layers": "conv1"}), 64), *wanted)
    expected = Scorer(bench).measure(PICKS, lambda done: None)
    found = Scorer(_on(gpu, bench, "stacked")).measure(PICKS, lambda done: None)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-5, err_msg=name)


def test_batch_norms_are_recalibrated(gpu: torch.device) -> None:
    info = describe_model("resnet20@8")
    torch.manual_seed(0)
    state, images = build_model(info, 10).state_dict(), _noise(info).train_images
    found = []
    for device in (torch.device("cpu"), gpu):
        own = {name: tensor.clone() for name, tensor in state.items()}
        network = laid_out(info, network_of(info, 10, own), device)
        recalibrate(network, images.to(device), 16)
        found.append(network.state_dict()["layer3.2.bn2.running_var"].cpu())
    torch.testing.assert_close(*found)


def _spec() -> StudySpec:
    spec = read_entries({"epochs": "2", "layers": "conv1", "candidates": "4", "repeats": "1"})
    return spec.with_(pretrain=PLAIN, retrain=PLAIN)


def test_the_base_network(gpu: torch.device) -> None:
    spec, data = _spec(), first_digits(80, 20)
    found = base_network(spec, data.to(gpu), without=("triton",))
    assert all(type(tensor) is Tensor for tensor in found.state.values())
    expected = base_network(spec, data, without=("fused",))
    assert found.key != expected.key
    assert found.test_loss == pytest.approx(expected.test_loss, abs=1e-5)
    # Out of the cache, too.
    again = base_network(spec, data.to(gpu), without=("triton",))
    assert again.cached
    assert again.digest == found.digest


def test_a_chunk_is_saved_and_gone_on_with(
    gpu: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", "0")
    spec = _spec()
    bench = _on(gpu, bench_of(spec, 40), "stacked")
    chunk = Chunk(1, ((0, (0, 1, 2)),))

    class Killed(Exception):
        pass

    told: list[Report] = []

    def tell(report: Report) -> None:
        told.append(report)
        if isinstance(report, PackDone) and len(told) < 100:
            raise Killed

    with pytest.raises(Killed):
        ChunkWork(bench, tmp_path)(chunk, tell)
    assert list(tmp_path.glob("checkpoint-*.pt"))
    curves = next(report.curves for report in told if isinstance(report, PackDone))
    told[:] = told * 100
    ChunkWork(bench, tmp_path)(chunk, tell)
    assert any("going on with a pack from epoch 1" in str(report) for report in told)
    last = [report for report in told if isinstance(report, PackDone)][-1]
    np.testing.assert_allclose(last.curves, curves, atol=1e-5)


def test_kinds_are_measured_and_compared(gpu: torch.device) -> None:
    lines: list[str] = []
    recipe = replace(PLAIN, batch_size=8)
    kinds = ["stacked", "solo"]
    data = first_digits(40, 20).to(gpu)
    chosen = quickest_kind(LENET, {"conv1": 5}, data, recipe, kinds=kinds, say=lines.append)
    assert chosen in kinds
    assert not [line for line in lines if "cannot" in line or "left out" in line]
