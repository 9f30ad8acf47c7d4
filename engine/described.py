"""Models outside the catalog: found by name in timm, torchvision or a person's file.

Their layers and costs can only be had by building them, which takes torch. A process of its own
does that, once; what it finds is kept in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.folders import cache_folder, ensure_private
from engine.model_info import ModelInfo, listed

# Raise it when a change of code changes what is found in a model.
_VERSION = 2
_LIBRARIES = ("torch", "torchvision", "timm", "torch-pruning", "transformers")
_SECONDS = 900
_LOOK_SECONDS = 0.2
_LONGEST_ANSWER = 8 << 20
_SIZED = re.compile(r"(?P<base>.+)@(?P<size>\d{1,4})")
# A vision-language model: a folder in the layout of Hugging Face's hub, or a name there.
_HUB = re.compile(r"(?P<kind>hf|hf\+code):(?P<place>\S.*)", re.IGNORECASE)
# Packages offer models as entry points of this group, each a class or function as in a file.
ENTRY_POINTS = "oracle_tui.models"
INSTALLED = "installed"
_FILE = re.compile(r"(?P<path>.+\.py):(?P<attribute>[A-Za-z_]\w*)")

_known: dict[str, ModelInfo] = {}
_refused: dict[str, str] = {}


def is_outside_catalog(name: str) -> bool:
    """Whether a name is written as those of models outside the catalog are.

    They are `timm:NAME`, `torchvision:NAME`, `hf:NAME`, `FILE.py:NAME`, `installed:NAME`, and any
    model at another input size, `NAME@SIZE`.
    """
    name = name.strip()
    return (
        name.lower().startswith(("timm:", "torchvision:", f"{INSTALLED}:"))
        or split_hub(name) is not None
        or _FILE.fullmatch(split_size(name)[0]) is not None
        or _SIZED.fullmatch(name) is not None
    )


def split_size(name: str) -> tuple[str, int | None]:
    """Splits `NAME@SIZE` into name and size; the size is None where none is given."""
    sized = _SIZED.fullmatch(name.strip())
    return (sized["base"], int(sized["size"])) if sized else (name.strip(), None)


def split_file(name: str) -> tuple[Path, str] | None:
    """Splits `FILE.py:NAME` into the file's absolute path and the name in it; None for others."""
    found = _FILE.fullmatch(split_size(name)[0])
    return (Path(found["path"]).expanduser().absolute(), found["attribute"]) if found else None


def split_hub(name: str) -> tuple[str, bool] | None:
    """Splits `hf:PLACE` into the absolute folder or the hub's name, and whether its code may run.

    `hf+code:PLACE` says so. Returns None for other names.
    """
    found = _HUB.fullmatch(name.strip())
    if found is None:
        return None
    place = found["place"].strip()
    if Path(place).expanduser().is_dir() or place.startswith(("/", "~", ".")):
        place = str(Path(place).expanduser().absolute())
    return place, found["kind"].lower() != "hf"


def installed_model(name: str) -> importlib.metadata.EntryPoint:
    """Returns what an installed package offers under a name, without loading it.

    Raises:
        UsageError: None does.
    """
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    for point in found:
        if point.name == name:
            return point
    offered = listed(sorted(point.name for point in found), 12) or "none"
    raise UsageError(
        f"No installed package offers a model named {name!r} as an entry point of {ENTRY_POINTS}; "
        f"there is {offered}."
    )


def release_of(point: importlib.metadata.EntryPoint) -> str:
    """Returns what names a model of a package: the package, its version, and where it is there."""
    package = point.dist
    told = f"{package.name} {package.version} " if package is not None else ""
    return hashlib.blake2b(f"{told}{point.value}".encode(), digest_size=16).hexdigest()


def digest_of(path: Path) -> str:
    """Returns a name for the content of a person's model file; raises UsageError."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise UsageError(f"The model file {path} cannot be read: {error.strerror}.") from error


def look_up(name: str) -> ModelInfo | None:
    """Returns what was found in a model earlier, or None. Runs nothing of the model's."""
    name = _in_full(name)
    file = split_file(name)
    unchanged = split_hub(name) is None and (
        file is None or (name in _known and _known[name].digest == digest_of(file[0]))
    )
    if name in _known and unchanged:
        return _known[name]
    path = _cache_file(name)
    try:
        info = ModelInfo.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, UsageError):
        return None
    if info.name != name:
        return None
    _known[name] = info
    return info


