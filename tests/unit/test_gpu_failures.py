"""What becomes of a GPU's failures, and of kinds of pack that do not work on a device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine import devices
from engine.catalog import find_model
from engine.control import create_run
from engine.entries import read_entries
from engine.errors import UsageError
from engine.gpus import Gpu
from engine.recipe import Recipe
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from engine.work import bench, scoring
from engine.work.datasets import ImageData
from engine.work.executors.base import Broken, Chunk, Report, Tell
from engine.work.executors.inline import InlineExecutor
from engine.work.gpu import gpu_environment, torch_index
from engine.work.memory import ends_all_gpu_work, gpu_failure, out_of_memory, sentence_of
from engine.work.models import slice_plan
from engine.work.packs import choose, pack_kind, quickest_kind, recording
from engine.work.packs.base import Pack, repeatable
from engine.work.packs.choose import KindFailure
from engine.work.scoring import pruned_scores
from engine.work.session import Session
from tests.digits import first_digits, strong_state
from tests.pretended_gpu import pretended_gpu

torch.set_num_threads(1)

LENET = find_model("lenet5-mini")
RECIPE = Recipe(epochs=1, learning_rate=0.05, batch_size=16)
ILLEGAL = (
    "CUDA error: an illegal memory access was encountered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call.\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)


# Errors by their words.


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "Triton Error [CUDA]: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_memory_runs_out_in_many_words(text: str) -> None:
    assert out_of_memory(RuntimeError(text))
    assert not gpu_failure(RuntimeError(text))
    assert not ends_all_gpu_work(RuntimeError(text))


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (ILLEGAL, True),
        ("CUDA error: device-side assert triggered", True),
        ("CUDA error: uncorrectable ECC error encountered", True),
        ("CUDA error: unspecified launch failure", True),
        ("Triton Error [CUDA]: misaligned address", True),
        ("CUDA error: invalid argument", False),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", False),
    ],
)
def test_a_gpus_failure_is_one_sentence(text: str, ends: bool) -> None:
    error = RuntimeError(text)
    sentence = sentence_of(error)
    assert sentence == gpu_failure(error)
    assert sentence.startswith("The GPU failed (")
    assert text.splitlines()[0].rstrip(".") in sentence
    assert "resume the run" in sentence
    assert "\n" not in sentence
    assert ends_all_gpu_work(error) is ends
    assert not out_of_memory(error)


def test_other_errors_are_nothing_of_a_gpus() -> None:
    for error in (RuntimeError("shapes do not match"), ValueError("CUDA error: out of memory")):
        assert not gpu_failure(error)
        assert "unexpected" in sentence_of(error)


def test_a_failure_that_outlasts_its_cause_is_reported_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(chunk: Chunk, tell: Tell) -> None:
        raise RuntimeError(ILLEGAL)

    def fails() -> None:
        raise RuntimeError(ILLEGAL)

    # After such an error every call fails, the release of memory too.
    monkeypatch.setattr(torch.cuda, "empty_cache", fails)
    reports: list[Report] = []
    executor = InlineExecutor(work, 1, "cpu")
    executor.submit(Chunk(7, ((0, (0, 1)),)))
    executor.collect(reports.append)
    (_, broken) = reports
    assert isinstance(broken, Broken)
    assert not broken.out_of_memory
    assert broken.sentence == gpu_failure(RuntimeError(ILLEGAL))
    assert "TORCH_USE_CUDA_DSA" in broken.trace


def test_fewer_candidates_are_scored_at_a_time_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base, digits = strong_state(LENET), first_digits(60, 10)
    picks = [((n, n + 1),) for n in range(7)]

    def scored() -> np.ndarray:
        plan = slice_plan(LENET, 10)
        return pruned_scores(LENET, base, plan, ["conv1"], picks, digits, kind="stacked").loss

    expected, sizes = scored(), []
    logits = scoring.stacked_logits

    def scarce(info: Any, parameters: Any, maps: Any, after: str | None = None) -> Any:
        sizes.append(len(maps))
        if len(maps) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return logits(info, parameters, maps, after)

    monkeypatch.setattr(scoring, "stacked_logits", scarce)
    np.testing.assert_allclose(scored(), expected, atol=1e-6)
    assert sizes == [*[7] * 4, 4, *[2] * 3, 1], "halved from 64 on, and kept"


def test_torch_is_told_of_an_end_that_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[object, ...]] = []
    graph = SimpleNamespace(reset=lambda: told.append(("reset",)))
    stream: Any = SimpleNamespace(device_index=1)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda *a: told.append(("end", *a)))
    monkeypatch.setattr(torch._C, "_cuda_releasePool", lambda *a: told.append(("release", *a)))
    recording._end_recording_into("pool", graph, stream)
    assert told == [("reset",), ("end", 1, "pool"), ("release", 1, "pool")]

    def missed_nothing(*_: object) -> None:
        raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    told.clear()
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", missed_nothing)
    recording._end_recording_into("pool", graph, stream)
    assert told == [("reset",)], "what is released twice belongs to other recordings"


# Full float32.


def test_products_are_full_float32_whatever_the_machine_says() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        with repeatable():
            assert torch.backends.cuda.matmul.allow_tf32 is False
            assert torch.backends.cudnn.allow_tf32 is False
            assert torch.backends.cudnn.deterministic
            assert not torch.backends.cudnn.benchmark
        assert torch.backends.cuda.matmul.allow_tf32 is True
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


# Which GPU.


def test_a_gpu_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Gpu(n, f"GPU-{n}{n}", "a GPU", 1, 0, 0.0, ()) for n in range(3)]
    # CUDA may count the quickest first.
    order = ["22", "00", "11"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=order[index])
    )
    assert [torch_index(gpu, gpus) for gpu in gpus] == [1, 2, 0]
    order[:] = ["x", "y", "z"]
    assert [torch_index(gpu, gpus) for gpu in gpus] == [0, 1, 2]


@pytest.mark.parametrize(("asked", "named"), [("cuda:01", "cuda:1"), ("CUDA", "cuda")])
def test_a_device_is_named_as_torch_names_it(
    asked: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_torch_is_cpu_only", lambda: False)
    monkeypatch.setattr(devices, "cuda_device_count", lambda: 2)
    assert devices.check_device(asked) == named
    assert str(torch.device(named)) == named


def test_a_run_records_the_device() -> None:
    assert gpu_environment(torch.device("cpu")) == {"device": "cpu"}


# Kinds that do not work.


@pytest.fixture
def data() -> ImageData:
    return first_digits(40, 20)


def _breaking(monkeypatch: pytest.MonkeyPatch, kind: str, break_: Any) -> None:
    make = choose.make_pack

    def made(*told: Any, **named: Any) -> Pack:
        pack = make(*told, **named)
        if named["kind"] == kind:
            break_(pack)
        return pack

    monkeypatch.setattr(choose, "make_pack", made)


def _too_far(pack: Any) -> None:
    train = pack.train
    pack.train = lambda order, rate, *rest: train(order, 1.2 * rate, *rest)


def _mixed_up(pack: Any) -> None:
    state = pack.state
    pack.state = lambda: {name: tensor.flip(0) for name, tensor in state().items()}


def _stale(pack: Any) -> None:
    evaluate, found = pack.evaluate, {}
    pack.evaluate = lambda split: found.setdefault(split, evaluate(split))


def _not_a_number(pack: Any) -> None:
    evaluate = pack.evaluate
    pack.evaluate = lambda split: replace(evaluate(split), loss=np.full(pack.size, np.nan))


@pytest.mark.parametrize("wrong", [_too_far, _mixed_up, _stale, _not_a_number])
def test_a_kind_that_computes_otherwise_is_left_out(
    wrong: Any, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    _breaking(monkeypatch, "stacked", wrong)
    lines: list[str] = []
    left_out: list[str] = []
    chosen = quickest_kind(
        LENET, {"conv1": 5}, data, RECIPE,
        kinds=["stacked", "solo"], say=lines.append, left_out=left_out,
    )  # fmt: skip
    assert chosen == "solo"
    assert left_out == ["stacked"]
    assert any("compute otherwise than solo" in line for line in lines)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_kinds_that_are_right_agree(optimiser: str, data: ImageData) -> None:
    recipe = replace(RECIPE, optimiser=optimiser, learning_rate=0.01)
    left_out: list[str] = []
    quickest_kind(
        LENET, {"conv1": 5}, data, recipe, kinds=["stacked", "solo"], left_out=left_out
    )  # fmt: skip
    assert left_out == []


def _dies(pack: Any) -> None:
    def train(*_: object) -> None:
        raise RuntimeError(ILLEGAL)

    pack.train = train


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RunWriter]:
    spec = read_entries({"epochs": "2", "layers": "conv1", "candidates": "4", "repeats": "1"})
    found = RunWriter.open(create_run(tmp_path, spec, "cpu"))
    yield found
    found.close()


def _kind(writer: RunWriter, data: ImageData) -> tuple[str, list[str]]:
    from engine.spec import StudySpec

    spec = StudySpec.from_json(writer.config["spec"])
    left_out = bench._left_out(writer)
    with Session(writer, spec.rows) as session:
        return bench._kind(spec, data, 1, writer, session, 1, left_out), left_out


def test_a_kind_that_breaks_the_gpu_is_left_out_when_the_run_is_resumed(
    writer: RunWriter, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_TUI_PACKS", "stacked solo")
    _breaking(monkeypatch, "stacked", _dies)
    with pretended_gpu(monkeypatch) as gpu:
        there = data.to(gpu)
        with pytest.raises(KindFailure, match="Packs of kind stacked do not work here: The GPU"):
            _kind(writer, there)
        writer.publish()
        recorded: Mapping[str, Any] = RunReader(writer.folder).config
        assert "stacked" in recorded["kinds_left_out"]
        kind, left_out = _kind(writer, there)
        assert kind == "solo"
        # What scores and the base network are computed with, too.
        assert pack_kind(LENET, {}, there, without=left_out) == "solo"


def test_a_person_may_say_which_kinds_there_are(
    writer: RunWriter, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_TUI_PACKS", "solo")
    assert _kind(writer, data)[0] == "solo"
    monkeypatch.setenv("ORACLE_TUI_PACKS", "quick")
    with pytest.raises(UsageError, match="ORACLE_TUI_PACKS names 'quick'"):
        _kind(writer, data)
