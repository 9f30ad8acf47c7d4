"""LeNet5-Mini and ResNet56 on a CUDA device: every kind of pack against one candidate at a time.

Here absolute figures are given too, with their share of what the device could do at most.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import gpu_report, images
from engine.catalog import ModelInfo, find_model
from engine.estimate import multiply_adds, retraining_work
from engine.recipe import CIFAR_RETRAIN, LENET_PRETRAIN, LENET_RETRAIN, Recipe
from engine.spec import StudySpec
from engine.work.augment import batch_draws
from engine.work.datasets import ImageData
from engine.work.memory import out_of_memory
from engine.work.models import build_model
from engine.work.packs import MOMENTUM, Pack, make_pack, possible_kinds, triton_trouble


@dataclass(frozen=True)
class Case:
    """Candidates that are measured.

    Attributes:
        model: What they were pruned from.
        kept: How many filters their pruned layers keep.
        recipe: What they are trained by.
        candidates: How many are in a pack, each number in turn.
        bar, aim: Of the ratio to one at a time.
        cropped: Whether images are cropped and mirrored, as CIFAR's are.
        steps: Steps after which a kind must agree with the reference.
        tolerance: How closely. A deep network with batch norms carries a difference of rounding on
            from step to step, so that there is only one.
    """

    model: ModelInfo
    kept: Mapping[str, int]
    recipe: Recipe
    candidates: tuple[int, ...]
    bar: float
    aim: float
    cropped: bool = False
    steps: int = 20
    tolerance: float = 1e-5

    @property
    def work(self) -> float:
        """Multiply-adds of one candidate-sample in training."""
        return 3 * multiply_adds(self.model, dict(self.kept))


@dataclass(frozen=True)
class _Rounds:
    """How many rounds there are at most, and for how many seconds more than the least are made."""

    most: int
    seconds: float
    least: int = 2


def _halved(name: str) -> tuple[ModelInfo, dict[str, int]]:
    info = find_model(name)
    return info, {layer.name: layer.filters // 2 for layer in info.layers}


# The size that says most comes first: a run may be cut off.
LENET = Case(find_model("lenet5-mini"), {"conv1": 5}, LENET_RETRAIN, (252, 32, 1008), 5.0, 30.0)
RESNET = Case(
    *_halved("resnet56"), CIFAR_RETRAIN, (8, 32), 2.0, 4.0, cropped=True, steps=1, tolerance=1e-4
)
# Float32 outside the tensor cores, and memory, by NVIDIA's data sheets: FLOP/s and bytes/s.
LIMITS = {
    "H100": (67e12, 3.35e12),
    "H200": (67e12, 4.8e12),
    "A100": (19.5e12, 2.0e12),
}
# A candidate reads and writes its parameters and momenta once a step: what no kernel can avoid.
_BYTES_PER_PARAMETER = 4 * 4
# Commands on a machine that is lent often end after ten minutes. No row is begun that could not be
# finished before: one takes half a minute at most, or with compiling some three minutes.
_SECONDS, _QUICK_SECONDS = 500.0, 150.0
_ROW_SECONDS, _COMPILING_SECONDS = 40.0, 180.0
# How many cells of maps a program of the Triton convolutions takes on; the first is what packs use.
_CELLS = (256, 128, 512)
# Evaluations of a pack that are timed; the first warms up.
_EVALUATIONS = 3
# The paper's LeNet part, from its protocol: (model, layers, ratio, candidates) with 3 repeats.
PAPER = [
    *(("lenet5-mini", (f"conv{i}",), r / 10, None) for i in (1, 2, 3) for r in range(2, 9)),
    ("lenet5-mini", ("conv1", "conv2"), 0.5, 1000),
    ("lenet5-mini", ("conv1", "conv3"), 0.5, 1000),
    ("lenet5-mini", ("conv2", "conv3"), 0.5, 1000),
    ("lenet5-mini", ("conv1", "conv2", "conv3"), 0.5, 1000),
    *((f"lenet5-mini-d{d}", ("conv1",), 0.5, None) for d in (6, 7, 8)),
    *((f"lenet5-mini-w{w}", ("conv1",), 0.5, 1000) for w in (20, 30, 40)),
    *(("lenet5-mini", ("conv1",), 0.5, None) for _ in range(2)),
]


def run(as_json: bool, quick: bool, out: Path | None = None) -> int:
    """Measures and prints; 1 where something disagrees or fails, 2 without a device.

    What is measured is told on standard error as it is found, and `out`, if given, is rewritten
    with all of it as JSON, so that a run that is cut off keeps what it measured.
    """
    if not torch.cuda.is_available():
        print("torch sees no CUDA device here; nothing was measured.")
        return 2
    cases = {"LeNet5-Mini": LENET, "ResNet56": RESNET}
    reports = measure_all(torch.device("cuda"), quick, cases, out)
    print(json.dumps(reports, indent=2) if as_json else gpu_report.text(reports))
    return 0 if all(gpu_report.sound(report) for report in reports.values()) else 1


def measure_all(
    device: torch.device,
    quick: bool,
    cases: Mapping[str, Case],
    out: Path | None = None,
    **told: Any,
) -> dict[str, dict[str, Any]]:
    """Returns the reports of cases by their titles; `told` goes to `measure`."""
    ends = time.monotonic() + (_QUICK_SECONDS if quick else _SECONDS)
    reports: dict[str, dict[str, Any]] = {}

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        if out is not None:
            new = out.with_name(out.name + ".new")
            new.write_text(json.dumps(reports, indent=2), encoding="utf-8")
            new.replace(out)

    for name, case in cases.items():
        own = reports[name] = {}

        def titled(line: str, name: str = name) -> None:
            tell(f"{name}, {line}")

        try:
            measure(device, quick, case, ends=ends, into=own, tell=titled, **told)
        except Exception as error:  # whatever it is, what was measured must not be lost
            own["error"] = repr(error)
            titled(f"failed: {error!r}")
    return reports


def measure(
    device: torch.device,
    quick: bool,
    case: Case,
    *,
    count: int = 60_000,
    kinds: list[str] | None = None,
    ends: float = math.inf,
    into: dict[str, Any] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Returns all figures of a case.

    A row that fails is kept with its reason under "error", one that memory or time does not
    suffice for under "left_out".

    Args:
        device: Where to measure.
        quick: Fewer rounds, of one number of candidates, and nothing that must be compiled long.
        case: What to measure.
        count: How many images to train on.
        kinds: Which kinds of packs; all there are where None.
        ends: When to begin no more rows, by the monotonic clock.
        into: What the figures are put into as they are found.
        tell: Called with a line as soon as it is in there.
    """
    report = {} if into is None else into
    rows: dict[str, Any] = {}
    report |= {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "images": count,
        "bar": case.bar,
        "aim": case.aim,
        "steps": case.steps,
        "kinds": rows,
    }
    data = _data(case, count).to(device)
    slow = ("solo", "compiled") if quick else ("solo",)
    kinds = kinds or [k for k in possible_kinds(case.model, case.kept, data) if k not in slow]
    if case is LENET and "triton" not in kinds and device.type == "cuda":
        rows["triton"] = {"agrees": False, "difference": None, "packs": {}}
        rows["triton"]["error"] = triton_trouble(case.model, data) or "not offered"
        tell(f"triton: {rows['triton']['error']}")
    alone = _pack(case, "solo", 1, data)
    rounds = _Rounds(3 if quick else 7, 15 if quick else 40)

    def fill(
        name: str, row: dict[str, Any], work: Callable[[], dict[str, Any]], latest: float
    ) -> None:
        row |= _kept(work, latest)
        tell(f"{name}: {gpu_report.line(row)}")

    for kind in kinds:
        row: dict[str, Any] = {"agrees": False, "difference": None, "packs": {}}
        rows[kind] = row
        latest = ends - (_COMPILING_SECONDS if kind == "compiled" else _ROW_SECONDS)

        fill(kind, row, partial(_agreement, case, kind, data), latest)
        sizes = case.candidates[:1] if quick else case.candidates
        for size in sizes if row["agrees"] else ():
            work = partial(_compare, case, kind, size, alone, data, rounds)
            row["packs"][size] = {}
            fill(f"{kind}, K = {size}", row["packs"][size], work, latest)
        if kind == "triton" and row["agrees"] and device.type == "cuda":
            # How much a program takes on changes no result, so other sizes are tried, too.
            for cells in _CELLS[:1] if quick else _CELLS:
                title = f"launches of a step, K = {sizes[0]}, {cells} cells a program"
                report.setdefault("launches", {})[title] = {}
                work = partial(_launches, case, sizes[0], cells, data)
                fill(title, report["launches"][title], work, latest)
        if case.model.family == LENET.model.family:
            best = max(
                (pack["epoch_rate"] for own in rows.values() for pack in own["packs"].values()
                 if "epoch_rate" in pack),
                default=None,
            )  # fmt: skip
            report["paper_lenet_hours"] = None if best is None else _paper_hours(best)
    tell("done")
    return report


