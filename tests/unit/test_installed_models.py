"""Models of installed packages: found by their entry points, and refused in a sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.entries import read_entries
from engine.errors import UsageError
from engine.work.models import build_model
from engine.work.models.installed import loaded

NETWORKS = """
from torch import nn

from .parts import body


class Net(nn.Sequential):
    size, channels = 12, 1

    def __init__(self, classes):
        super().__init__(nn.Conv2d(1, 6, 3), body(), nn.Flatten(), nn.Linear(6 * 100, classes))


number = 3
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package, whose modules import each other, with a model and what is none."""
    folder = tmp_path / "their_networks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "parts.py").write_text(
        "from torch import nn\n\n\ndef body():\n    return nn.ReLU()\n"
    )
    (folder / "net.py").write_text(NETWORKS)
    metadata = tmp_path / "their_networks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: their-networks\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[oracle_tui.models]\nnet = their_networks.net:Net\nnumber = their_networks.net:number\n"
        "lost = their_networks.nowhere:Net\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    search = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", search)
    yield metadata
    for name in [name for name in sys.modules if name.startswith("their_networks")]:
        del sys.modules[name]


def test_a_model_of_a_package_is_studied_by_its_name(package: Path) -> None:
    spec = read_entries({"model": "installed:net", "ratio": ".5", "candidates": "3"})
    assert (spec.layers, spec.model_info.size, spec.model_info.channels) == (("0",), 12, 1)
    assert spec.model_info.title == "net of their_networks.net"
    slim = build_model(spec.model_info, 7, {"0": 2})
    assert (slim[0].weight.shape[0], slim[3].weight.shape) == (2, (7, 200))
    facts = package / "METADATA"
    facts.write_text(facts.read_text().replace("1.0", "1.1"))
    with pytest.raises(UsageError, match="another release"):
        build_model(spec.model_info, 7)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("number", "no class or function that makes a model"),
        ("lost", "cannot be loaded: ModuleNotFoundError"),
        ("nobodys", "there is lost, net, number"),
    ],
)
def test_what_is_no_model_is_said_in_a_sentence(package: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refusal:
        loaded(name)
    assert len(str(refusal.value).splitlines()) == 1
