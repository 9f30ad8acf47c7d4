"""Orders: entries with one or several values become runs; each mistake is told at its entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.entries import read_entries
from engine.orders import judge_order, read_order
from engine.presets import PRESETS, QUICK
from engine.store.reader import RunReader
from engine.study_rules import SpecError
from engine.sweep import read_sweep
from engine.waiting import RunQueue

QUICKLY = {"preset": ["quick"]}


def test_one_value_each_is_one_study() -> None:
    order = read_order({**QUICKLY, "seed": ["4"]}, device="cpu", executor="processes:2")
    assert order.studies == (QUICK.spec.with_(seed=4),)
    assert (order.device, order.executor, order.shard) == ("cpu", "processes:2", None)


def test_several_values_are_a_grid_and_the_last_entry_is_fastest() -> None:
    order = read_order({**QUICKLY, "seed": ["0", "1"], "ratio": ["0.2", "0.3"]})
    assert [(spec.seed, spec.ratios[0]) for spec in order.studies] == [
        (0, 0.2), (0, 0.3), (1, 0.2), (1, 0.3),
    ]  # fmt: skip


def test_a_set_of_studies_is_at_every_point() -> None:
    order = read_order({"preset": ["quick/conv1"], "seed": ["1", "2"]})
    wanted = [spec.with_(seed=seed) for seed in (1, 2) for spec in PRESETS["quick/conv1"].specs]
    assert list(order.studies) == wanted


def test_both_wirings_are_a_group_of_two_that_knows_of_each_other(tmp_path: Path) -> None:
    order = read_order({**QUICKLY, "wiring": ["both"]})
    ((one, other),) = order.groups
    assert (one, other) == (QUICK.spec, QUICK.spec.with_(wiring="released"))
    names = list(order.enqueue(tmp_path))
    assert RunQueue(tmp_path).names() == names
    pairs = [RunReader(tmp_path / name).config["wiring_pair"] for name in names]
    assert pairs[0] == pairs[1] == dict(zip(("correct", "released"), names, strict=True))


def test_a_file_is_measured_beside_what_each_study_measures(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def score(subject, candidates):\n    return candidates\n")
    order = read_order({**QUICKLY, "scores": ["l1", "l2"]}, criteria=[str(file)])
    assert [spec.score_names[2:] for spec in order.studies] == [("l1", "mine"), ("l2", "mine")]
    assert [found.path for found in order.criteria] == [file]


def test_every_mistake_of_a_single_study_is_told_at_once() -> None:
    axes = {**QUICKLY, "ratio": ["2"], "repeats": ["x"]}
    order, problems = judge_order(
        axes, device="tpu", executor="threads", shard="9", criteria=["no.py"]
    )
    assert order is None
    assert set(problems) == {"ratio", "repeats", "device", "executor", "shard", "criterion"}


def test_of_a_grid_the_wrong_study_is_named() -> None:
    with pytest.raises(SpecError, match="study with seed 1, ratio 2 cannot be") as refusal:
        read_order({**QUICKLY, "seed": ["1", "2"], "repeats": ["3"], "ratio": ["0.2", "2"]})
    assert refusal.value.field == "ratio"


@pytest.mark.parametrize(
    ("axes", "shard", "field"),
    [
        ({"preset": ["quik"]}, None, "preset"),
        ({"preset": ["quick"], "wiring": ["both"]}, "0/2", "shard"),
        ({"preset": ["quick"], "search": ["greedy"]}, None, "search"),
        ({"seed": list(map(str, range(10_001)))}, None, "seed"),
    ],
)
def test_the_entry_that_is_wrong_is_known(
    axes: dict[str, list[str]], shard: str | None, field: str
) -> None:
    order, problems = judge_order(axes, shard=shard)
    assert order is None
    assert list(problems) == [field]


def test_a_sweeps_file_may_vary_what_is_measured_and_ask_for_both_wirings() -> None:
    order = read_sweep('preset = "quick"\nscores = ["l1", "l1,l2"]\nwiring = "both"\n')
    assert [len(group) for group in order.groups] == [2, 2]
    assert [len(group[0].scores) for group in order.groups] == [3, 4]


def test_no_search_can_be_asked_for_where_the_preset_has_one() -> None:
    searching = QUICK.spec.with_(candidates=20, search=("greedy",))
    preset = type(QUICK)("x", "x", (searching,))
    assert read_entries({"search": "none"}, preset) == searching.with_(search=())
