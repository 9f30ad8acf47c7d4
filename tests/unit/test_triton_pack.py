"""The Triton kernels in Triton's interpreter on the CPU, against each candidate trained alone.

What a GPU's compiler makes of them, and how fast that is, is not tested here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.catalog import find_model
from engine.recipe import Recipe
from engine.work.datasets import ImageData
from engine.work.models import build_model, slice_plan
from engine.work.packs.base import Evaluation, Pack
from engine.work.packs.choose import possible_kinds, triton_supports
from engine.work.packs.solo import SoloPack
from engine.work.scoring import pruned_scores
from engine.work.surgery import candidate_states

pytest.importorskip("triton", reason="Triton is not installed")

from engine.work.packs.triton_pack import TritonPack
from engine.work.tiny_cnn_gpu import trouble
from engine.work.tiny_cnn_gpu.program import DEFAULT_TILES, Tiles
from tests.digits import strong_state

torch.set_num_threads(1)

# The interpreter's time goes by its operations, so few large ones; results differ by rounding.
LARGE = Tiles(slice=16, cells=4096, lanes=4096, depth=256, parameters=8192)
RECIPE = Recipe(epochs=1, learning_rate=0.02, momentum=0.9, weight_decay=1e-3, batch_size=12)
RATE = 0.02
TOLERANCE = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def data() -> ImageData:
    """Noise that is hard to tell apart: 40 and 21 images, no whole number of batches or slices."""
    generator = torch.Generator().manual_seed(5)
    return ImageData(
        torch.randn(40, 1, 32, 32, generator=generator),
        torch.randint(0, 10, (40,), generator=generator),
        torch.randn(21, 1, 32, 32, generator=generator),
        torch.randint(0, 10, (21,), generator=generator),
        10,
        "noise",
    )


def _states(model: str, layers: list[str], lost: list[list[list[int]]]) -> dict[str, Tensor]:
    info = find_model(model)
    return candidate_states(strong_state(info), slice_plan(info, 10), layers, lost)


def _all_but(*kept: int) -> list[int]:
    """The filters of ten that a candidate lost; small networks take the interpreter less time."""
    return [i for i in range(10) if i not in kept]


def _order(steps: int, batch: int = 12) -> np.ndarray:
    epochs = [np.random.default_rng(i).permutation(40) for i in range(steps)]
    return np.concatenate(epochs)[: steps * batch]


def _check(pack: Pack, alone: Pack) -> None:
    state, expected = pack.state(), alone.state()
    assert set(state) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, **TOLERANCE)
    for split in ("train", "test"):
        found, wanted = pack.evaluate(split), alone.evaluate(split)
        np.testing.assert_allclose(found.loss, wanted.loss, atol=2e-6)
        np.testing.assert_array_equal(found.accuracy, wanted.accuracy)


def test_twenty_steps_agree_with_each_candidate_alone(data: ImageData) -> None:
    lost = [[_all_but(3, 8), _all_but(0, 4, 9)], [_all_but(1, 2), _all_but(3, 5, 6)]]
    states = _states("lenet5-mini", ["conv1", "conv2"], lost)
    recipe = replace(RECIPE, batch_size=4)
    pack = TritonPack(states, data, recipe, replace(LARGE, slice=4))
    alone = SoloPack(find_model("lenet5-mini"), states, data, recipe)
    for part in (pack, alone):
        part.train(_order(20, 4), RATE)
    moved = (alone.state()["conv1.weight"] - states["conv1.weight"]).abs().max()
    assert moved > 0.01
    _check(pack, alone)


@pytest.mark.parametrize(
    ("model", "layers", "lost"),
    [
        ("lenet5-mini-d8", ["conv1", "conv2", "conv3"], [[[0, 1, 5], _all_but(6, 7), [9]]]),
        ("lenet5-mini-w20", ["conv1", "conv2"], [[list(range(9)), _all_but(2, 4)]]),
        ("lenet5-mini", ["conv1"], [[_all_but(9)]]),
        ("lenet5-mini", ["conv1", "conv2"], [[_all_but(0, 9), _all_but(0, 1, 2, 3, 4, 5, 6)]]),
    ],
    # Seven and eleven channels and seven filters leave a program of the last group less.
    ids=["deep, all layers", "wide", "one filter", "uneven groups"],
)
def test_other_shapes_and_a_short_last_batch(
    model: str, layers: list[str], lost: list[list[list[int]]], data: ImageData
) -> None:
    states = _states(model, layers, lost)
    pack = TritonPack(states, data, RECIPE, replace(LARGE, slice=8))
    alone = SoloPack(find_model(model), states, data, RECIPE)
    for part in (pack, alone):
        part.train(_order(1, 17), RATE)  # 12 and 5
    _check(pack, alone)


@pytest.mark.parametrize("cells", [DEFAULT_TILES.cells, 32], ids=["several cells", "one cell"])
def test_the_tiles_of_a_gpu_give_the_same(cells: int, data: ImageData) -> None:
    states = _states("lenet5-mini", ["conv1", "conv2"], [[_all_but(7), _all_but(8, 9)]])
    # With a slice as large as a program, all its lanes are at one cell, as with large batches.
    pack = TritonPack(states, data, RECIPE, replace(DEFAULT_TILES, cells=cells))
    alone = SoloPack(find_model("lenet5-mini"), states, data, RECIPE)
    for part in (pack, alone):
        part.train(_order(1, 3), RATE)
    for name, tensor in alone.state().items():
        torch.testing.assert_close(pack.state()[name], tensor, **TOLERANCE)


def test_a_candidate_does_not_depend_on_its_pack_to_the_bit(data: ImageData) -> None:
    lost = [[_all_but(i, 9), _all_but(4, 5 + i), [i]] for i in range(3)]
    states = _states("lenet5-mini", ["conv1", "conv2", "conv3"], lost)
    spoilt = {name: tensor.clone() for name, tensor in states.items()}
    spoilt["conv2.weight"][2, 0, 0] = float("nan")
    together = TritonPack(spoilt, data, RECIPE, LARGE)
    single = {name: tensor[1:2] for name, tensor in states.items()}
    alone = TritonPack(single, data, RECIPE, LARGE)
    for part in (together, alone):
        part.train(_order(1), RATE)
    for name, tensor in alone.state().items():
        assert torch.equal(together.state()[name][1:2], tensor)
    found, wanted = together.evaluate("test"), alone.evaluate("test")
    assert found.loss[1] == wanted.loss[0]
    assert found.accuracy[1] == wanted.accuracy[0]
    assert np.isnan(found.loss[2])


def test_a_state_resumes_to_the_bit(data: ImageData) -> None:
    states = _states("lenet5-mini", ["conv1", "conv2"], [[_all_but(7, 9), _all_but(0, 1)]])
    whole = TritonPack(states, data, RECIPE, LARGE)
    whole.train(_order(2), RATE)
    first = TritonPack(states, data, RECIPE, LARGE)
    first.train(_order(2)[:12], RATE)
    resumed = TritonPack(states, data, RECIPE, LARGE)
    resumed.load_state(first.state())
    resumed.train(_order(2)[12:], RATE)
    for name, tensor in whole.state().items():
        assert torch.equal(resumed.state()[name], tensor)


@pytest.fixture
def large_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Scoring takes the tiles of a GPU; the interpreter would need minutes for them."""
    monkeypatch.setattr(TritonPack.__init__, "__defaults__", (LARGE,))
    return


