"""LeNet5-Mini and ResNet56 on a CUDA device: every kind of pack against one candidate at a time.

Here absolute figures are given too, with their share of what the device could do at most.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import images
from engine.catalog import ModelInfo, find_model
from engine.errors import OracleError
from engine.estimate import multiply_adds, retraining_work
from engine.recipe import CIFAR_RETRAIN, LENET_PRETRAIN, LENET_RETRAIN, Recipe
from engine.spec import StudySpec
from engine.work.augment import batch_draws
from engine.work.datasets import ImageData
from engine.work.models import build_model
from engine.work.packs import Pack, make_pack, possible_kinds


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
        return 3 * multiply_adds(self.model, self.kept)


def _halved(name: str) -> tuple[ModelInfo, dict[str, int]]:
    info = find_model(name)
    return info, {layer.name: layer.filters // 2 for layer in info.layers}


LENET = Case(find_model("lenet5-mini"), {"conv1": 5}, LENET_RETRAIN, (32, 252, 1008), 5.0, 30.0)
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


def run(as_json: bool, quick: bool) -> int:
    """Measures and prints; 1 where a kind disagrees with the reference, 2 without a device."""
    if not torch.cuda.is_available():
        print("torch sees no CUDA device here; nothing was measured.")
        return 2
    cases = {"LeNet5-Mini": LENET, "ResNet56": RESNET}
    reports = {name: measure(torch.device("cuda"), quick, case) for name, case in cases.items()}
    print(json.dumps(reports, indent=2) if as_json else _text(reports))
    kinds = (row for report in reports.values() for row in report["kinds"].values())
    return 0 if all(row["agrees"] for row in kinds) else 1


def measure(
    device: torch.device,
    quick: bool,
    case: Case,
    *,
    count: int = 60_000,
    kinds: list[str] | None = None,
) -> dict[str, Any]:
    """Returns all figures of a case; kinds are timed in turn, round by round."""
    data = _data(case, count).to(device)
    rounds = 3 if quick else 7
    kinds = kinds or [k for k in possible_kinds(case.model, case.kept, data) if k != "solo"]
    rows: dict[str, Any] = {}
    for kind in kinds:
        rows[kind] = {"agrees": False, "difference": None, "packs": {}}
        try:
            rows[kind]["difference"] = _difference(case, kind, data)
            rows[kind]["agrees"] = rows[kind]["difference"] < case.tolerance
        except (RuntimeError, OracleError) as error:
            rows[kind]["error"] = repr(error)
    alone = _pack(case, "solo", 1, data)
    for size in case.candidates:
        for kind in (kind for kind in kinds if rows[kind]["agrees"]):
            try:
                rows[kind]["packs"][size] = _compare(case, kind, size, alone, data, rounds)
            except torch.cuda.OutOfMemoryError:
                rows[kind]["packs"][size] = {"error": "out of memory"}
            torch.cuda.empty_cache()
    best = max(
        (pack["epoch_rate"] for row in rows.values() for pack in row["packs"].values()
         if "epoch_rate" in pack),
        default=None,
    )  # fmt: skip
    report = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "images": count,
        "bar": case.bar,
        "aim": case.aim,
        "steps": case.steps,
        "kinds": rows,
    }
    if case is LENET:
        report["paper_lenet_hours"] = None if best is None else _paper_hours(best)
    return report


def _compare(
    case: Case, kind: str, size: int, alone: Pack, data: ImageData, rounds: int
) -> dict[str, Any]:
    """One pack against one candidate at a time, in turn."""
    pack = _pack(case, kind, size, data)
    few = min(len(data.train_labels), 16 * case.recipe.batch_size)
    training, epochs, ratios = [], [], []
    for i in range(rounds + 1):
        plain = _training(alone, few, data)
        own = _training(pack, few, data)
        # An epoch with both evaluations, as a study has it.
        began = time.perf_counter()
        _train(pack, np.random.default_rng(i).permutation(few), data)
        pack.evaluate("train")
        pack.evaluate("test")
        seconds = time.perf_counter() - began
        evaluated = len(data.train_labels) + len(data.test_labels)
        if i:
            training.append(own)
            ratios.append(own / plain)
            # Evaluating is a third of training, so that is how an image counts.
            epochs.append(size * (few + evaluated / 3) / seconds)
    rate = statistics.median(training)
    found: dict[str, Any] = {
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
        "training_rate": rate,
        "epoch_rate": statistics.median(epochs),
    }
    device = data.train_images.device
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
    began = time.perf_counter()
    _train(pack, order, data)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return pack.size * count / (time.perf_counter() - began)


def _train(pack: Pack, order: NDArray[np.int64], data: ImageData) -> None:
    pack.train(order, 0.001, batch_draws(0, 0, 0, len(order)) if data.augmented else None)


def _difference(case: Case, kind: str, data: ImageData) -> float:
    """The largest difference to the reference, among parameters and momenta."""
    packs = [_pack(case, each, 3, data) for each in (kind, "solo")]
    count = min(case.steps * case.recipe.batch_size, len(data.train_labels))
    for pack in packs:
        _train(pack, np.random.default_rng(0).permutation(len(data.train_labels))[:count], data)
    one, other = (pack.state() for pack in packs)
    return max(float((one[name] - other[name]).abs().max()) for name in one)


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
    torch.manual_seed(0)
    networks = [build_model(case.model, 10, case.kept).state_dict() for _ in range(size)]
    states = {name: torch.stack([n[name] for n in networks]) for name in networks[0]}
    return make_pack(case.model, states, data, case.recipe, kind=kind)


def _data(case: Case, count: int) -> ImageData:
    grey = images.load(count)
    pixels, labels = torch.from_numpy(grey.normalised())[:, None], torch.from_numpy(grey.labels)
    pixels = pixels.repeat(1, case.model.channels, 1, 1)
    part = len(labels) // 6
    black = torch.full((case.model.channels,), float(pixels.min())) if case.cropped else None
    return ImageData(pixels, labels, pixels[:part], labels[:part], 10, grey.source, black)


def _text(reports: Mapping[str, dict[str, Any]]) -> str:
    lines: list[str] = []
    for title, report in reports.items():
        lines.append(f"{title}: {report['device']}, torch {report['torch']}, {report['date']}")
        for kind, row in report["kinds"].items():
            lines.append(
                f"\n{kind}: difference to one at a time after {report['steps']} step(s) "
                f"{row['difference']}"
            )
            lines += [f"  {row['error']}"] if "error" in row else []
            for size, pack in row["packs"].items():
                lines += _of_pack(size, pack, report)
        if "paper_lenet_hours" in report:
            hours = report["paper_lenet_hours"]
            lines.append(
                "\nnothing to project from" if hours is None
                else f"\nthe paper's LeNet part, projected: {hours:.1f} hours"
            )  # fmt: skip
        lines.append("")
    return "\n".join(lines)


def _of_pack(size: int, pack: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    if "error" in pack:
        return [f"  K = {size}: {pack['error']}"]
    ratio = pack["ratio"]
    lines = [
        f"  K = {size}: {pack['training_rate']:,.0f} candidate-samples a second in "
        f"training, {ratio['median']:.1f} times one at a time "
        f"({ratio['min']:.1f} .. {ratio['max']:.1f}), bar {report['bar']:g}, aim {report['aim']:g}"
    ]
    if "share_of_arithmetic" in pack:
        lines.append(
            f"    {pack['share_of_arithmetic']:.1%} of the arithmetic limit, at least "
            f"{pack['share_of_bandwidth_at_least']:.2%} of the bandwidth"
        )
    return lines
