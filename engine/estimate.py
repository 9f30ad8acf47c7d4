"""What a study will cost, before it starts: multiply-adds over a rate measured on this machine."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.catalog import ModelInfo
from engine.folders import cache_folder, ensure_private
from engine.scores import retraining_epochs
from engine.spec import StudySpec

# Multiply-adds a second of one core in the fused kernel, until a run has been measured here: the
# lower end of what was seen on shared AVX2 cores.
_GUESSED_RATE_PER_CORE = 2.0e10
# How many times as long steps of a kind take that the kernels do not know: of LeNets, whose
# kernels they are; other models have no kernels, and go by their plain rate.
_LENETS_SLOWER = 10.0
START_SECONDS = 8.0
_BACKWARD = 2  # a backward pass costs about two forward ones


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds a study takes, and whether the rate behind them was measured on this machine."""

    seconds: float
    measured: bool

    def __str__(self) -> str:
        """Returns it as a person says it: `about 2 min, a guess until a run is measured here`."""
        basis = "" if self.measured else ", a guess until a run is measured here"
        return f"about {duration_text(self.seconds)}{basis}"


def estimate(spec: StudySpec, device: str = "auto") -> Estimate:
    """Returns how long a study takes from the start of its engine."""
    rates, info = _measured_rates(), spec.model_info
    float32 = spec.precision == "float32"
    pretraining = pretraining_work(spec)
    base, _ = _rate(rates, info, device, plain=float32 and not spec.pretrain.beyond_plain)
    rate, measured = _rate(rates, info, device, plain=has_plain_steps(spec))
    seconds = pretraining / base + (study_work(spec) - pretraining) / rate
    return Estimate(START_SECONDS + seconds, measured)


def estimate_all(specs: Sequence[StudySpec], device: str = "auto") -> Estimate:
    """Returns how long several studies take one after another."""
    found = [estimate(spec, device) for spec in specs]
    return Estimate(sum(one.seconds for one in found), all(one.measured for one in found))


def has_plain_steps(spec: StudySpec) -> bool:
    """Tells whether candidates are retrained by plain SGD in float32, every weight of them."""
    return not (spec.masked or spec.retrain.beyond_plain or spec.precision != "float32")


def _rate(
    rates: dict[str, float], info: ModelInfo, device: str, *, plain: bool
) -> tuple[float, bool]:
    """Returns multiply-adds a second, and whether steps of this kind were measured here."""
    rate = rates.get(_key(info, device, plain=plain))
    if rate is not None:
        return rate, True
    usual = rates.get(_key(info, device), _GUESSED_RATE_PER_CORE * len(os.sched_getaffinity(0)))
    return usual / (1.0 if plain or info.family != "lenet" else _LENETS_SLOWER), False


def study_work(spec: StudySpec) -> float:
    """Returns the multiply-adds of pretraining and of all retrainings with their evaluations.

    Short retrainings that are scores are among them; other scores cost little beside.
    """
    whole = epochs_in_all(spec) / spec.retrain.epochs
    return pretraining_work(spec) + retraining_work(spec) * whole


def epochs_in_all(spec: StudySpec) -> float:
    """Returns how many epochs candidates are trained for, short retrainings as scores included."""
    short = sum({retraining_epochs(score) or 0 for score in spec.scores})
    return spec.rows * spec.retrain.epochs + spec.rows / spec.repeats * short


def pretraining_work(spec: StudySpec) -> float:
    """Returns the multiply-adds of the base network's training; none where weights are given."""
    whole_model = multiply_adds(spec.model_info, {}, spec.dataset_info.classes)
    return whole_model * _passes(spec) * spec.pretrain.epochs * spec.pretrains


def retraining_work(spec: StudySpec) -> float:
    """Returns the multiply-adds of one retraining of one candidate with its evaluations."""
    return (
        multiply_adds(spec.model_info, spec.kept, spec.dataset_info.classes)
        * _passes(spec)
        * spec.retrain.epochs
    )


def multiply_adds(info: ModelInfo, kept: dict[str, int], classes: int = 10) -> float:
    """Returns the multiply-adds of one image through a model that keeps so many filters."""
    return float(info.count(kept, classes)[0])


def remember_rate(info: ModelInfo, device: str, rate: float, *, plain: bool = True) -> None:
    """Keeps a measured rate (multiply-adds a second) for later estimates on this machine.

    Args:
        info: The model, for its family.
        device: Where that was.
        rate: Of retrainings, their evaluations included.
        plain: Whether steps were plain; see `has_plain_steps`.
    """
    path = _rates_file()
    rates = {**_measured_rates(), _key(info, device, plain=plain): rate}
    ensure_private(path.parent)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(rates))
    os.replace(temporary, path)


def remember_rate_if_none(info: ModelInfo, device: str, rate: float, *, plain: bool = True) -> None:
    """Keeps a rate of a short measurement until a whole run has been measured here."""
    if _key(info, device, plain=plain) not in _measured_rates():
        remember_rate(info, device, rate, plain=plain)


def duration_text(seconds: float) -> str:
    """Returns a duration in its two largest units: `45 s`, `3 min`, `2 h 5 min`, `3 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{max(1, math.ceil(seconds))} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def _passes(spec: StudySpec) -> int:
    """Forward passes' worth of work in one epoch: training, and evaluation on both sets."""
    data = spec.dataset_info
    return (1 + _BACKWARD) * data.train_images + data.train_images + data.test_images


def _key(info: ModelInfo, device: str, *, plain: bool = True) -> str:
    where = "cuda" if device.startswith("cuda") else "cpu"
    return f"{info.family}/{where}{'' if plain else '/not-plain'}"


def _rates_file() -> Path:
    return cache_folder() / "rates.json"


def _measured_rates() -> dict[str, float]:
    """Reads the rates; what cannot be read counts as not measured."""
    try:
        rates: Any = json.loads(_rates_file().read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(rates, dict):
        return {}
    return {str(key): float(rate) for key, rate in rates.items() if _is_rate(rate)}


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
