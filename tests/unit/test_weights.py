"""Given weights: read without running anything, compared tensor by tensor, and never exchanged."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.catalog import find_model
from engine.entries import problems_in, read_entries
from engine.errors import UsageError
from engine.presets import QUICK
from engine.recipe import Recipe
from engine.spec import StudySpec
from engine.study_rules import SpecError
from engine.weights import Weights, read_weights
from engine.work.datasets import ImageData
from engine.work.models import build_model
from engine.work.pretraining import base_key, base_network
from engine.work.weights import given_state, read_state
from tests.digits import first_digits

torch.set_num_threads(1)
MODEL = find_model("lenet5-mini")


@pytest.fixture(scope="module")
def data() -> ImageData:
    return first_digits(300, 100)


def _state(seed: int = 1, classes: int = 10) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(build_model(MODEL, classes).state_dict())


def _spec(path: Path, *, tuned: bool = False) -> StudySpec:
    return QUICK.spec.with_(
        weights=read_weights(str(path), tuned=tuned), pretrain=Recipe(2, 0.01, batch_size=64)
    )


def _given(path: Path, *, tuned: bool = False) -> dict[str, Tensor]:
    return given_state(_spec(path, tuned=tuned), _state(2), 10, print)


def _as_safetensors(state: dict[str, Tensor], path: Path) -> None:
    save_file(state, path)


def _saved(wrap: Callable[[dict[str, Tensor]], Any]) -> Callable[[dict[str, Tensor], Path], None]:
    return lambda state, path: torch.save(wrap(state), path)


WRITERS: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    "bare": _saved(lambda state: state),
    "state_dict": _saved(lambda state: {"state_dict": state, "epoch": 3, "best": 0.5}),
    "model": _saved(lambda state: {"model": state, "optimizer": {"lr": 0.1}}),
    "module": _saved(lambda state: {"module." + name: t for name, t in state.items()}),
    "both": _saved(lambda s: {"net": {"module._orig_mod." + name: t for name, t in s.items()}}),
    "half": _saved(lambda state: {name: t.half() for name, t in state.items()}),
    "old": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "safetensors": _as_safetensors,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_files_of_many_kinds_give_the_models_state(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    WRITERS[kind](_state(), path)
    found = _given(path)
    assert list(found) == list(_state())
    for name, tensor in _state().items():
        wanted = tensor.half().float() if kind == "half" else tensor
        assert torch.equal(found[name], wanted)


def _without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: _without(s, "fc1.bias"), "fc1.bias missing"),
        (lambda s: _without(s, "conv2.bias", "fc1.bias"), "conv2.bias and 1 more missing"),
        (lambda s: s | {"fc9.bias": torch.zeros(1)}, "fc9.bias unknown to the model"),
        (
            lambda s: s | {"conv1.weight": torch.zeros(10, 3, 5, 5)},
            r"conv1.weight of other shapes \(10 x 3 x 5 x 5, not 10 x 1 x 5 x 5\)",
        ),
        (lambda s: s | {"fc1.bias": s["fc1.bias"] * float("nan")}, "fc1.bias that are not finite"),
        (
            lambda s: _state(1, 100),
            "weights .* tell 100 classes apart, and mnist-5k has 10; add --tune",
        ),
        (lambda s: {"weights": 3}, "no state_dict"),
        (lambda s: [1, 2], "no state_dict"),
        (lambda s: {}, "no state_dict"),
    ],
)
def test_what_does_not_fit_is_named_in_one_sentence(
    change: Callable[[dict[str, Tensor]], Any], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save(change(_state()), path)
    with pytest.raises(UsageError, match=says) as caught:
        _given(path)
    assert "\n" not in str(caught.value)


def test_a_new_classifier_is_for_those_who_train_on(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(_state(1, 100), path)
    found = _given(path, tuned=True)
    assert torch.equal(found["conv1.weight"], _state(1)["conv1.weight"])
    assert torch.equal(found["fc2.weight"], _state(2)["fc2.weight"])


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_file_of_a_stranger_runs_no_code(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    pickled = tmp_path / "pickled"
    pickled.write_bytes(pickle.dumps({"state_dict": _Evil(ran)}))
    saved = tmp_path / "saved"
    torch.save({"conv1.weight": _Evil(ran)}, saved)
    old = tmp_path / "old"
    torch.save({"conv1.weight": _Evil(ran)}, old, _use_new_zipfile_serialization=False)
    bomb = tmp_path / "bomb"
    buffer = io.BytesIO()
    torch.save(_state(), buffer)
    with (
        zipfile.ZipFile(buffer) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes((2).to_bytes(8, "little") + b"{x}" + bytes(40))
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for path in (pickled, saved, old, bomb, junk, empty):
        with pytest.raises(UsageError, match="without running code") as caught:
            read_state(path)
        assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_the_base_network_is_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: ImageData
) -> None:
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights.pt"
    torch.save(_state(), path)
    base = base_network(_spec(path), data)
    for name, tensor in _state().items():
        assert torch.equal(base.state[name], tensor)
    network = build_model(MODEL, 10)
    network.load_state_dict(_state())
    with torch.no_grad():
        right = (network(data.test_images).argmax(1) == data.test_labels).double().mean()
    assert base.test_acc == pytest.approx(float(right))
    assert (base.best_epoch, base.cached) == (-1, False)
    assert base_network(_spec(path), data).cached
    # The recipe is not used, so it does not matter; the content does, and its path does not.
    other = _spec(path).with_(pretrain=Recipe(1, 0.5), seed=4)
    assert base_key(other, data) == base_key(_spec(path), data)
    tuned = base_network(_spec(path, tuned=True), data)
    assert tuned.best_epoch >= 0
    assert not torch.equal(tuned.state["fc2.weight"], base.state["fc2.weight"])
    assert tuned.train_loss < base.train_loss


def test_a_changed_file_is_another_study_and_an_old_one_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: ImageData
) -> None:
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights.pt"
    torch.save(_state(), path)
    spec = _spec(path)
    base_network(spec, data)
    torch.save(_state(5), path)
    with pytest.raises(UsageError, match="is not what it was"):
        base_network(spec, data)
    assert _spec(path).hash != spec.hash
    path.unlink()
    assert base_network(spec, data).cached
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(tmp_path / "other cache"))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        base_network(spec, data)


def test_weights_in_specs_and_entries(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(_state(), path)
    spec = read_entries({"weights": str(path), "tune": "yes"}, QUICK)
    assert spec.weights is not None
    assert spec.weights.tuned
    assert StudySpec.from_json(spec.to_json()) == spec
    assert "weights" not in QUICK.spec.to_json()
    assert read_entries({"weights": "none"}, QUICK) == QUICK.spec
    assert read_entries({"model": "resnet18", "weights": "pretrained"}).weights == Weights(
        "pretrained"
    )
    for entries, says in (
        ({"weights": str(tmp_path / "none.pt")}, "cannot be read"),
        ({"weights": str(tmp_path)}, "cannot be read"),
        ({"weights": "pretrained"}, "No library has pretrained weights of LeNet5-Mini"),
        ({"tune": "yes"}, "--tune needs --weights"),
    ):
        problems = problems_in(entries)
        assert list(problems) == ["weights"]
        assert says in problems["weights"]
    for damage in ({"source": "x"}, {"source": "/x", "digest": "y"}, {"sauce": "/x"}, [], {}):
        with pytest.raises(UsageError):
            StudySpec.from_json({**spec.to_json(), "weights": damage})
    with pytest.raises(SpecError) as caught:
        QUICK.spec.with_(weights=Weights("pretrained:BEST"))
    assert caught.value.field == "weights"


def test_weights_of_libraries_are_their_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file as torchvision leaves it in its cache; then none, and no network to get it."""
    info = find_model("resnet18")
    torch.manual_seed(0)
    theirs = build_model(info, 1_000).state_dict()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(theirs, folder / "resnet18-f37072fd.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    spec = read_entries({"model": "resnet18", "weights": "pretrained"})
    found = given_state(spec, theirs, 1_000, lambda line: None)
    assert torch.equal(found["layer4.1.conv2.weight"], theirs["layer4.1.conv2.weight"])
    with pytest.raises(UsageError, match="tell 1,000 classes apart"):
        given_state(spec, build_model(info, 10).state_dict(), 10, lambda line: None)
    (folder / "resnet18-f37072fd.pth").unlink()
    with pytest.raises(UsageError, match=r"cannot be had .*--weights FILE") as caught:
        given_state(spec, theirs, 1_000, lambda line: None)
    assert "\n" not in str(caught.value)
    unknown = spec.with_(weights=Weights("pretrained:BEST"))
    with pytest.raises(UsageError, match=r"no weights .BEST. of ResNet18; it has IMAGENET1K_V1"):
        given_state(unknown, theirs, 1_000, lambda line: None)
