"""Networks without some of their weights: built, scored and retrained; against torch's pruning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from engine.catalog import find_model
from engine.entries import read_entries
from engine.errors import RunFailure, UsageError
from engine.masks import MaskSpace
from engine.model_info import ModelInfo
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.work.batches import batch_order
from engine.work.bench import Bench
from engine.work.criteria import Scorer
from engine.work.criteria.sensitivity import loss_gradient
from engine.work.criteria.subject import Subject
from engine.work.datasets import ImageData
from engine.work.masking import Masking
from engine.work.models import build_model, slice_plan
from engine.work.packs import Pack, make_pack, network_of, possible_kinds
from engine.work.packs.base import AVERAGE, MOMENTUM, VARIANCE
from engine.work.pretraining import BaseNetwork
from engine.work.scoring import masked_scores
from tests.digits import first_digits, strong_state

torch.set_num_threads(1)

MODEL = find_model("lenet5-mini")
LAYERS = ("conv1", "conv2")
SGD = Recipe(2, 0.02, weight_decay=1e-2, batch_size=96)
RICH = replace(
    SGD, learning_rate=0.01, optimiser="adamw", weight_decay=0.3, clip=0.5, ema=0.8, mixup=0.2
)
TOLERANCE = {"rtol": 0.0, "atol": 2e-5}
COUNT = 230


@pytest.fixture(scope="module")
def data() -> ImageData:
    return first_digits(COUNT, 60)


@pytest.fixture(scope="module")
def base() -> dict[str, Tensor]:
    return strong_state(MODEL)


def _masking(base: dict[str, Tensor], *, across: bool = False) -> Masking:
    gone = (1_650,) if across else (125, 1_500)
    return Masking(MaskSpace((250, 2_500), gone, 6, 1), slice_plan(MODEL, 10), LAYERS, base)


def _candidates(base: dict[str, Tensor], count: int = 3) -> list[tuple[tuple[int, ...], ...]]:
    space = MaskSpace((250, 2_500), (125, 1_500), 6, 1)
    return [space[c] for c in range(count - 1)] + [_masking(base).magnitude_pick()]


def _mixes(recipe: Recipe, epoch: int):  # type: ignore[no-untyped-def]
    from engine.work.mixing import batch_mixes

    return batch_mixes(0, 0, epoch, recipe, COUNT)


def _train(pack: Pack, recipe: Recipe, epochs: range = range(2)) -> Pack:
    for epoch in epochs:
        order = batch_order(0, 0, epoch, COUNT)
        pack.train(order, recipe.rate_at(epoch), None, _mixes(recipe, epoch))
    return pack


def _pruned_by_torch(state: dict[str, Tensor], masks: dict[str, Tensor]) -> nn.Module:
    network = build_model(MODEL, 10)
    network.load_state_dict(state)
    for name, mask in masks.items():
        module, _, own = name.rpartition(".")
        prune.custom_from_mask(network.get_submodule(module), own, mask)
    return network


def test_masks_are_those_of_the_records_and_nothing_else_changes(base: dict[str, Tensor]) -> None:
    masking, candidates = _masking(base), _candidates(base)
    states, masks = masking.states(candidates)
    assert set(masks) == {"conv1.weight", "conv2.weight"}
    for name, tensor in base.items():
        for place in range(3):
            found = states[name][place]
            if name not in masks:
                assert torch.equal(found, tensor)
                continue
            left = masks[name][place]
            assert int((~left).sum()) == {"conv1.weight": 125, "conv2.weight": 1_500}[name]
            assert torch.equal(found, torch.where(left, tensor, torch.zeros(())))
    spoilt = [list(candidates[0][0]), list(candidates[0][1])]
    spoilt[1][5] ^= 4
    with pytest.raises(RunFailure, match=r"mask of conv2 .* another checksum"):
        masking.states([tuple(map(tuple, spoilt))])
    other = {name: tensor * 2 + 0.1 for name, tensor in base.items()}
    with pytest.raises(RunFailure, match="its base network is another one"):
        _masking(other).states([candidates[-1]])
    with pytest.raises(UsageError, match="make the study again"):
        Masking(MaskSpace((250, 99), (1, 50), 6, 1), slice_plan(MODEL, 10), LAYERS, base)


def test_the_magnitude_pick_is_torchs(base: dict[str, Tensor]) -> None:
    for across in (False, True):
        network = build_model(MODEL, 10)
        network.load_state_dict(base)
        modules = [network.get_submodule(layer) for layer in LAYERS]
        if across:
            pairs = [(module, "weight") for module in modules]
            prune.global_unstructured(pairs, prune.L1Unstructured, amount=1_650)
        else:
            for module, count in zip(modules, (125, 1_500), strict=True):
                prune.l1_unstructured(module, "weight", count)
        masking = _masking(base, across=across)
        _, masks = masking.states([masking.magnitude_pick()])
        for layer, module in zip(LAYERS, modules, strict=True):
            assert torch.equal(masks[f"{layer}.weight"][0], module.weight_mask.bool())


@pytest.mark.parametrize("kind", ["solo", "stacked"])
@pytest.mark.parametrize("recipe", [SGD, RICH], ids=["sgd", "rich"])
def test_a_pruned_weight_never_comes_back(
    recipe: Recipe, kind: str, base: dict[str, Tensor], data: ImageData
) -> None:
    states, masks = _masking(base).states(_candidates(base))
    pack = make_pack(MODEL, states, data, recipe, kind=kind, masks=masks)
    state = _train(pack, recipe).state()
    for name, left in masks.items():
        for prefix in ("", MOMENTUM, VARIANCE, AVERAGE):
            if prefix + name in state:
                assert not state[prefix + name][~left].any()
        assert (state[name][left] != states[name][left]).float().mean() > 0.99
    # Alone, and from a saved state on: the same.
    one = {name: t[1:2] for name, t in states.items()}
    one_mask = {name: t[1:2] for name, t in masks.items()}
    begun = make_pack(MODEL, one, data, recipe, kind=kind, masks=one_mask)
    resumed = make_pack(MODEL, one, data, recipe, kind=kind, masks=one_mask)
    resumed.load_state(_train(begun, recipe, range(1)).state())
    alone = _train(resumed, recipe, range(1, 2)).state()
    tolerance = {"rtol": 0.0, "atol": 0.0} if kind == "solo" else TOLERANCE
    for name, tensor in alone.items():
        torch.testing.assert_close(state[name][1:2], tensor, **tolerance)


@pytest.mark.parametrize("kind", ["solo", "stacked"])
@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_retraining_is_that_of_torchs_own_pruning(
    clip: float, kind: str, base: dict[str, Tensor], data: ImageData
) -> None:
    recipe = replace(SGD, clip=clip)
    states, masks = _masking(base).states(_candidates(base))
    pack = make_pack(MODEL, states, data, recipe, kind=kind, masks=masks)
    state = _train(pack, recipe).state()
    for place in range(3):
        network = _pruned_by_torch(base, {name: mask[place] for name, mask in masks.items()})
        optimiser = torch.optim.SGD(
            network.parameters(), lr=0.02, momentum=0.9, weight_decay=recipe.weight_decay
        )
        for epoch in range(2):
            for batch in torch.from_numpy(batch_order(0, 0, epoch, COUNT)).split(96):
                optimiser.zero_grad()
                logits = network(data.train_images[batch])
                nn.functional.cross_entropy(logits, data.train_labels[batch]).backward()
                if clip:
                    nn.utils.clip_grad_norm_(network.parameters(), clip)
                optimiser.step()
        for layer in LAYERS:
            prune.remove(network.get_submodule(layer), "weight")
        found = network_of(state, place)
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(found[name], tensor, **TOLERANCE)


def test_kernels_that_would_revive_weights_are_not_asked(
    base: dict[str, Tensor], data: ImageData
) -> None:
    assert possible_kinds(MODEL, {}, data, recipe=SGD)[0] == "fused"
    assert possible_kinds(MODEL, {}, data, recipe=SGD, masked=True) == ["solo"]
    states, masks = _masking(base).states(_candidates(base))
    with pytest.raises(ValueError, match="keep no weight at zero"):
        make_pack(MODEL, states, data, SGD, kind="fused", masks=masks)


@pytest.mark.parametrize("kind", ["fused", "solo", "stacked"])
def test_scores_are_those_of_the_pruned_networks(
    kind: str, base: dict[str, Tensor], data: ImageData
) -> None:
    masking, candidates = _masking(base), _candidates(base, 5)
    found = masked_scores(MODEL, base, masking, candidates, data, kind=kind, threads=2)
    _, masks = masking.states(candidates)
    for place in range(5):
        network = _pruned_by_torch(base, {name: mask[place] for name, mask in masks.items()})
        with torch.no_grad():
            logits = network(data.train_images)
        loss = nn.functional.cross_entropy(logits.double(), data.train_labels)
        assert found.loss[place] == pytest.approx(float(loss), abs=2e-6)
        right = (logits.argmax(1) == data.train_labels).double().mean()
        assert found.accuracy[place] == pytest.approx(float(right))
    one = masked_scores(MODEL, base, masking, candidates[2:3], data, kind=kind)
    assert one.loss[0] == pytest.approx(found.loss[2], abs=0 if kind != "stacked" else 1e-6)


def _bench(spec: StudySpec, base: dict[str, Tensor], data: ImageData) -> Bench:
    network = BaseNetwork(base, 0.0, 0.0, 0.0, 0.0, 0, "key", False)
    info: ModelInfo = spec.model_info
    return Bench(spec, torch.device("cpu"), 2, data, network, slice_plan(info, 10), kind="solo")


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_criteria_sum_what_single_weights_are_worth(
    scope: str, base: dict[str, Tensor], data: ImageData
) -> None:
    entries = {"granularity": "weights", "layers": "conv1,conv2", "ratio": ".5"}
    scores = "l1,lamp,snip,grasp,hessian,fisher,random,recalibrated_train_loss"
    spec = read_entries(
        {**entries, "candidates": "4", "scope": scope, "scores": scores, "epochs": "2"}
    )
    bench = _bench(spec, base, data)
    candidates = [*(spec.space[c] for c in range(4)), bench.l1_choice()]
    found = Scorer(bench).measure(candidates, lambda done: None)
    assert all(np.isfinite(values).all() for values in found.values())
    # Of all masks, the magnitudes' loses least of magnitude.
    assert found["l1"].argmin() == 4
    assert np.array_equal(found["recalibrated_train_loss"], found["pruned_train_loss"])
    subject = Subject(bench)
    gradient = loss_gradient(subject.network, subject.train_images, subject.train_labels)
    masking = bench.masking
    assert masking is not None
    for place, candidate in enumerate(candidates):
        _, masks = masking.states([candidate])
        snip = l1 = 0.0
        for name, left in masks.items():
            gone, weight = ~left[0], base[name].double()
            snip += float((weight * gradient[name].double()).abs()[gone].sum())
            unit = 1.0 if scope == "global" else float(weight.abs().mean())
            l1 += float(weight.abs()[gone].sum()) / unit
        assert found["snip"][place] == pytest.approx(snip, rel=1e-5)
        assert found["l1"][place] == pytest.approx(l1, rel=1e-9)


def test_a_residual_network_is_scored_and_retrained_with_masks(
    data: ImageData,
) -> None:
    info = find_model("resnet20")
    torch.manual_seed(0)
    base = dict(build_model(info, 10).state_dict())
    small = nn.functional.interpolate(data.train_images, 8).expand(-1, 3, -1, -1)
    test = nn.functional.interpolate(data.test_images, 8).expand(-1, 3, -1, -1)
    tiny = replace(data, train_images=small, test_images=test)
    spec = read_entries(
        {"model": "resnet20", "granularity": "weights", "layers": "layer3.*.conv1",
         "ratio": ".9", "candidates": "3", "epochs": "1", "scope": "global"}
    )  # fmt: skip
    bench = _bench(spec, base, tiny)
    candidates = [spec.space[0], spec.space[1], bench.l1_choice()]
    losses = bench.score(candidates, lambda done: None).loss
    pack = bench.make_pack(candidates)
    np.testing.assert_allclose(pack.evaluate("train").loss, losses, atol=1e-6)
    pack.train(np.arange(COUNT), 0.1)
    state = pack.state()
    for name, left in bench.states(candidates)[1].items():  # type: ignore[union-attr]
        assert not state[name][~left].any()
        assert state[name][left].all()
    gone = sum(int((state[n] == 0).sum()) for n in state if n.startswith("layer3") and
               n.endswith("conv1.weight"))  # fmt: skip
    assert gone == 3 * spec.space.pruned[0]