def _kept(work: Callable[[], dict[str, Any]], latest: float) -> dict[str, Any]:
    """Returns what work finds, or why it found nothing; afterwards its memory is free."""
    if time.monotonic() > latest:
        return {"left_out": "no time left"}
    try:
        found = work()
    except Exception as error:  # compilers and drivers raise whatever they like
        # The error holds the frames that hold the memory, so only its text is kept.
        reason = repr(error)[:2000]
        found = {"left_out": "out of memory"} if out_of_memory(error) else {"error": reason}
    gc.collect()
    try:
        torch.cuda.empty_cache()
    except RuntimeError as error:
        # An illegal access of a kernel is told again by all that comes after it.
        found.setdefault("error", repr(error)[:2000])
    return found


def _agreement(case: Case, kind: str, data: ImageData) -> dict[str, Any]:
    """The largest differences to the reference, and whether parameters agree.

    Where two positions under a max-pool are as good as equal, rounding decides which of them
    learns. That moves momenta by some 1e-5 in a few steps, in torch's own ways of computing, too;
    parameters it moves by a thousandth of that.
    """
    packs = [_pack(case, each, 3, data) for each in (kind, "solo")]
    count = min(case.steps * case.recipe.batch_size, len(data.train_labels))
    for pack in packs:
        _train(pack, np.random.default_rng(0).permutation(len(data.train_labels))[:count], data)
    one, other = (pack.state() for pack in packs)
    apart = {name: float((one[name] - other[name]).abs().max()) for name in one}
    momenta = [value for name, value in apart.items() if name.startswith(MOMENTUM)]
    difference = max(value for name, value in apart.items() if not name.startswith(MOMENTUM))
    return {
        "difference": difference,
        "difference_of_momenta": max(momenta),
        "agrees": difference < case.tolerance,
    }


