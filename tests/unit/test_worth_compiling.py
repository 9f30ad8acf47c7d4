"""When compiled code pays within a run, and which kinds of pack a run has to choose from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.catalog import find_model
from engine.recipe import Recipe
from engine.work.datasets import ImageData
from engine.work.describe import describe_model
from engine.work.packs import choose, quickest_kind
from engine.work.packs.choose import may_be_recorded, possible_kinds
from engine.work.packs.rows import Rows
from engine.work.packs.worth import Measured, quickest, worth_compiling
from engine.work.sizing import PackSizer, largest_pack, least_pack

torch.set_num_threads(1)

PLAIN, GRAPHED = Measured(1_000), Measured(3_000)


def test_compiling_pays_where_the_run_is_long_enough() -> None:
    compiled = Measured(4_500, seconds=100)
    kinds = {"solo": PLAIN, "graphed": GRAPHED, "compiled": compiled}
    # 100 s of compiling against 1/3000 - 1/4500 s saved with each sample: even at 900,000.
    assert quickest(kinds, 890_000) == "graphed"
    assert quickest(kinds, 910_000) == "compiled"
    assert quickest(kinds) == "compiled"
    assert quickest(kinds | {"compiled": Measured(2_999, 1)}) == "graphed"


def test_compiling_is_tried_only_where_it_may_pay() -> None:
    # 120 s of compiling for 1.3 times the speed: even after 520 s.
    assert not worth_compiling(1_000, 510_000)
    assert worth_compiling(1_000, 530_000)
    assert worth_compiling(10, 530_000)


def test_a_short_run_is_not_held_up_by_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    info = describe_model("resnet20@8")
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8) % 10
    data = ImageData(images, labels, images, labels, 10, "noise")
    made: list[str] = []
    before = choose.make_pack

    def counted(*told: object, **named: object) -> object:
        made.append(str(named["kind"]))
        return before(*told, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(choose, "make_pack", counted)
    monkeypatch.setattr(choose, "_MEASURED_LARGE", 1)
    lines: list[str] = []
    kinds = ["compiled", "graphed", "solo"]
    recipe = Recipe(epochs=1, learning_rate=0.01, batch_size=4)
    chosen = quickest_kind(info, {}, data, recipe, kinds=kinds, samples=8, say=lines.append)
    assert chosen in ("graphed", "solo")
    assert made == ["graphed", "solo"]
    assert any("would not pay" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "recorded"),
    [("resnet56", True), ("vgg16", True), ("resnet18", True), ("lenet5-mini", False)],
)
def test_convolutional_networks_may_be_recorded(name: str, recorded: bool) -> None:
    assert may_be_recorded(find_model(name), 10) is recorded


def test_on_a_cpu_nothing_is_recorded_and_a_default_is_never_unmeasured() -> None:
    info = describe_model("resnet20@8")
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    data = ImageData(images, labels, images, labels, 10, "noise")
    for precision in ("float32", "bf16"):
        assert possible_kinds(info, {}, data, precision) == ["solo"]

    class Elsewhere:
        is_cuda = True

    there = replace(data, train_images=Elsewhere())  # type: ignore[arg-type]
    for precision in ("float32", "bf16"):
        assert possible_kinds(info, {}, there, precision) == ["solo", "graphed", "compiled"]


def test_packs_that_compute_side_by_side_stay_wide() -> None:
    info = find_model("resnet56")
    sizer = PackSizer(1, "cuda", largest_pack(info, "cuda", "graphed"), least_pack("graphed"))
    assert sizer.size == 8
    sizer.measured(8, 10_000)
    assert sizer.size == 8
    sizer.halve()
    sizer.measured(4, 10_000)
    assert sizer.size == 4
    quick = PackSizer(1, "cuda", largest_pack(info, "cuda", "compiled"), least_pack("compiled"))
    for _ in range(5):
        quick.measured(quick.size, 0.01)
    assert quick.size == 64


def test_every_part_of_every_row_is_aligned_and_keeps_its_values() -> None:
    shapes = {"a": (3, 5), "b": (), "c": (64,), "d": (2, 1, 3, 3)}
    parts = {name: torch.randn(4, *shape) for name, shape in shapes.items()}
    layout = Rows(shapes)
    rows = layout.filled(parts, 4, torch.device("cpu"))
    views = layout.views(rows)
    for name, part in parts.items():
        assert torch.equal(views[name], part)
        for place in range(4):
            assert (views[name][place].data_ptr() - rows.data_ptr()) % 256 == 0
    assert rows.count_nonzero() == sum(part.numel() for part in parts.values())
    counts = Rows({"norm.num_batches_tracked": ()}).filled(
        {"norm.num_batches_tracked": torch.tensor([3, 4])}, 2, torch.device("cpu"), 0
    )
    assert counts.dtype == torch.int64
    assert counts.sum(1).tolist() == [3, 4]
