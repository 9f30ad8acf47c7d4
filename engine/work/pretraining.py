"""The base network: trained by the protocol, its best epoch kept, and remembered in the cache."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.catalog import ModelInfo
from engine.errors import RunFailure, UsageError
from engine.estimate import multiply_adds
from engine.folders import cache_folder, ensure_private
from engine.seeds import derive_seed
from engine.spec import StudySpec
from engine.work import cpu_layers
from engine.work.augment import pretrain_draws
from engine.work.batches import pretrain_order
from engine.work.datasets import ImageData
from engine.work.mixing import pretrain_mixes
from engine.work.models import build_model, family_of
from engine.work.packs import Pack, make_pack, network_of
from engine.work.packs.solo import has_own_layers
from engine.work.tensor_files import load_tensors, save_tensors
from engine.work.weights import given_state

# Raise it when a change of code changes the network that a spec gives.
VERSION = 1
_BATCHES_AT_A_TIME = 50
# There is only one base network, so torch's threads share a large one: one that takes so many
# multiply-adds an image. Always so many threads, whatever the machine has, because how many they
# are is part of the result.
_TORCH_THREADS = 2
_SHARED_FROM = 20_000_000
_LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class BaseNetwork:
    """The network that is pruned.

    Attributes:
        state: Its state_dict, float32 on the CPU.
        test_acc: Accuracy on the test set, 0..1.
        test_loss: Mean cross-entropy on the test set.
        train_acc: Accuracy on the train set, 0..1.
        train_loss: Mean cross-entropy on the train set.
        best_epoch: The epoch (counted from 0) it was taken after; -1 where it is as it was given.
        key: Names what determines it.
        cached: Whether it came out of the cache.
    """

    state: dict[str, Tensor]
    test_acc: float
    test_loss: float
    train_acc: float
    train_loss: float
    best_epoch: int
    key: str
    cached: bool

    @property
    def digest(self) -> str:
        """Names its weights: two machines may train other ones from the same spec."""
        digest = hashlib.blake2b(digest_size=8)
        for name, tensor in sorted(self.state.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        return digest.hexdigest()


def base_network(
    spec: StudySpec,
    data: ImageData,
    *,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
    checkpoint: Callable[[], None] | None = None,
    note: Callable[[str], None] | None = None,
    without: Collection[str] = (),
) -> BaseNetwork:
    """Returns a study's base network: out of the cache, or trained by the study's recipe.

    It is the epoch of best test accuracy, first on ties, as in the paper; or the study's given
    weights as they are.

    Args:
        spec: The study.
        data: Its data, on the device to train on.
        threads: Threads of the fused kernel.
        progress: Called with how many epochs are done.
        checkpoint: Called between steps; may raise to break off.
        note: Called with a sentence when something is worth the log.
        without: Kinds of pack that are not taken.

    Raises:
        RunFailure: Training gave no finite loss in any epoch.
        UsageError: The study's weights are not there, have changed or do not fit.
    """
    if spec.weights is not None:
        spec.weights.check()
    key = base_key(spec, data)
    path = cache_folder() / "base" / f"{key}.pt"
    say = note or (lambda sentence: None)
    rest = checkpoint or (lambda: None)
    with _only_trainer(key, rest, say):
        # Whoever held the lock before has most likely left what is wanted.
        found = _load(path, spec, data, key, say)
        if found is not None:
            return found
        if (released := family_of(spec.model_info).weights(spec.model_info)) is not None:
            # They are in a folder of their own and not kept once more.
            return _as_given(_new_pack(spec, released, data, threads, without), key)
        state = initial_state(spec, data.classes)
        if spec.weights is not None:
            state = given_state(spec, state, data.classes, say)
        pack = _new_pack(spec, state, data, threads, without)
        if spec.pretrains:
            trained = _train(spec, data, key, pack, progress or (lambda epochs: None), rest)
        else:
            trained = _as_given(pack, key)
        try:
            _save(path, trained)
        except (OSError, UsageError) as error:
            say(f"The base network could not be kept for other studies: {error}")
        return trained


@contextlib.contextmanager
def _only_trainer(
    key: str, checkpoint: Callable[[], None], say: Callable[[str], None]
) -> Iterator[None]:
    """Holds the lock of a base network, so that engines that share it train it once.

    The lock goes with the process that holds it. Where the folder cannot be written, or its file
    system has no locks, everyone trains: that costs time and nothing else.
    """
    try:
        folder = ensure_private(cache_folder() / "locks")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(folder / f"{key}.lock", flags, 0o600)
    except (OSError, UsageError):
        yield
        return
    told = False
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    break
            if not told:
                say("another engine trains the same base network; waiting for it")
            told = True
            checkpoint()
            time.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def base_key(spec: StudySpec, data: ImageData) -> str:
    """Returns a name for what determines a base network; two studies that share it share one."""
    device = data.train_images.device.type
    determines: dict[str, Any] = {
        "version": VERSION,
        "model": spec.model,
        "data": data.digest,
        "recipe": spec.pretrain.to_json(),
        "seed": spec.seed,
        "device": device,
    }
    if has_own_layers(spec.model_info, data.train_images.device, spec.precision):
        determines["cpu_layers"] = cpu_layers.VERSION
    if spec.model_info.digest:
        determines["model_file"] = spec.model_info.digest
    if spec.precision != "float32":
        determines["precision"] = spec.precision
    if spec.weights is not None:
        determines["weights"] = spec.weights.digest or spec.weights.source
    if not spec.pretrains:
        for unused in ("recipe", "seed", "precision", "cpu_layers"):
            determines.pop(unused, None)
    text = json.dumps(determines, sort_keys=True)
    return f"{spec.model}-{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}"


def initial_state(spec: StudySpec, classes: int) -> dict[str, Tensor]:
    """Returns torch's default initial weights, drawn from the study's seed."""
    # The modules draw from torch's global generator, which is put back as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(spec.seed, "init"))
        return dict(build_model(spec.model_info, classes).state_dict())


def _new_pack(
    spec: StudySpec,
    state: Mapping[str, Tensor],
    data: ImageData,
    threads: int,
    without: Collection[str],
) -> Pack:
    stacked = {name: tensor.unsqueeze(0) for name, tensor in state.items()}
    return make_pack(
        spec.model_info,
        stacked,
        data,
        spec.pretrain,
        threads=threads,
        torch_threads=torch_threads_of(spec.model_info),
        precision=spec.precision,
        without=without,
    )


def torch_threads_of(info: ModelInfo) -> int:
    """Returns how many of torch's threads share the base network of a model on a CPU."""
    return _TORCH_THREADS if multiply_adds(info, {}) >= _SHARED_FROM else 1


