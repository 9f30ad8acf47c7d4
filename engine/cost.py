"""What a study costs on this machine before it starts, measured by an engine for a few seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.spec import StudySpec

_SECONDS = 600
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """What a study costs.

    Attributes:
        multiply_adds: Of one image through the base network, and through a candidate.
        parameters: Of the base network, and of a candidate.
        candidates: How many are studied.
        retrainings: How often one is retrained.
        device: Where that was measured.
        seconds: How long the study takes there; None where it does not fit.
        memory: Bytes: `data`, `base` and `candidate` (each weights, gradients, optimiser,
            activations), `one_candidate` for all that is needed at least, `free`; and
            `largest_pack`, how many candidates fit at a time.
        problem: Why it cannot be studied there, with the way out; "" where it can.
    """

    multiply_adds: tuple[int, int]
    parameters: tuple[int, int]
    candidates: int
    retrainings: int
    device: str
    seconds: float | None
    memory: dict[str, Any]
    problem: str

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON object."""
        before, after = self.multiply_adds
        return {
            "multiply_adds": {"before": before, "after": after},
            "flops": {"before": 2 * before, "after": 2 * after},
            "parameters": dict(zip(("before", "after"), self.parameters, strict=True)),
            "candidates": self.candidates,
            "retrainings": self.retrainings,
            "device": self.device,
            "estimate_seconds": self.seconds,
            "memory": self.memory,
            "fits": not self.problem,
            "problem": self.problem or None,
        }


def measured_cost(spec: StudySpec, device: str = "auto") -> Cost:
    """Returns what a study costs here; an engine process trains a few batches to find out.

    Raises:
        UsageError: There is no such device, or the measurement failed.
    """
    whole = spec.model_info.count({}, spec.dataset_info.classes)
    slim = spec.model_info.count(spec.kept, spec.dataset_info.classes)
    found = _measured(spec, device)
    try:
        return Cost(
            multiply_adds=(whole[0], slim[0]),
            parameters=(whole[1], slim[1]),
            candidates=len(spec.space) + len(spec.search),
            retrainings=spec.rows,
            device=str(found["device"]),
            seconds=None if found["seconds"] is None else float(found["seconds"]),
            memory=dict(found["memory"]),
            problem=str(found["problem"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"The measurement of {spec.model} cannot be read: {error!r}.") from error


def _measured(spec: StudySpec, device: str) -> dict[str, Any]:
    package_folder = str(Path(__file__).resolve().parent.parent)
    search = os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "engine", "measure", device],
            input=json.dumps(spec.to_json()).encode(),
            capture_output=True,
            env={**os.environ, "PYTHONPATH": search},
            timeout=_SECONDS,
            check=False,
        )
        lines = done.stdout[-_LONGEST_ANSWER:].decode(errors="replace").strip().splitlines()
        answer = json.loads(lines[-1] if lines else "null")
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise UsageError(f"Measuring {spec.model} failed: {error}.") from error
    if not isinstance(answer, dict):
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UsageError(f"Measuring {spec.model} failed: {''.join(last)[:300]}.")
    if "error" in answer:
        raise UsageError(str(answer["error"])[:1_000])
    return answer
