"""The workbench of one study: data on the device, base network and plan, and packs made of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from engine import __version__
from engine.errors import RunFailure, UsageError
from engine.gpus import choose, this_user, visible_gpus
from engine.masks import MaskSpace
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.store.writer import RunWriter
from engine.work.datasets import ImageData
from engine.work.gpu import gpu_environment, torch_index, use
from engine.work.masking import Masking
from engine.work.models import slice_plan
from engine.work.needs import require_room, room_for_data
from engine.work.packs import (
    Evaluation,
    Pack,
    compiles,
    fused_trouble,
    make_pack,
    possible_kinds,
    quickest_kind,
    triton_trouble,
    warm_up,
)
from engine.work.packs.choose import KINDS
from engine.work.pretraining import BaseNetwork, base_network
from engine.work.scoring import masked_scores, pruned_scores
from engine.work.session import Session
from engine.work.study_data import libraries_of, require_memory, study_data
from engine.work.surgery import SlicePlan, candidate_states, l1_selection

# The filters a candidate loses, one tuple per pruned layer; of single weights, the records of its
# masks.
Pruned = tuple[tuple[int, ...], ...]

# Kinds of pack to choose from, for a machine on which one of them does not work.
_KINDS_VARIABLE = "ORACLE_TUI_PACKS"
_LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "h5py", "numba")


@dataclass(frozen=True, slots=True)
class Bench:
    """What every candidate of a study is built from and measured on.

    Attributes:
        spec: The study.
        device: Where it computes.
        threads: Threads that work on a pack on a CPU.
        data: The data set, on the device.
        base: The network that is pruned.
        plan: Its slice plan.
        picks: Candidates that a search found beside those of the space.
        kind: How packs are computed; None for the first kind there is.
        left_out: Kinds that do not work here, or were not to be used.
    """

    spec: StudySpec
    device: torch.device
    threads: int
    data: ImageData
    base: BaseNetwork
    plan: SlicePlan
    picks: tuple[Pruned, ...] = ()
    kind: str | None = None
    left_out: tuple[str, ...] = ()

    def candidate(self, candidate: int) -> Pruned:
        """Returns the filters a candidate loses; the picks' ids come after the space's."""
        space = self.spec.space
        return space[candidate] if candidate < len(space) else self.picks[candidate - len(space)]

    def work_order(self) -> list[int]:
        """Returns every candidate id: the space's in its seeded random order, then the picks."""
        space = self.spec.space
        return [*space.work_order(), *range(len(space), len(space) + len(self.picks))]

    @property
    def train_images(self) -> int:
        """How many images the train set has."""
        return len(self.data.train_labels)

    def score(self, candidates: Sequence[Pruned], progress: Callable[[int], None]) -> Evaluation:
        """Returns the pruned train loss and accuracy of candidates; `progress` may raise."""
        masking = self.masking
        if masking is not None:
            return masked_scores(
                self.spec.model_info,
                self.base.state,
                masking,
                candidates,
                self.data,
                threads=self.threads,
                without=self.left_out,
                progress=progress,
            )
        return pruned_scores(
            self.spec.model_info,
            self.base.state,
            self.plan,
            self.spec.layers,
            candidates,
            self.data,
            wiring=self.spec.wiring,
            threads=self.threads,
            without=self.left_out,
            progress=progress,
        )

    @property
    def masking(self) -> Masking | None:
        """What makes masks of candidates of single weights; None where filters are pruned."""
        space = self.spec.space
        if not isinstance(space, MaskSpace):
            return None
        return Masking(space, self.plan, self.spec.layers, self.base.state)

    def states(
        self, candidates: Sequence[Pruned]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Returns the pruned states of candidates, stacked (K, ...), and their masks if any."""
        spec, masking = self.spec, self.masking
        if masking is not None:
            return masking.states(candidates)
        return (
            candidate_states(self.base.state, self.plan, spec.layers, candidates, spec.wiring),
            None,
        )

    def make_pack(self, candidates: Sequence[Pruned], recipe: Recipe | None = None) -> Pack:
        """Returns a pack of candidates that are pruned and not yet retrained.

        Args:
            candidates: The candidates.
            recipe: What they will be trained by; the study's where None.
        """
        spec = self.spec
        states, masks = self.states(candidates)
        return make_pack(
            spec.model_info,
            states,
            self.data,
            recipe or spec.retrain,
            threads=self.threads,
            kind=self.kind,
            precision=spec.precision,
            masks=masks,
            tuning=spec.tuning,
        )

    def l1_choice(self) -> Pruned:
        """Returns the candidate that L1-norm pruning of the base network chooses."""
        masking = self.masking
        if masking is not None:
            return masking.magnitude_pick()
        return tuple(
            tuple(l1_selection(self.base.state, self.plan[layer], count))
            for layer, count in zip(self.spec.layers, self.spec.space.pruned, strict=True)
        )


def prepare(spec: StudySpec, writer: RunWriter, session: Session, workers: int = 1) -> Bench:
    """Sets up the bench: loads the data, gets the base network, and records what it works with.

    Raises:
        StopRequested: A stop was requested.
        OracleError: The device or the data is not there, or pretraining diverged.
    """
    session.stage("preparing")
    asked = str(writer.config.get("device_asked") or writer.config.get("device") or "auto")
    device = pick_device(asked, writer.log)
    threads = len(os.sched_getaffinity(0))
    writer.log(f"{spec.model} on {spec.dataset}, {spec.space.formula()}; device {device}")

    told_before = ""

    def told(line: str) -> None:
        # A download tells its percentage several times a second; the log gets one line a file.
        nonlocal told_before
        subject = line.partition(":")[0]
        if subject != told_before:
            writer.log(line)
        told_before = subject
        session.say(note=line)
        session.checkpoint()

    if not spec.dataset_info.asks:
        require_room(spec, device, threads)

    def decoded(done: int, total: int) -> None:
        session.say(stage_done=done, stage_total=total, stage_unit="images")
        session.checkpoint()

    data = study_data(spec, progress=told, count=decoded, room=room_for_data(device)).to(device)
    require_memory(spec, data, device)
    session.say(note="")
    plan = slice_plan(spec.model_info, data.classes)
    left_out = _left_out(writer)
    if compiles(spec.model_info, data, spec.precision):
        _compile(spec, data, writer, session)
    elif device.type == "cpu" and fused_trouble():
        writer.log(fused_trouble())
    elif trouble := triton_trouble(spec.model_info, data):
        writer.log(trouble)
    kind = _kind(spec, data, threads, writer, session, workers, left_out)
    session.stage("pretraining", spec.pretrain.epochs if spec.pretrains else 0, "epochs")

    def trained(epochs: int) -> None:
        session.say(stage_done=epochs)

    base = base_network(
        spec,
        data,
        threads=threads,
        progress=trained,
        checkpoint=session.checkpoint,
        note=writer.log,
        without=left_out,
    )
    known = writer.config.get("base_digest")
    if spec.weights is not None and known not in (None, base.digest):
        raise RunFailure(
            "The weights are not those that this run was begun with; put the old ones back, or "
            "make a new run."
        )
    origin = "from the cache" if base.cached else "trained" if spec.pretrains else "as given"
    writer.log(f"base network {origin}: test accuracy {base.test_acc:.4f}, key {base.key}")
    bench = Bench(spec, device, threads, data, base, plan, kind=kind, left_out=tuple(left_out))
    writer.config = {
        **writer.config,
        "device": str(device),
        "device_asked": asked,
        "base_digest": base.digest,
        "base_test_acc": base.test_acc,
        "base_test_loss": base.test_loss,
        "base_train_loss": base.train_loss,
        "l1_pruned": [list(layer) for layer in bench.l1_choice()],
        "environment": environment(device, threads, kind) | libraries_of(spec),
    }
    return bench


def _compile(spec: StudySpec, data: ImageData, writer: RunWriter, session: Session) -> None:
    """Compiles kernels, or loads them from an earlier time, as a stage of its own."""
    session.stage("compiling", 0, "parts")

    def compiled(done: int, total: int) -> None:
        session.say(stage_done=done, stage_total=total)
        session.checkpoint()

    began = time.monotonic()
    warm_up(spec.model_info, spec.kept, data, compiled)
    writer.log(f"kernels ready after {time.monotonic() - began:.1f} s")


def _kind(
    spec: StudySpec,
    data: ImageData,
    threads: int,
    writer: RunWriter,
    session: Session,
    workers: int,
    left_out: list[str],
) -> str:
    """Returns how packs are computed: as in an earlier part of this run, else what is quickest.

    A run keeps to one kind, because kinds round differently. Kinds that do not work here are added
    to `left_out`, and to what the run records: a process whose GPU one of them broke ends, and the
    next one does without.
    """
    info, kept = spec.model_info, spec.kept
    kinds = possible_kinds(info, kept, data, spec.precision, spec.retrain, masked=spec.masked)
    plain = possible_kinds(info, kept, data, spec.precision)
    if plain[0] not in (*kinds, *left_out):
        masks = ("masks of single weights",) if spec.masked else ()
        beyond = " and ".join((*masks, *spec.retrain.beyond_plain))
        writer.log(f"packs of kind {plain[0]} know no {beyond}; computing with {kinds[0]}")
    before = writer.config.get("environment")
    if isinstance(before, dict) and before.get("pack") in kinds:
        return str(before["pack"])
    kinds = [kind for kind in kinds if kind not in left_out] or ["solo"]
    if data.train_images.device.type == "cpu":
        return kinds[0]
    # The first launch of a Triton kernel compiles it.
    session.stage("compiling")
    retrainings = int(writer.config.get("n_total") or spec.rows)
    try:
        return quickest_kind(
            info,
            kept,
            data,
            spec.retrain,
            kinds=kinds,
            threads=threads,
            precision=spec.precision,
            samples=retrainings * spec.retrain.epochs * len(data.train_labels) / workers,
            say=writer.log,
            left_out=left_out,
        )
    finally:
        writer.config = {**writer.config, "kinds_left_out": sorted(set(left_out))}


def _left_out(writer: RunWriter) -> list[str]:
    """Returns the kinds of pack that did not work here before, or that a person left out."""
    found = [str(kind) for kind in writer.config.get("kinds_left_out") or []]
    if asked := os.environ.get(_KINDS_VARIABLE, "").split():
        if unknown := sorted(set(asked) - set(KINDS)):
            raise UsageError(
                f"{_KINDS_VARIABLE} names {unknown[0]!r}; kinds of pack are {' '.join(KINDS)}."
            )
        found += [kind for kind in KINDS if kind not in asked]
    return found


def pick_device(name: str, say: Callable[[str], None]) -> torch.device:
    """Returns the device for `auto`, `cpu`, `cuda` or `cuda:1`.

    `auto` and `cuda` take a free GPU; one that is named by its number may be shared, and it is
    said with whom.

    Raises:
        UsageError: torch does not see it, or no GPU is free.
    """
    if name == "auto" and not torch.cuda.is_available():
        name = "cpu"
    gpus = visible_gpus() if name != "cpu" and torch.cuda.is_available() else []
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if begun and name in ("auto", "cuda"):
        # An earlier run of this process took it; what that one left there is no other user's.
        name = f"cuda:{torch.cuda.current_device()}"
    elif gpus and ":" not in name:
        name = f"cuda:{torch_index(choose(gpus, 1, this_user())[0], gpus)}"
    elif name == "auto":
        name = "cuda"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"There is no device named {name!r}; use auto, cpu or cuda.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"There is no device {name} for this torch; use auto or cpu.")
    for gpu in gpus:
        if torch_index(gpu, gpus) == (device.index or 0):
            say(f"computing on {gpu}")
    return use(device)


def environment(device: torch.device, threads: int, kind: str) -> dict[str, Any]:
    """Returns what a reader needs to know to repeat the numbers elsewhere."""
    return {
        "oracle_tui": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **gpu_environment(device),
        "threads": threads,
        "pack": kind,
        **{library: version(library) for library in _LIBRARIES},
    }