def _batches_at_a_time(spec: StudySpec) -> int:
    """As many as take a few seconds: fewer of networks that cost more than LeNet5-Mini."""
    cost = multiply_adds(spec.model_info, {}) / 450_000
    return max(1, min(_BATCHES_AT_A_TIME, int(_BATCHES_AT_A_TIME / max(1.0, cost))))


def _train(
    spec: StudySpec,
    data: ImageData,
    key: str,
    pack: Pack,
    progress: Callable[[int], None],
    checkpoint: Callable[[], None],
) -> BaseNetwork:
    count, recipe = len(data.train_labels), spec.pretrain
    piece = _batches_at_a_time(spec) * recipe.batch_size
    best: tuple[float, float, int] | None = None
    best_state = pack.state()
    for epoch in range(recipe.epochs):
        order = pretrain_order(spec.seed, epoch, count)
        draws = pretrain_draws(spec.seed, epoch, count) if data.augmented else None
        mixes = pretrain_mixes(spec.seed, epoch, recipe, count)
        for start in range(0, count, piece):
            moved = None if draws is None else draws.part(start, start + piece)
            mixed = None if mixes is None else mixes.part(start, start + piece)
            pack.train(order[start : start + piece], recipe.rate_at(epoch), moved, mixed)
            checkpoint()
        test = pack.evaluate("test")
        loss, accuracy = float(test.loss[0]), float(test.accuracy[0])
        if math.isfinite(loss) and (best is None or accuracy > best[0]):
            best, best_state = (accuracy, loss, epoch), pack.state()
        checkpoint()
        progress(epoch + 1)
    if best is None:
        raise RunFailure(
            "Pretraining diverged: the loss was never finite; use a lower learning rate."
        )
    pack.load_state(best_state)
    train = pack.evaluate("train")
    return BaseNetwork(
        state=network_of(best_state, 0),
        test_acc=best[0],
        test_loss=best[1],
        train_acc=float(train.accuracy[0]),
        train_loss=float(train.loss[0]),
        best_epoch=best[2],
        key=key,
        cached=False,
    )


def _as_given(pack: Pack, key: str) -> BaseNetwork:
    train, test = pack.evaluate("train"), pack.evaluate("test")
    if not math.isfinite(float(train.loss[0])):
        raise RunFailure("The given weights have no finite loss on this data; give others.")
    return BaseNetwork(
        state=network_of(pack.state(), 0),
        test_acc=float(test.accuracy[0]),
        test_loss=float(test.loss[0]),
        train_acc=float(train.accuracy[0]),
        train_loss=float(train.loss[0]),
        best_epoch=-1,
        key=key,
        cached=False,
    )


_FACTS = ("test_acc", "test_loss", "train_acc", "train_loss", "best_epoch")


def _save(path: Path, network: BaseNetwork) -> None:
    ensure_private(path.parent)
    content = {"state": network.state} | {name: getattr(network, name) for name in _FACTS}
    save_tensors(path, content, shared=True)


def _load(
    path: Path, spec: StudySpec, data: ImageData, key: str, say: Callable[[str], None]
) -> BaseNetwork | None:
    """Returns the cached network, or None, with a note, where the file is not what it should be."""
    if not path.is_file():
        return None
    try:
        content = load_tensors(path)
        state = _checked_state(content["state"], spec, data)
        facts = {name: float(content[name]) for name in _FACTS}
    except Exception as error:  # torch raises whatever its readers raise on a damaged file
        say(f"The cached base network {path} is damaged and is trained again ({error!r}).")
        return None
    best_epoch = int(facts.pop("best_epoch"))
    return BaseNetwork(state=state, best_epoch=best_epoch, key=key, cached=True, **facts)


def _checked_state(state: Mapping[str, Any], spec: StudySpec, data: ImageData) -> dict[str, Tensor]:
    wanted = build_model(spec.model_info, data.classes).state_dict()
    if set(state) != set(wanted):
        raise ValueError("its tensors are those of another model")
    for name, tensor in wanted.items():
        given = state[name]
        if given.shape != tensor.shape or given.dtype != tensor.dtype:
            raise ValueError(f"{name} has another shape")
        if not bool(torch.isfinite(given).all()):
            raise ValueError(f"{name} is not finite")
    return {name: state[name] for name in wanted}
