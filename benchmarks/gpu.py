"""LeNet5-Mini on a CUDA device: every kind of pack against one candidate at a time.

Here absolute figures are given too, with their share of what the device could do at most.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import images
from engine.catalog import find_model
from engine.errors import OracleError
from engine.estimate import multiply_adds, retraining_work
from engine.recipe import LENET_PRETRAIN, LENET_RETRAIN
from engine.spec import StudySpec
from engine.work.datasets import ImageData
from engine.work.models import build_model
from engine.work.packs import Pack, make_pack, possible_kinds
from engine.work.packs.solo import SoloPack

MODEL = find_model("lenet5-mini")
KEPT = {"conv1": 5}
CANDIDATES = (32, 252, 1008)
BAR, AIM = 5.0, 30.0
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
    report = measure(torch.device("cuda"), quick)
    print(json.dumps(report, indent=2) if as_json else _text(report))
    return 0 if all(row["agrees"] for row in report["kinds"].values()) else 1


def measure(
    device: torch.device,
    quick: bool,
    *,
    count: int = 60_000,
    candidates: tuple[int, ...] = CANDIDATES,
    kinds: list[str] | None = None,
) -> dict[str, Any]:
    """Returns all figures; kinds are timed in turn, round by round."""
    data = _data(count).to(device)
    rounds = 3 if quick else 7
    kinds = kinds or [kind for kind in possible_kinds(MODEL, KEPT, data) if kind != "solo"]
    rows: dict[str, Any] = {}
    for kind in kinds:
        rows[kind] = {"agrees": False, "difference": None, "packs": {}}
        try:
            rows[kind]["difference"] = _difference(kind, data)
            rows[kind]["agrees"] = rows[kind]["difference"] < 1e-5
        except (RuntimeError, OracleError) as error:
            rows[kind]["error"] = repr(error)
    alone = _pack("solo", 1, data)
    for size in candidates:
        for kind in (kind for kind in kinds if rows[kind]["agrees"]):
            try:
                rows[kind]["packs"][size] = _compare(kind, size, alone, data, rounds)
            except torch.cuda.OutOfMemoryError:
                rows[kind]["packs"][size] = {"error": "out of memory"}
            torch.cuda.empty_cache()
    best = max(
        (pack["epoch_rate"] for row in rows.values() for pack in row["packs"].values()
         if "epoch_rate" in pack),
        default=None,
    )  # fmt: skip
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "images": count,
        "kinds": rows,
        "paper_lenet_hours": None if best is None else _paper_hours(best),
    }


def _compare(kind: str, size: int, alone: Pack, data: ImageData, rounds: int) -> dict[str, Any]:
    """One pack against one candidate at a time, in turn."""
    pack = _pack(kind, size, data)
    few = min(len(data.train_labels), 16 * LENET_RETRAIN.batch_size)
    training, epochs, ratios = [], [], []
    for i in range(rounds + 1):
        plain = _training(alone, few)
        own = _training(pack, few)
        # An epoch with both evaluations, as a study has it.
        began = time.perf_counter()
        pack.train(np.random.default_rng(i).permutation(few), 0.001)
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
        "bar": BAR,
        "aim": AIM,
        "training_rate": rate,
        "epoch_rate": statistics.median(epochs),
    }
    device = data.train_images.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for known, (flops, bandwidth) in LIMITS.items():
        if known in name:
            work = 2 * 3 * multiply_adds(MODEL, {"conv1": KEPT["conv1"]})
            parameters = sum(t.numel() for t in pack.state().values()) / size / 2
            moved = _BYTES_PER_PARAMETER * parameters / LENET_RETRAIN.batch_size
            found["share_of_arithmetic"] = rate * work / flops
            found["share_of_bandwidth_at_least"] = rate * moved / bandwidth
    return found


def _training(pack: Pack, count: int) -> float:
    """Candidate-samples a second; reading the state back waits for the device."""
    order = np.random.default_rng(0).permutation(count)
    began = time.perf_counter()
    pack.train(order, 0.001)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return pack.size * count / (time.perf_counter() - began)


def _difference(kind: str, data: ImageData) -> float:
    """The largest difference to the reference after 20 steps, among parameters and momenta."""
    states = _states(3)
    packs = (make_pack(MODEL, states, data, LENET_RETRAIN, kind=kind),)
    packs = (*packs, SoloPack(MODEL, states, data, LENET_RETRAIN))
    count = min(20 * LENET_RETRAIN.batch_size, len(data.train_labels))
    for pack in packs:
        pack.train(np.random.default_rng(0).permutation(len(data.train_labels))[:count], 0.001)
    one, other = (pack.state() for pack in packs)
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def _paper_hours(rate: float) -> float:
    """Hours of the paper's LeNet part at a rate of candidate-samples of the measured network."""
    own = multiply_adds(MODEL, {"conv1": KEPT["conv1"]}) * 3
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
    return total / own / rate / 3600


def _pack(kind: str, size: int, data: ImageData) -> Pack:
    return make_pack(MODEL, _states(size), data, LENET_RETRAIN, kind=kind)


def _states(size: int) -> Mapping[str, Tensor]:
    torch.manual_seed(0)
    networks = [build_model(MODEL, 10, KEPT).state_dict() for _ in range(size)]
    return {name: torch.stack([n[name] for n in networks]) for name in networks[0]}


def _data(count: int) -> ImageData:
    grey = images.load(count)
    pixels, labels = torch.from_numpy(grey.normalised())[:, None], torch.from_numpy(grey.labels)
    part = len(labels) // 6
    return ImageData(pixels, labels, pixels[:part], labels[:part], 10, grey.source)


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['device']}, torch {report['torch']}, {report['date']}"]
    for kind, row in report["kinds"].items():
        lines.append(f"\n{kind}: difference to one at a time after 20 steps {row['difference']}")
        if "error" in row:
            lines.append(f"  {row['error']}")
        for size, pack in row["packs"].items():
            if "error" in pack:
                lines.append(f"  K = {size}: {pack['error']}")
                continue
            ratio = pack["ratio"]
            lines.append(
                f"  K = {size}: {pack['training_rate']:,.0f} candidate-samples a second in "
                f"training, {ratio['median']:.1f} times one at a time "
                f"({ratio['min']:.1f} .. {ratio['max']:.1f}), bar {BAR:g}, aim {AIM:g}"
            )
            if "share_of_arithmetic" in pack:
                lines.append(
                    f"    {pack['share_of_arithmetic']:.1%} of the arithmetic limit, at least "
                    f"{pack['share_of_bandwidth_at_least']:.2%} of the bandwidth"
                )
    hours = report["paper_lenet_hours"]
    lines.append(
        "\nnothing to project from" if hours is None
        else f"\nthe paper's LeNet part, projected: {hours:.1f} hours"
    )  # fmt: skip
    return "\n".join(lines)
