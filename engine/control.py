"""Making runs, and starting the engine that works on them as a process of its own."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.folders import ensure_private
from engine.spec import BASE_SCORES, StudySpec
from engine.store.writer import RunWriter


def create_run(runs_folder: Path, spec: StudySpec, device: str = "auto") -> Path:
    """Makes a queued run and returns its folder, named `<hash>-<what is studied>`.

    The same spec made twice gives two runs, the second one's name ending in `-2`.

    Raises:
        UsageError: The folder cannot be made or written.
    """
    ensure_private(runs_folder)
    name = run_name(spec)
    for folder in (runs_folder / name, *(runs_folder / f"{name}-{i}" for i in range(2, 10_000))):
        if not folder.exists():
            RunWriter.create(folder, run_config(spec, folder.name, device))
            return folder
    raise UsageError(f"The folder {runs_folder} is full of runs named {name}; delete some.")


def run_name(spec: StudySpec) -> str:
    """Returns the name a run of this spec gets; it names a folder, so `_` stands for `+`."""
    layers = "_".join(spec.layers)
    what = f"{spec.model}-{spec.dataset}-{layers}-{spec.ratio_text.replace('+', '_')}"
    return f"{spec.hash[:6]}-{what[:80]}"


def run_config(spec: StudySpec, run_id: str, device: str) -> dict[str, Any]:
    """Returns the config that a new run begins with."""
    return {
        "run_id": run_id,
        "score_names": list(BASE_SCORES),
        "layers": list(spec.layers),
        "epochs": spec.retrain.epochs,
        "n_total": spec.rows,
        "device": device,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "spec": spec.to_json(),
        "environment": {},
    }


def start_engine(run: Path) -> subprocess.Popen[bytes]:
    """Starts an engine on a run, in a session of its own and without a terminal.

    The engine outlives its starter. What it says before it can write to the run's log goes to
    `engine.err` beside it.

    Raises:
        UsageError: The process cannot be started.
    """
    package_folder = str(Path(__file__).resolve().parent.parent)
    search = os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
    try:
        descriptor = os.open(run / "engine.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as errors:
            engine = subprocess.Popen(
                # -P: a folder named `engine` where the person stands must not be taken for ours.
                [sys.executable, "-P", "-m", "engine", str(run.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": search},
                start_new_session=True,
            )
    except OSError as error:
        raise UsageError(f"The engine for {run.name} cannot be started: {error}.") from error
    # Somebody has to collect the exit status, or a finished engine stays listed as a zombie and
    # looks alive.
    threading.Thread(target=engine.wait, daemon=True).start()
    return engine