def _launches(case: Case, size: int, cells: int, data: ImageData) -> dict[str, Any]:
    # Triton is not installed everywhere.
    from benchmarks import triton_kernels
    from engine.work.tiny_cnn_gpu.program import Tiles

    states, tiles = _states(case, size), Tiles(cells=cells)
    return {"launches": triton_kernels.measure(states, data, case.recipe, tiles=tiles)}


def _compare(
    case: Case, kind: str, size: int, alone: Pack, data: ImageData, rounds: _Rounds
) -> dict[str, Any]:
    """One pack against one candidate at a time, in turn; the first round warms up."""
    device = data.train_images.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    pack = _pack(case, kind, size, data)
    few = min(len(data.train_labels), 16 * case.recipe.batch_size)
    training, evaluations, ratios = [], [], []
    began = time.monotonic()
    for i in range(rounds.most + 1):
        if i > rounds.least and time.monotonic() - began > rounds.seconds:
            break
        plain = _training(alone, few, data)
        own = _training(pack, few, data)
        # Only the LeNets' hours are projected, and deep networks' evaluations take long.
        if case.model.family == LENET.model.family and i < _EVALUATIONS:
            evaluations.append(_evaluating(pack, data))
        if i:
            training.append(own)
            ratios.append(own / plain)
    rate = statistics.median(training)
    found: dict[str, Any] = {
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "training_rate": rate,
    }
    if evaluations:
        # An epoch with both evaluations, as a study has it. Evaluating is a third of training, so
        # that is how an image counts.
        trained, evaluated = len(data.train_labels), len(data.train_labels) + len(data.test_labels)
        seconds = size * trained / rate + statistics.median(evaluations[1:])
        found["epoch_rate"] = size * (trained + evaluated / 3) / seconds
        found["evaluation_rate"] = size * evaluated / statistics.median(evaluations[1:])
    if device.type == "cuda":
        found["peak_gbytes"] = torch.cuda.max_memory_allocated(device) / 1e9
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for known, (flops, bandwidth) in LIMITS.items():
        if known in name:
            parameters = case.model.count(case.kept)[1]
            moved = _BYTES_PER_PARAMETER * parameters / case.recipe.batch_size
            found["share_of_arithmetic"] = rate * 2 * case.work / flops
            found["share_of_bandwidth_at_least"] = rate * moved / bandwidth
    return found


