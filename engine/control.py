"""Making runs, and starting the engine that works on them as a process of its own."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.facts import facts_of
from engine.folders import ensure_private
from engine.own_scores import CriterionFile
from engine.shards import Shard, share
from engine.spec import StudySpec
from engine.store.disk import remove
from engine.store.requests import clear_request
from engine.store.writer import RunWriter
from engine.study_rules import WIRINGS

ERRORS_NAME = "engine.err"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def create_run(
    runs_folder: Path,
    spec: StudySpec,
    device: str = "auto",
    criteria: Sequence[CriterionFile] = (),
    *,
    executor: str = "inline",
    shard: Shard | None = None,
) -> Path:
    """Makes a queued run and returns its folder, named `<hash>-<what is studied>`.

    The same spec made twice gives two runs, the second one's name ending in `-2`.

    Args:
        runs_folder: Where.
        spec: The study.
        device: Where it computes.
        criteria: The files of those of its scores that are a researcher's own.
        executor: Who retrains its candidates.
        shard: (i, n) for a run of every n-th candidate only.

    Raises:
        UsageError: The folder cannot be made or written, or the file of a score is not given.
    """
    name = run_name(spec) + ("" if shard is None else f"-shard-{shard[0]}-of-{shard[1]}")
    folder = free_folder(runs_folder, name)
    config = run_config(spec, folder.name, device, criteria)
    _create(folder, config | placed(spec, executor, shard))
    return folder


def create_pair(
    runs_folder: Path,
    spec: StudySpec,
    device: str = "auto",
    criteria: Sequence[CriterionFile] = (),
    *,
    executor: str = "inline",
) -> tuple[Path, ...]:
    """Makes two queued runs that differ in nothing but the wiring, and returns their folders.

    Candidates, seeds and batches follow from what they have in common. Each run's config names
    both under `wiring_pair`. Arguments and errors as in `create_run`.
    """
    specs = {wiring: spec.with_(wiring=wiring) for wiring in WIRINGS}
    folders = {wiring: free_folder(runs_folder, run_name(one)) for wiring, one in specs.items()}
    pair = {wiring: folder.name for wiring, folder in folders.items()}
    for wiring, folder in folders.items():
        config = run_config(specs[wiring], folder.name, device, criteria)
        config |= placed(specs[wiring], executor, None)
        _create(folder, {**config, "wiring_pair": pair})
    return tuple(folders.values())


def _create(folder: Path, config: dict[str, Any]) -> None:
    """Makes the run; listings can say what it studies before its engine has begun."""
    known = {"id": folder.name, **facts_of(config).columns}
    RunWriter.create(folder, config, known | {key: config[key] for key in ("device", "created")})


def free_folder(runs_folder: Path, name: str) -> Path:
    """Returns the folder for a new run of that name, or of that name with `-2`, `-3` after it.

    Raises:
        UsageError: The folder of runs cannot be made or written, or is full of them.
    """
    ensure_private(runs_folder)
    for folder in (runs_folder / name, *(runs_folder / f"{name}-{i}" for i in range(2, 10_000))):
        if not folder.exists():
            return folder
    raise UsageError(f"The folder {runs_folder} is full of runs named {name}; delete some.")


def placed(spec: StudySpec, executor: str, shard: Shard | None) -> dict[str, Any]:
    """Returns what a run's config says of who works on it, and on which of its candidates.

    Raises:
        UsageError: There are more shards than candidates, or the study searches.
    """
    if shard is None:
        return {"executor": executor}
    if spec.search:
        raise UsageError("A search looks at the whole sample, so a shard cannot; leave one out.")
    studied = len(share(range(len(spec.space)), shard))
    if studied == 0:
        raise UsageError(
            f"Shard {shard[0]}/{shard[1]} of {len(spec.space):,} candidates is empty; "
            "use fewer shards."
        )
    return {"executor": executor, "shard": list(shard), "n_total": studied * spec.repeats}


def run_name(spec: StudySpec) -> str:
    """Returns the name a run of this spec gets; it names a folder, so `_` stands for `+`."""
    model = spec.model_info.title if spec.facts else spec.model
    data = spec.dataset_info.title if spec.data_facts else spec.dataset
    what = f"{model}-{data}-{spec.layers_text}-{spec.ratio_text}"
    what += "-of-weights" if spec.masked else ""
    return f"{spec.hash[:6]}-{_NOT_IN_NAMES.sub('_', what)[:80]}"


def run_config(
    spec: StudySpec, run_id: str, device: str, criteria: Sequence[CriterionFile] = ()
) -> dict[str, Any]:
    """Returns the config that a new run begins with.

    Raises:
        UsageError: The file of one of the study's scores is not given.
    """
    files = {file.score: file for file in criteria}
    for score in spec.scores:
        if "@" in score and score not in files:
            raise UsageError(f"The score {score} is a file's; name it with --criterion.")
    own = {file.name: file.to_json() for file in criteria if file.score in spec.scores}
    return {
        "run_id": run_id,
        "score_names": list(spec.score_names),
        **({"criteria": own} if own else {}),
        "layers": list(spec.layers),
        "epochs": spec.retrain.epochs,
        "n_total": spec.rows,
        "device": device,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "spec": spec.to_json(),
        "environment": {},
    }


def start_engine(
    run: Path, *then: Path, takeover: bool = False, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts an engine on a run, in a session of its own and without a terminal.

    The engine outlives its starter. What it says before it can write to the run's log goes to
    `engine.err` beside it. When the run is done the same engine goes on with the runs in `then`.

    Args:
        run: The run's folder.
        then: Folders of the runs that the same engine works on after it.
        takeover: Take the run over from an engine of another host.
        env: Added to its environment.

    Raises:
        UsageError: The process cannot be started.
    """
    options = ["--takeover"] if takeover else []
    try:
        clear_request(run)  # what was asked of an engine before this one is void
        # Made anew, so that nothing that stands there (a link elsewhere) is written into.
        remove(run / ERRORS_NAME)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(run / ERRORS_NAME, flags, 0o600)
        with os.fdopen(descriptor, "wb") as errors:
            engine = subprocess.Popen(
                # -P: a folder named `engine` where the person stands must not be taken for ours.
                [
                    *(sys.executable, "-P", "-m", "engine", *options),
                    *(str(each.resolve()) for each in (run, *then)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**os.environ, **(env or {}), "PYTHONPATH": package_search_path()},
                start_new_session=True,
            )
    except OSError as error:
        raise UsageError(f"The engine for {run.name} cannot be started: {error}.") from error
    # Somebody has to collect the exit status, or a finished engine stays listed as a zombie and
    # looks alive.
    threading.Thread(target=engine.wait, daemon=True).start()
    return engine


def package_search_path() -> str:
    """Returns the PYTHONPATH with which another process finds this very package."""
    package_folder = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