@pytest.mark.usefixtures("large_tiles")
def test_scores_agree_with_the_reference(data: ImageData) -> None:
    info = find_model("lenet5-mini")
    torch.manual_seed(3)
    base = dict(build_model(info, 10).state_dict())
    plan = slice_plan(info, 10)
    candidates = [((0, 1, 2),), ((3, 4, 5),)]
    found: dict[str, Evaluation] = {
        kind: pruned_scores(info, base, plan, ["conv2"], candidates, data, kind=kind)
        for kind in ("triton", "solo")
    }
    np.testing.assert_allclose(found["triton"].loss, found["solo"].loss, atol=2e-6)
    np.testing.assert_array_equal(found["triton"].accuracy, found["solo"].accuracy)


def test_what_the_kernels_take_on(data: ImageData) -> None:
    assert triton_supports(find_model("lenet5-mini-w40"), {}, data)
    assert triton_supports(find_model("lenet5-mini-d8"), {"conv1": 5}, data)
    # Its fully connected layers are too wide for one tile.
    assert not triton_supports(find_model("lenet5"), {}, data)
    # Without a GPU nobody is offered them.
    assert "triton" not in possible_kinds(find_model("lenet5-mini"), {}, data)


def test_a_machine_where_nothing_can_be_launched_is_told_by_trying() -> None:
    assert trouble("cpu") == ""  # in the interpreter
    program = (
        "from engine.work.tiny_cnn_gpu import available, trouble\n"
        "assert available() == (True, '')\n"
        "print(trouble('cpu'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    # Without the interpreter Triton asks for a GPU, which the CPU is not.
    assert done.stdout.startswith("Triton cannot run kernels on this machine (")
    assert "C compiler" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["80", "90"])
def test_every_kernel_compiles_for_a_gpu_that_is_not_there(capability: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(root),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernel_compilation", capability],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    kernels, later = done.stdout.split("then\n")
    lines = [line.split() for line in kernels.splitlines()]
    # Both convolutions take the same two kernels with other constants; the head's forward pass
    # has a variant for evaluations.
    assert len(lines) == 10
    assert len({name for *_, name in lines}) == 7
    for registers, spilled, shared, name in lines:
        assert int(registers) <= 255
        assert int(spilled) == 0, name
        # What every GPU since 2018 has.
        assert int(shared) <= 64 << 10, name
    # Nothing is compiled while a step is recorded, whatever batches come.
    assert later == ""