def _training(pack: Pack, count: int, data: ImageData) -> float:
    """Candidate-samples a second."""
    order = np.random.default_rng(0).permutation(count)
    _wait_for(data)
    began = time.perf_counter()
    _train(pack, order, data)
    _wait_for(data)
    return pack.size * count / (time.perf_counter() - began)


def _evaluating(pack: Pack, data: ImageData) -> float:
    """Seconds of both evaluations of an epoch."""
    _wait_for(data)
    began = time.perf_counter()
    pack.evaluate("train")
    pack.evaluate("test")
    _wait_for(data)
    return time.perf_counter() - began


def _wait_for(data: ImageData) -> None:
    if data.train_images.is_cuda:
        torch.cuda.synchronize(data.train_images.device)


def _train(pack: Pack, order: NDArray[np.int64], data: ImageData) -> None:
    pack.train(order, 0.001, batch_draws(0, 0, 0, len(order)) if data.augmented else None)


def _paper_hours(rate: float) -> float:
    """Hours of the paper's LeNet part at a rate of candidate-samples of the measured network."""
    total = 0.0
    for model, layers, ratio, sample in PAPER:
        spec = StudySpec(
            model=model,
            dataset="mnist",
            layers=layers,
            ratios=(ratio,) * len(layers),
            candidates=sample,
            repeats=3,
            pretrain=LENET_PRETRAIN,
            retrain=LENET_RETRAIN,
        )
        total += retraining_work(spec) * spec.rows
    return total / LENET.work / rate / 3600


def _pack(case: Case, kind: str, size: int, data: ImageData) -> Pack:
    return make_pack(case.model, _states(case, size), data, case.recipe, kind=kind)


def _states(case: Case, size: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    networks = [build_model(case.model, 10, case.kept).state_dict() for _ in range(size)]
    return {name: torch.stack([n[name] for n in networks]) for name in networks[0]}


def _data(case: Case, count: int) -> ImageData:
    grey = images.load(count)
    pixels, labels = torch.from_numpy(grey.normalised())[:, None], torch.from_numpy(grey.labels)
    pixels = pixels.repeat(1, case.model.channels, 1, 1)
    part = len(labels) // 6
    black = torch.full((case.model.channels,), float(pixels.min())) if case.cropped else None
    return ImageData(pixels, labels, pixels[:part], labels[:part], 10, grey.source, black)
