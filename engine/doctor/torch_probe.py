"""Asking torch, in a process of its own, which devices an engine would see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_LEAVES = ("torch", "devices", "broken", "threads", "kernel")


def probe_torch(seconds: float) -> dict[str, Any]:
    """Starts Python as an engine is started, imports torch there, and returns what it said.

    Returns:
        `error` ("" where all is well), `torch` its version, `devices` by name, those that are
        `broken` with the reason, `threads`, and `kernel`: whether the fused CPU kernel can be used,
        with the reason where not.
    """
    answer: dict[str, Any] = dict.fromkeys(_LEAVES) | {"error": ""}
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "engine.work.probe"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search},
        )
        said = json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 else None
    except subprocess.TimeoutExpired:
        return answer | {"error": f"Importing torch took longer than {seconds:g} s; try again."}
    except (OSError, ValueError, IndexError) as error:
        return answer | {"error": f"An engine process cannot be started: {error}."}
    if said is None:
        lines = ended.stderr.strip().splitlines()
        why = lines[-1] if lines else f"it ended with {ended.returncode}"
        return answer | {"error": f"An engine process cannot import torch: {why}"}
    return answer | {key: said[key] for key in _LEAVES}
