"""Given weights as the state of a model: out of a file or a library, nothing of it run.

Files come from strangers: they are read without unpickling, and every tensor is compared with the
model's own before it is used.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.catalog import ModelInfo
from engine.errors import RunFileError, UsageError
from engine.spec import StudySpec
from engine.store.disk import open_regular, read_range
from engine.weights import Weights
from engine.work.models import family_of
from engine.work.tensor_files import MAX_BYTES
from engine.work.vision_ops import declare_vision_ops

# Under what names training scripts put a state_dict, and what they put before every name in it.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
_PREFIXES = ("module.", "_orig_mod.", "model.")
# The protocol's: what `pretrained=True` meant when the paper's code was written.
_TORCHVISION_TAG = "IMAGENET1K_V1"

State = dict[str, Tensor]


def given_state(
    spec: StudySpec, initial: Mapping[str, Tensor], classes: int, say: Callable[[str], None]
) -> State:
    """Returns the weights that a study begins with, as a state of its model.

    Args:
        spec: A study with weights.
        initial: The model's state before training, which a new classifier is taken from.
        classes: How many classes it tells apart.
        say: Called with a sentence when something is downloaded.

    Raises:
        UsageError: They are not there, are not what the study was made with, or do not fit.
    """
    assert spec.weights is not None
    if spec.weights.of_library:
        say(f"getting pretrained weights of {spec.model}")
        found = _from_library(spec.model_info, spec.weights)
        what = f"The pretrained weights of {spec.model_info.title}"
    else:
        found = read_state(Path(spec.weights.source), spec.weights)
        what = f"The weights {spec.weights.source}"
    return _fitting(what, found, initial, spec, classes)


def read_state(path: Path, weights: Weights | None = None) -> State:
    """Returns the tensors of a file of weights, by the names they have in a model.

    Args:
        path: What torch.save wrote of a state_dict, bare or wrapped as training scripts do; or a
            file of safetensors.
        weights: What the study knows of the file.

    Raises:
        UsageError: It cannot be read, is another one than the study's, or holds something else.
    """
    try:
        descriptor = open_regular(path)
        try:
            size = os.fstat(descriptor).st_size
            if size > MAX_BYTES:
                raise UsageError(f"The weights {path} are larger than {MAX_BYTES >> 30} GiB.")
            content = read_range(descriptor, 0, size)
        finally:
            os.close(descriptor)
    except (OSError, RunFileError) as error:
        why = getattr(error, "strerror", None) or "it is not a regular file"
        raise UsageError(f"The weights {path} cannot be read: {why}.") from error
    if weights is not None:
        weights.check_digest(hashlib.blake2b(content, digest_size=16).hexdigest())
    try:
        table = _unpacked(content)
    except Exception as error:  # torch and safetensors name no common type for a damaged file
        why = str(error).strip().splitlines()[0][:160] if str(error).strip() else repr(error)
        raise UsageError(
            f"{path} holds no tensors that can be read without running code of its own ({why}); "
            "save the model's state_dict() with torch.save, or as safetensors."
        ) from error
    found = _bare(table)
    if found is None:
        raise UsageError(f"{path} holds no state_dict: a table of tensors by their names.")
    return found


def _unpacked(content: bytes) -> Any:
    if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content):
        import safetensors.torch

        return safetensors.torch.load(content)
    data = io.BytesIO(content)
    if content[:2] == b"PK":
        with zipfile.ZipFile(data) as members:
            # torch stores without compression; other files may unfold without end.
            if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
                raise ValueError("its parts are compressed")
        data.seek(0)
    return torch.load(data, map_location="cpu", weights_only=True)


def _bare(table: Any) -> State | None:
    """Returns the state_dict in what a training script saved; None where there is none."""
    for _ in range(3):
        if not isinstance(table, Mapping):
            return None
        inner = next((table[name] for name in _WRAPPERS if _is_table(table.get(name))), None)
        if inner is None:
            break
        table = inner
    if not table or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in table.items()
    ):
        return None
    return dict(table)


def _stripped(found: State, initial: Mapping[str, Tensor]) -> State:
    """Returns the tensors without what wrapping modules put before all names, where they do."""
    for prefix in _PREFIXES:
        if set(found).isdisjoint(initial) and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _fitting(
    what: str, found: State, initial: Mapping[str, Tensor], spec: StudySpec, classes: int
) -> State:
    """Returns tensors as the state of the study's model; raises UsageError naming what differs."""
    assert spec.weights is not None
    # Old files do not count batches, which no evaluation looks at.
    counters = {n: t for n, t in initial.items() if n.endswith("num_batches_tracked")}
    found = {**counters, **_stripped(found, initial)}
    missing = [name for name in initial if name not in found]
    unexpected = [name for name in found if name not in initial]
    shaped = [n for n, t in initial.items() if n in found and found[n].shape != t.shape]
    classifier = _of_classifier(spec.model_info, initial, classes)
    if shaped and not missing and not unexpected and classifier.issuperset(shaped):
        if not spec.weights.tuned:
            their = max(len(found[name]) for name in shaped)
            raise UsageError(
                f"{what} tell {their:,} classes apart, and {spec.dataset} has {classes:,}; add "
                "--tune to train a new classifier, and all else on, by the pretraining recipe."
            )
        found |= {name: initial[name] for name in shaped}
    elif missing or unexpected or shaped:
        raise UsageError(
            f"{what} do not fit {spec.model_info.title}: "
            f"{_differences(found, initial, missing, unexpected, shaped)}."
        )
    state = {name: found[name].to(tensor.dtype) for name, tensor in initial.items()}
    spoilt = [n for n, t in state.items() if t.is_floating_point() and not t.isfinite().all()]
    if spoilt:
        raise UsageError(f"{what} hold numbers in {spoilt[0]} that are not finite.")
    return {name: tensor.clone() for name, tensor in state.items()}


