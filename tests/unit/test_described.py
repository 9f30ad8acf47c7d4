"""Models outside the catalog: found by name or in a file, remembered, and refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import described
from engine.described import describe, is_outside_catalog, look_up, split_size
from engine.entries import problems_in, read_entries
from engine.errors import UsageError
from engine.folders import cache_folder
from engine.work.describe import describe_model

NET = """
from torch import nn

class Net(nn.Sequential):
    size, channels = 12, 1

    def __init__(self, classes):
        super().__init__(
            nn.Conv2d(1, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Flatten(),
            nn.Linear(WIDTH * 100, classes),
        )

def broken(classes):
    raise RuntimeError("no such luck")

def nothing(classes):
    print("{}")
    return 3
"""


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has looked into nothing yet."""
    monkeypatch.setattr(described, "_known", {})
    monkeypatch.setattr(described, "_refused", {})


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("timm:resnet26d", True),
        ("Torchvision:alexnet", True),
        ("my/net.py:Net", True),
        ("my/net.py:Net@64", True),
        ("resnet18@64", True),
        ("resnet18", False),
        ("0:", False),
        ("", False),
        ("@", False),
        ("net.txt:Net", False),
    ],
)
def test_names_tell_where_a_model_is(name: str, outside: bool) -> None:
    assert is_outside_catalog(name) is outside


def test_the_input_size_stands_behind_the_name() -> None:
    assert split_size("timm:resnet26d@64") == ("timm:resnet26d", 64)
    assert split_size("resnet18") == ("resnet18", None)


def test_a_persons_file_is_looked_into_once_until_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(NET.replace("WIDTH", "6"))
    name = f"{file}:Net"
    assert look_up(name) is None
    info = describe(name)
    assert [(layer.name, layer.filters) for layer in info.layers] == [("0", 6)]
    assert (info.channels, info.size, info.title) == (1, 12, "Net of net.py")
    assert info.count({"0": 3})[1] == 3 * 9 + 3 + 6 + 300 * 10 + 10
    spec = read_entries({"model": name, "ratio": "0.5"})
    assert (spec.facts, spec.space.total) == (info, 20)
    # Another process finds it in the cache.
    described._known.clear()
    assert look_up(name) == info
    file.write_text(NET.replace("WIDTH", "8"))
    assert look_up(name) is None
    assert describe(name).layers[0].filters == 8


def test_a_damaged_memory_of_a_model_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(NET.replace("WIDTH", "6"))
    name = f"{file}:Net"
    described._keep(name, describe_model(name).to_json())
    assert look_up(name) is not None
    described._known.clear()
    (kept,) = (cache_folder() / "models").iterdir()
    kept.write_text(kept.read_text()[:-9])
    assert look_up(name) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken", "could not build its model.*no such luck"),
        ("nothing", "gives no torch.nn.Module"),
        ("missing", "no class or function named 'missing'"),
    ],
)
def test_a_file_that_gives_no_model_is_told_in_a_sentence(
    tmp_path: Path, name: str, says: str
) -> None:
    file = tmp_path / "net.py"
    file.write_text(NET.replace("WIDTH", "6"))
    with pytest.raises(UsageError, match=says) as caught:
        describe_model(f"{file}:{name}")
    assert "\n" not in str(caught.value)


def test_a_lenet_takes_no_smaller_images() -> None:
    with pytest.raises(UsageError, match="32 pixels or more, not 28"):
        describe_model("lenet5@28")


def test_an_unknown_name_suggests_the_nearest() -> None:
    problems = problems_in({"model": "timm:resnet26dd"})
    assert problems == {
        "model": "timm has no classification model named 'resnet26dd'; did you mean timm:resnet26d?"
    }


def test_a_missing_file_is_told() -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        describe("/nowhere/net.py:Net")


def test_a_model_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.described._SECONDS", 0)
    with pytest.raises(UsageError, match="was ended after 0 minutes"):
        describe("timm:test_resnet@40")
