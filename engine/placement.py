"""Where a study is worked on: in the engine itself, in processes of this machine, or on Ray.

A placement is no part of a spec: it must not change a number.
"""

from __future__ import annotations

import importlib.util
import math
import re
from dataclasses import dataclass

from engine.study_rules import SpecError

KINDS = ("inline", "processes", "ray")
MAX_PROCESSES = 512

_PROCESSES = re.compile(r"processes(?::(\d{1,4}))?")
_RAY = re.compile(r"ray(?::(?P<address>[^,]+))?(?P<options>(?:,[a-z]+=[^,]+)*)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a study is worked on.

    Attributes:
        kind: One of `KINDS`.
        processes: How many processes, or None for one per free GPU or CPU core.
        address: Of the Ray cluster, or "" for the one Ray finds, else one on this machine.
        gpus: Share of a GPU that one Ray task asks for, or None for a whole one where there are
            GPUs.
        cpus: CPU cores that one Ray task asks for, and computes with.
        memory: Bytes of memory that one Ray task asks for, or None for as much as its data takes.
    """

    kind: str = "inline"
    processes: int | None = None
    address: str = ""
    gpus: float | None = None
    cpus: int = 1
    memory: int | None = None


def read_placement(text: str) -> Placement:
    """Returns the placement that `inline`, `processes[:N]` or `ray[:address]` names.

    A Ray placement may go on with `,gpus=0.5,cpus=4,memory=8G`: what one task asks for.

    Raises:
        SpecError: It names none; `field` is `executor`.
    """
    wanted = text.strip()
    if wanted == "inline":
        return Placement()
    if match := _PROCESSES.fullmatch(wanted):
        count = None if match[1] is None else int(match[1])
        if count is not None and not 1 <= count <= MAX_PROCESSES:
            raise _wrong(f"The processes must be from 1 to {MAX_PROCESSES}, not {count}.")
        return Placement("processes", processes=count)
    if match := _RAY.fullmatch(wanted):
        return _ray(match["address"] or "", match["options"])
    raise _wrong(f"The executor is inline, processes[:N] or ray[:address], not {text!r}.")


def check_executor(text: str) -> str:
    """Returns an executor as the run's config keeps it, once it is known to be usable here.

    Raises:
        SpecError: It names none, or needs an extra that is not installed.
    """
    if read_placement(text).kind == "ray":
        require_ray()
    return text.strip()


def require_ray() -> None:
    """Raises SpecError, saying how to get it, where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise _wrong(
            "The executor ray needs Ray, which is not installed; get it with "
            "`pip install 'oracle-tui[ray]'`."
        )


def _ray(address: str, options: str) -> Placement:
    given = dict(option.split("=", 1) for option in options.split(",") if option)
    gpus = _positive("gpus", given.pop("gpus")) if "gpus" in given else None
    cpus = _positive("cpus", given.pop("cpus", "1"))
    memory = _bytes(given.pop("memory")) if "memory" in given else None
    if given:
        raise _wrong(f"A Ray task asks for gpus, cpus and memory, not for {min(given)!r}.")
    if cpus != int(cpus):
        raise _wrong(f"A Ray task asks for whole CPU cores, not for {cpus:g}.")
    if gpus is not None and gpus > 1:
        raise _wrong(f"A candidate's pack uses one GPU or a share of it, not {gpus:g}.")
    return Placement("ray", None, address, gpus, int(cpus), memory)


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise _wrong(f"{name} of a Ray task must be a number above 0, not {text!r}.")
    return value


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise _wrong(f"memory of a Ray task is a size such as 8G, not {text!r}.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _wrong(sentence: str) -> SpecError:
    return SpecError("executor", sentence)