def _differences(
    found: State,
    initial: Mapping[str, Tensor],
    missing: Sequence[str],
    unexpected: Sequence[str],
    shaped: Sequence[str],
) -> str:
    def counted(names: Sequence[str]) -> str:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        return f"{names[0][:100]}{more}"

    parts = []
    if missing:
        parts.append(f"{counted(missing)} missing")
    if unexpected:
        parts.append(f"{counted(unexpected)} unknown to the model")
    if shaped:
        theirs, ours = (_shape(of[shaped[0]]) for of in (found, initial))
        parts.append(f"{counted(shaped)} of other shapes ({theirs}, not {ours})")
    return "; ".join(parts)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _of_classifier(info: ModelInfo, initial: Mapping[str, Tensor], classes: int) -> set[str]:
    """Returns the names of the tensors whose shape follows from the number of classes."""
    with torch.random.fork_rng(devices=[]):
        other = family_of(info).build(info, classes + 1).state_dict()
    return {name for name, tensor in initial.items() if other[name].shape != tensor.shape}


def _from_library(info: ModelInfo, weights: Weights) -> State:
    declare_vision_ops()
    get = _from_torchvision if info.family == "torchvision" else _from_timm
    try:
        return get(info, weights.tag)
    except UsageError:
        raise
    except Exception as error:  # whatever a downloader raises
        why = str(error).strip().splitlines()[0][:160] if str(error).strip() else repr(error)
        raise UsageError(
            f"The pretrained weights of {info.title} cannot be had ({why}); download them "
            "elsewhere and give the file: --weights FILE."
        ) from error


def _from_torchvision(info: ModelInfo, tag: str) -> State:
    from torchvision import models

    known = {one.name: one for one in models.get_model_weights(info.source)}
    wanted = tag or (_TORCHVISION_TAG if _TORCHVISION_TAG in known else next(iter(known), ""))
    if wanted not in known:
        raise UsageError(_unknown(info, tag, sorted(known)))
    return dict(known[wanted].get_state_dict(progress=False, check_hash=True))


def _from_timm(info: ModelInfo, tag: str) -> State:
    import timm

    known = [n for n in timm.list_pretrained(f"{info.source}*") if n.split(".")[0] == info.source]
    tags = [name.partition(".")[2] for name in known]
    if not known or (tag and tag not in tags):
        raise UsageError(_unknown(info, tag, tags))
    name = f"{info.source}.{tag}" if tag else info.source
    options: dict[str, Any] = {"pretrained": True, "in_chans": info.channels}
    try:
        network = timm.create_model(name, **options, img_size=info.size)
    except TypeError:
        # Convolutional networks take any size and do not want to be told.
        network = timm.create_model(name, **options)
    return dict(network.state_dict())


def _unknown(info: ModelInfo, tag: str, known: Sequence[str]) -> str:
    if not known:
        return f"{info.family} has no pretrained weights of {info.title}; give a file of them."
    return f"{info.family} has no weights {tag!r} of {info.title}; it has {', '.join(known)}."
