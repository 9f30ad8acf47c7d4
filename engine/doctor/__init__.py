"""Can a run start here, and if not, why? Each module asks about one thing; none imports torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.doctor.folders import Folder, examine_folder
from engine.doctor.hardware import devices
from engine.doctor.torch_probe import probe_torch
from engine.doctor.versions import versions
from engine.folders import cache_folder

__all__ = ["Folder", "diagnose"]


def diagnose(runs: Path, config: Path, *, seconds: float = 120.0) -> dict[str, Any]:
    """Returns all that is known about this machine as one JSON object.

    Its `problems` are why no run can start, its `warnings` what a person should know; `can_start`
    is whether there are no problems.

    Args:
        runs: The folder of runs.
        config: The file of settings; its folder is looked at.
        seconds: How long importing torch may take.
    """
    folders = {
        "runs": examine_folder("runs", runs, probe=True),
        "cache": examine_folder("cache", cache_folder(), probe=True),
        "config": examine_folder("config", config.parent, probe=False),
    }
    engine = probe_torch(seconds)
    problems = [*folders["runs"].problems]
    warnings = [*folders["runs"].warnings]
    for name in ("cache", "config"):
        warnings += [*folders[name].problems, *folders[name].warnings]
    if engine["error"]:
        problems.append(engine["error"])
    elif engine["kernel"] and not engine["kernel"]["usable"]:
        warnings.append(f"{engine['kernel']['reason']} Studies on a CPU take far longer without.")
    found = devices()
    if not engine["error"]:
        warnings += _gpu_warnings(found["gpus"], engine)
    return {
        "can_start": not problems,
        "problems": problems,
        "warnings": warnings,
        "versions": versions(),
        "devices": found,
        "engine": engine,
        "folders": [asdict(folder) for folder in folders.values()],
    }


def _gpu_warnings(gpus: list[dict[str, Any]], engine: dict[str, Any]) -> list[str]:
    """Returns why GPUs that the driver knows cannot be computed on."""
    found = [
        f"Nothing can be computed on {name} {why}; studies would fail there."
        for name, why in (engine.get("broken") or {}).items()
    ]
    seen = [name for name in engine["devices"] if name.startswith("cuda")]
    if gpus and not seen and not found:
        found.append(
            f"torch {engine.get('torch')} sees none of the {len(gpus)} GPU(s): it is a build for "
            "CPUs, the driver is older than its CUDA wants, or CUDA_VISIBLE_DEVICES hides them."
        )
    return found