def describe(name: str, wanted: Callable[[], bool] = lambda: True) -> ModelInfo:
    """Returns what can be pruned in a model; builds it in another process where that is not known.

    Args:
        name: As a person types it.
        wanted: Whether somebody still waits for the answer; the process is ended when it says no.

    Raises:
        UsageError: There is no such model, or nothing in it can be pruned.
    """
    name = _in_full(name)
    found = look_up(name)
    if found is not None:
        return found
    if name in _refused:
        raise UsageError(_refused[name])
    answer = ask_engine(name, "describe", wanted)
    try:
        if "error" in answer:
            sentence = str(answer["error"])[:1_000]
            if split_file(name) is None:
                _refused[name] = sentence
            raise UsageError(sentence)
        info = ModelInfo.from_json(answer["model"])
    except (KeyError, TypeError) as error:
        raise UsageError(f"What was found in {name} cannot be read: {error!r}.") from error
    _keep(name, answer["model"])
    _known[name] = info
    return info


def _in_full(name: str) -> str:
    """Returns the name under which a model is known: a file's with its absolute path."""
    hub = split_hub(name)
    if hub is not None:
        return f"{'hf+code' if hub[1] else 'hf'}:{hub[0]}"
    base, size = split_size(name)
    file = split_file(base)
    if file is not None:
        base = f"{file[0]}:{file[1]}"
    elif ":" in base:
        library, _, rest = base.partition(":")
        base = f"{library.lower()}:{rest.strip()}"
    else:
        base = base.lower().replace("_", "-")
    return base if size is None else f"{base}@{size}"


def ask_engine(name: str, verb: str, wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """Returns what `python -m engine VERB NAME` answers; raises UsageError where it fails."""
    package_folder = str(Path(__file__).resolve().parent.parent)
    search = os.pathsep.join(filter(None, [package_folder, os.environ.get("PYTHONPATH")]))
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", verb, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": search},
        )
        output, errors = _answer_of(process, wanted)
        # A model's own code may print; the answer is the last line.
        answer = json.loads(_last_line(output) or "null")
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"Looking into {name} was ended after {_SECONDS / 60:g} minutes; its layers are more "
            "than can be followed here."
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"Looking into {name} failed: {error}.") from error
    if not isinstance(answer, dict):
        raise UsageError(f"Looking into {name} failed: {_last_line(errors)[:300]}.")
    return answer


def _answer_of(process: subprocess.Popen[bytes], wanted: Callable[[], bool]) -> tuple[bytes, bytes]:
    """Waits for what a process prints; raises TimeoutExpired when it took too long."""
    end = time.monotonic() + _SECONDS
    with process:
        while True:
            try:
                return process.communicate(timeout=_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if time.monotonic() > end or not wanted():
                    process.kill()
                    raise


def _last_line(output: bytes) -> str:
    lines = output[-_LONGEST_ANSWER:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _cache_file(name: str) -> Path:
    determines = [str(_VERSION), name, *(_version(library) for library in _LIBRARIES)]
    file = split_file(name)
    if file is not None:
        determines.append(digest_of(file[0]))
    if name.startswith(f"{INSTALLED}:"):
        determines.append(release_of(installed_model(split_size(name)[0].partition(":")[2])))
    determines += _files_of_hub_folder(name)
    key = hashlib.blake2b("\n".join(determines).encode(), digest_size=10).hexdigest()
    return cache_folder() / "models" / f"{key}.json"


def _files_of_hub_folder(name: str) -> list[str]:
    """Returns what tells a changed folder from the one that was looked into; weights are large."""
    hub = split_hub(name)
    if hub is None or not Path(hub[0]).is_dir():
        return []
    stats = [(path.name, path.stat()) for path in sorted(Path(hub[0]).iterdir())]
    return [f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats]


def _keep(name: str, facts: dict[str, Any]) -> None:
    """Remembers what was found; a cache that cannot be written only costs time."""
    path = _cache_file(name)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        ensure_private(path.parent)
        temporary.write_text(json.dumps(facts), encoding="utf-8")
        os.replace(temporary, path)
    except (OSError, UsageError):
        temporary.unlink(missing_ok=True)


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
