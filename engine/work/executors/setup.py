"""What a worker in another process is given of a study, and the bench it builds of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import RunFailure
from engine.spec import StudySpec
from engine.work.bench import Bench, Pruned
from engine.work.chunks import ChunkWork
from engine.work.datasets import ImageData
from engine.work.executors.base import Work
from engine.work.gpu import use
from engine.work.models import slice_plan
from engine.work.needs import room_for_data
from engine.work.pretraining import BaseNetwork
from engine.work.study_data import study_data


@dataclass(frozen=True, slots=True)
class BenchSetup:
    """A study as data: spec, base network, and the data set or where to find it.

    Attributes:
        spec: The study's spec as JSON.
        device: The worker's device, as torch names it there.
        threads: Threads that work on a pack on a CPU.
        base: The base network's facts, its state as arrays under `state`.
        digest: Of the data set that the driver uses.
        picks: Candidates that a search found beside those of the space.
        arrays: The data set's arrays, or None for a worker that reads it from its own disk.
        folder: The run's folder, or None where the worker cannot reach it.
        kind: How packs are computed, so that no worker chooses another kind, which would round
            differently.
    """

    spec: dict[str, Any]
    device: str
    threads: int
    base: dict[str, Any]
    digest: str
    picks: tuple[Pruned, ...]
    arrays: dict[str, Any] | None
    folder: str | None
    kind: str | None

    @classmethod
    def of(
        cls, bench: Bench, device: str, threads: int, *, folder: Path | None, with_data: bool
    ) -> BenchSetup:
        """Returns the setup of a worker that is to work as this bench does."""
        base = {field.name: getattr(bench.base, field.name) for field in fields(bench.base)}
        base["state"] = {name: tensor.numpy() for name, tensor in bench.base.state.items()}
        return cls(
            spec=bench.spec.to_json(),
            device=device,
            threads=threads,
            base=base,
            digest=bench.data.digest,
            picks=bench.picks,
            arrays=_as_arrays(bench.data) if with_data and bench.data.in_memory else None,
            folder=None if folder is None else str(folder),
            kind=bench.kind,
        )

    def open(self) -> Work:
        """Returns the work on the bench that it builds; see `Setup` and `bench`."""
        return ChunkWork(self.bench(), None if self.folder is None else Path(self.folder))

    def bench(self) -> Bench:
        """Builds the bench.

        Raises:
            RunFailure: This machine's copy of the data set is not the driver's.
        """
        spec, device = StudySpec.from_json(self.spec), use(torch.device(self.device))
        if self.arrays is not None:
            data = _from_arrays(self.arrays)
        else:
            # Of a GPU's memory they get what the driver's own data got.
            room = room_for_data(device) if device.type == "cuda" else None
            data = study_data(spec, download=False, room=room)
        if data.digest != self.digest:
            raise RunFailure(
                f"The data set {spec.dataset} on a worker is not the one the study began with; "
                "give all workers the same files."
            )
        state = {name: torch.from_numpy(array.copy()) for name, array in self.base["state"].items()}
        return Bench(
            spec=spec,
            device=device,
            threads=self.threads,
            data=data.to(device),
            base=BaseNetwork(**{**self.base, "state": state}),
            plan=slice_plan(spec.model_info, data.classes),
            picks=self.picks,
            kind=self.kind,
        )


def _as_arrays(data: ImageData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(data):
        value = getattr(data, field.name)
        found[field.name] = value.cpu().numpy() if isinstance(value, torch.Tensor) else value
    return found


def _from_arrays(arrays: dict[str, Any]) -> ImageData:
    """Returns the data set over arrays that all workers of a machine share, and only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")
        parts: dict[str, Any] = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in arrays.items()
        }
    return ImageData(**parts)
