"""What a recipe has beyond plain SGD, in packs of both kinds, against torch's own parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from engine.catalog import find_model
from engine.recipe import Recipe
from engine.work.batches import batch_order
from engine.work.datasets import ImageData
from engine.work.mixing import Mixes, batch_mixes, cut_and_mixed, mixed_batches, seeded_mixes
from engine.work.models import build_model, slice_plan
from engine.work.packs import Pack, make_pack, network_of, pack_kind, possible_kinds
from engine.work.packs.base import AVERAGE, STEPS, VARIANCE
from engine.work.packs.fused import FusedPack
from engine.work.surgery import candidate_states
from engine.work.vision_ops import declare_vision_ops
from tests.digits import first_digits, strong_state

torch.set_num_threads(1)

MODEL = find_model("lenet5-mini")
KINDS = ("solo", "stacked")
# Three batches, the last one short.
COUNT = 230
RATES = (0.01, 0.004)
PLAIN = Recipe(epochs=2, learning_rate=RATES[0], weight_decay=1e-3, batch_size=96)
EVERYTHING = replace(
    PLAIN, optimiser="adamw", label_smoothing=0.1, mixup=0.4, cutmix=1.0, clip=0.5, ema=0.8
)
RECIPES = {
    "adamw": replace(PLAIN, optimiser="adamw", weight_decay=0.3),
    "clip": replace(PLAIN, clip=0.3),
    "smoothing": replace(PLAIN, label_smoothing=0.11),
    "mixup": replace(PLAIN, mixup=0.2),
    "cutmix": replace(PLAIN, cutmix=1.0, label_smoothing=0.1),
    "ema": replace(PLAIN, ema=0.9),
    "everything": EVERYTHING,
}
TOLERANCE = {"rtol": 0.0, "atol": 2e-5}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return first_digits(COUNT, 60)


@pytest.fixture(scope="module")
def states() -> dict[str, Tensor]:
    lost = [[[0, 1, 2, 3, 4]], [[1, 3, 5, 7, 9]], [[5, 6, 7, 8, 9]]]
    states = candidate_states(strong_state(MODEL), slice_plan(MODEL, 10), ["conv1"], lost)
    # One candidate has far larger gradients than the others: a norm over the pack would show.
    states["fc2.weight"][1] *= 4
    return states


def _mixes(recipe: Recipe, epoch: int) -> Mixes | None:
    return batch_mixes(5, 1, epoch, recipe, COUNT)


def _train(pack: Pack, recipe: Recipe, epochs: range = range(2)) -> Pack:
    for epoch in epochs:
        pack.train(batch_order(5, 1, epoch, COUNT), RATES[epoch], None, _mixes(recipe, epoch))
    return pack


def _alone(state: dict[str, Tensor], data: ImageData, recipe: Recipe) -> nn.Module:
    """One candidate by torch's optimisers, losses and clipping, and timm's average."""
    declare_vision_ops()
    from timm.utils import ModelEmaV2

    network = build_model(MODEL, 10, {"conv1": 5})
    network.load_state_dict(state)
    network.train()
    average = ModelEmaV2(network, decay=recipe.ema) if recipe.ema else None
    common = {"lr": 1.0, "weight_decay": recipe.weight_decay}
    optimiser: torch.optim.Optimizer = (
        torch.optim.AdamW(network.parameters(), **common)
        if recipe.optimiser == "adamw"
        else torch.optim.SGD(network.parameters(), momentum=0.9, **common)
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    for epoch in range(2):
        for group in optimiser.param_groups:
            group["lr"] = RATES[epoch]
        order = torch.from_numpy(batch_order(5, 1, epoch, COUNT))
        mixes = _mixes(recipe, epoch)
        for place, start in enumerate(range(0, COUNT, 96)):
            batch = order[start : start + 96]
            images, targets = data.train_images[batch], data.train_labels[batch]
            if mixes is not None:
                images, targets = _by_torchvision(images, targets, mixes, place)
            optimiser.zero_grad()
            criterion(network(images), targets).backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimiser.step()
            if average is not None:
                average.update(network)
    return network if average is None else average.module


def _by_torchvision(
    images: Tensor, labels: Tensor, mixes: Mixes, place: int
) -> tuple[Tensor, Tensor]:
    """The transforms of torchvision, told what we drew in place of drawing themselves."""
    declare_vision_ops()
    from torchvision.transforms import v2

    kind = v2.CutMix if mixes.cut[place] else v2.MixUp
    transform = kind(num_classes=10)
    share, size = float(mixes.share[place]), images.shape[-1]

    def drawn(*_: object, **__: object) -> Tensor:
        return torch.tensor(share, dtype=torch.float64)

    transform._dist = type("Told", (), {"sample": staticmethod(drawn)})()
    middles = [int(mixes.right[place] * size), int(mixes.down[place] * size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randint", lambda *_, **__: torch.tensor([middles.pop(0)]))
        found: tuple[Tensor, Tensor] = transform(images, labels)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RECIPES)
def test_a_pack_does_what_torch_does_with_each_candidate_alone(
    name: str, kind: str, states: dict[str, Tensor], data: ImageData
) -> None:
    recipe = RECIPES[name]
    state = _train(make_pack(MODEL, states, data, recipe, kind=kind), recipe).state()
    plain = _train(make_pack(MODEL, states, data, PLAIN, kind=kind), PLAIN).state()
    for place in range(3):
        found = network_of(state, place)
        alone = _alone(network_of(dict(states), place), data, recipe).state_dict()
        for tensor in alone:
            torch.testing.assert_close(found[tensor], alone[tensor], **TOLERANCE)
        apart = max((found[t] - network_of(plain, place)[t]).abs().max() for t in found)
        assert apart > 10 * TOLERANCE["atol"], "the recipe changed nothing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_depends_neither_on_its_pack_nor_on_a_cut_nor_on_a_resume(
    kind: str, states: dict[str, Tensor], data: ImageData
) -> None:
    together = _train(make_pack(MODEL, states, data, EVERYTHING, kind=kind, threads=2), EVERYTHING)
    single = {name: tensor[1:2] for name, tensor in states.items()}
    begun = _train(make_pack(MODEL, single, data, EVERYTHING, kind=kind), EVERYTHING, range(1))
    alone = make_pack(MODEL, single, data, EVERYTHING, kind=kind)
    saved = begun.state()
    assert {STEPS, VARIANCE + "fc1.bias", AVERAGE + "fc1.bias"} <= set(saved)
    alone.load_state({name: tensor.clone() for name, tensor in saved.items()})
    order, mixes = batch_order(5, 1, 1, COUNT), _mixes(EVERYTHING, 1)
    assert mixes is not None
    for start in range(0, COUNT, 96):
        part = slice(start, start + 96)
        alone.train(order[part], RATES[1], None, mixes.part(part.start, part.stop))
    # Products of more matrices at once may round otherwise on some processors.
    close: Callable[..., None] = torch.testing.assert_close
    tolerance = {"rtol": 0.0, "atol": 0.0 if kind == "solo" else TOLERANCE["atol"]}
    for name, tensor in alone.state().items():
        close(together.state()[name][1:2], tensor, **tolerance)
    assert together.evaluate("test").loss[1] == pytest.approx(
        alone.evaluate("test").loss[0], abs=1e-5
    )


@pytest.mark.parametrize(("before", "after"), [("solo", "stacked"), ("stacked", "solo")])
def test_a_state_resumes_in_the_other_kind(
    before: str, after: str, states: dict[str, Tensor], data: ImageData
) -> None:
    first = _train(make_pack(MODEL, states, data, EVERYTHING, kind=before), EVERYTHING, range(1))
    other = make_pack(MODEL, states, data, EVERYTHING, kind=after)
    other.load_state(first.state())
    for name, tensor in first.state().items():
        assert torch.equal(other.state()[name], tensor)
    for pack in (first, other):
        _train(pack, EVERYTHING, range(1, 2))
    for name, tensor in first.state().items():
        torch.testing.assert_close(other.state()[name], tensor, **TOLERANCE)


def test_averaged_weights_are_what_is_evaluated(states: dict[str, Tensor], data: ImageData) -> None:
    recipe = RECIPES["ema"]
    for kind in KINDS:
        pack = _train(make_pack(MODEL, states, data, recipe, kind=kind), recipe)
        network = build_model(MODEL, 10, {"conv1": 5})
        network.load_state_dict(network_of(pack.state(), 2))
        with torch.no_grad():
            loss = nn.functional.cross_entropy(network(data.test_images), data.test_labels)
        assert pack.evaluate("test").loss[2] == pytest.approx(float(loss), abs=1e-5)


def test_kernels_hand_over_what_they_do_not_know(
    states: dict[str, Tensor], data: ImageData
) -> None:
    assert pack_kind(MODEL, {"conv1": 5}, data, recipe=PLAIN) == "fused"
    for recipe in RECIPES.values():
        assert recipe.beyond_plain
        assert possible_kinds(MODEL, {"conv1": 5}, data, recipe=recipe) == ["solo"]
        with pytest.raises(ValueError, match="the kernels know no"):
            make_pack(MODEL, states, data, recipe, kind="fused")
    for recipe in (PLAIN, replace(PLAIN, schedule="cosine", warmup=1)):
        assert not recipe.beyond_plain
        assert isinstance(make_pack(MODEL, states, data, recipe), FusedPack)


@pytest.mark.parametrize("warmup", [0, 3])
def test_schedules_are_torchs(warmup: int) -> None:
    parameter = nn.Parameter(torch.zeros(1))
    for recipe in (
        Recipe(12, 0.1, schedule="cosine", warmup=warmup),
        Recipe(12, 0.1, ((6, 0.01), (9, 0.001)), warmup=warmup),
    ):
        optimiser = torch.optim.SGD([parameter], lr=0.1)
        schedule: lr_scheduler.LRScheduler
        if recipe.schedule == "cosine":
            schedule = lr_scheduler.CosineAnnealingLR(optimiser, 12 - warmup)
        else:
            schedule = lr_scheduler.MultiStepLR(optimiser, [6 - warmup, 9 - warmup])
        if warmup:
            rise = lr_scheduler.LinearLR(optimiser, 1 / (warmup + 1), total_iters=warmup)
            schedule = lr_scheduler.SequentialLR(optimiser, [rise, schedule], [warmup])
        for epoch in range(12):
            assert recipe.rate_at(epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
            optimiser.step()
            schedule.step()


def test_mixes_follow_from_seed_repeat_and_epoch_alone() -> None:
    def drawn(*of: int) -> bytes:
        mixes = batch_mixes(*of, EVERYTHING, 5_000)
        assert mixes is not None
        return b"".join(a.tobytes() for a in (mixes.cut, mixes.share, mixes.down, mixes.right))

    assert drawn(1, 2, 3) == drawn(1, 2, 3)
    assert len({drawn(1, 2, 3), drawn(0, 2, 3), drawn(1, 0, 3), drawn(1, 2, 0)}) == 4
    assert seeded_mixes(1, PLAIN, 5_000) is None
    both = seeded_mixes(1, replace(EVERYTHING, batch_size=1), 4_000)
    assert both is not None
    assert 0.45 < both.cut.mean() < 0.55
    # Beta(0.4, 0.4) has variance 1 / (4 * 1.8), Beta(1, 1) that of the uniform.
    assert both.share[~both.cut].var() == pytest.approx(1 / 7.2, rel=0.1)
    assert both.share[both.cut].var() == pytest.approx(1 / 12, rel=0.1)


def test_mixes_are_for_recipes_that_mix_and_for_no_other(data: ImageData) -> None:
    batches = [(data.train_images[:4], data.train_labels[:4])]
    for recipe, mixes in ((PLAIN, seeded_mixes(0, EVERYTHING, 4)), (EVERYTHING, None)):
        with pytest.raises(ValueError, match="recipes that mix"):
            list(mixed_batches(batches, recipe, mixes, 10))


def test_a_batch_of_one_image_is_mixed_with_itself() -> None:
    image = torch.rand(1, 3, 8, 8)
    found, share = cut_and_mixed(image, 0.0, 0.5, 0.5)
    assert torch.equal(found, image)
    assert share == 0.0
    assert np.isclose(cut_and_mixed(image, 0.75, 0.0, 0.0)[1], 1 - 4 / 64)
