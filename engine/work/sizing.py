"""How many candidates a pack takes: enough to be quick, few enough to show points soon."""

from __future__ import annotations

from engine.model_info import ModelInfo
from engine.study_rules import ANSWERING

_AIM_SECONDS = {"cpu": 4.0, "cuda": 20.0}
_START_PER_THREAD = 1
_CUDA_START = 32
_LARGEST = 1024
# Kinds of pack that keep a GPU busy by computing networks beside each other. Of 8 their parts
# overlap already; a recording of more than 64 takes long to make.
_RECORDED = frozenset({"graphed", "compiled"})
_SIDE_BY_SIDE, _LARGEST_RECORDED = 8, 64
# Parameters of a model of which several fit into any memory.
_SMALL = 5_000_000


def largest_pack(info: ModelInfo, device_type: str, kind: str | None = None) -> int:
    """Returns how many candidates a pack may have: one of models that answer questions.

    On a CPU small ones of them are trained side by side, as others are.
    """
    if info.family == ANSWERING and (device_type != "cpu" or info.count({})[1] > _SMALL):
        return 1
    return _LARGEST_RECORDED if kind in _RECORDED else _LARGEST


def least_pack(kind: str | None) -> int:
    """Returns how many candidates a GPU should have at a time, however long they take."""
    return _SIDE_BY_SIDE if kind in _RECORDED else 1


class PackSizer:
    """Starts small and grows towards packs of a few seconds; no result depends on it."""

    def __init__(
        self, threads: int, device_type: str, largest: int = _LARGEST, least: int = 1
    ) -> None:
        """Takes how many threads work on a pack, the type of the device, and what fits at most.

        `least` is how many a GPU should have at a time even where they take long.
        """
        self.step = threads if device_type == "cpu" else least
        self._aim = _AIM_SECONDS.get(device_type, 20.0)
        self.limit = largest
        self._retrained, self._seconds = 0, 0.0
        if device_type == "cpu":
            start = threads * _START_PER_THREAD
        else:
            start = least if least > 1 else _CUDA_START
        self.size = min(start, largest)

    def measured(self, size: int, seconds: float) -> None:
        """Learns how long a pack took, and aims the next one; it at most quadruples."""
        self._retrained += size
        self._seconds += seconds
        wanted = int(self._aim * size / max(seconds, 1e-6))
        wanted = max(self.step, wanted // self.step * self.step)
        self.size = min(wanted, self.size * 4, self.limit)

    @property
    def per_retraining(self) -> float | None:
        """Seconds of one retraining of one candidate, all packs together; None before the first."""
        return self._seconds / self._retrained if self._retrained else None

    def halve(self) -> None:
        """Takes half as many from now on, because memory ran out."""
        self.limit = self.size = max(1, self.size // 2)
