"""A person's .npz files and data classes: what is read, and what is refused."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.data_sources.arrays import checked
from engine.data_sources.describe import describe_data
from engine.entries import read_entries
from engine.errors import UsageError
from engine.spec import StudySpec
from engine.work.datasets import load_dataset
from engine.work.datasets.file_class import describe_class
from engine.work.datasets.stored import StoredImages

torch.set_num_threads(1)


def _arrays(channels: int = 1, side: int = 12, count: int = 20) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(channels)
    shape = (side, side) if channels == 1 else (side, side, channels)
    return {
        "x_train": generator.integers(0, 256, (count, *shape)).astype(np.uint8),
        "y_train": np.arange(count) % 4,
        "x_test": generator.integers(0, 256, (6, *shape)).astype(np.uint8),
        "y_test": np.arange(6, dtype=np.uint8)[:, None] % 4,
    }


def _saved(folder: Path, arrays: dict[str, np.ndarray], name: str = "mine.npz") -> str:
    np.savez_compressed(folder / name, **arrays)
    return str(folder / name)


def test_a_file_is_described_and_loaded(tmp_path: Path) -> None:
    arrays = _arrays()
    name = _saved(tmp_path, arrays)
    info = describe_data(name)
    assert (info.classes, info.channels, info.train_images, info.test_images) == (4, 1, 20, 6)
    assert (info.title, info.size, info.augmentation) == ("mine", 12, "none")
    # The set's own constants: its train images have mean 0 and deviation 1.
    assert info.mean == (round(arrays["x_train"].mean() / 255, 4),)
    assert info.std == (round(arrays["x_train"].std() / 255, 4),)
    data = load_dataset(info, size=12)
    assert data.train_labels.tolist() == (np.arange(20) % 4).tolist()
    assert abs(data.train_images.mean().item()) < 1e-3
    spec = read_entries({"dataset": name})
    assert StudySpec.from_json(spec.to_json()) == spec


def test_colours_may_come_first_or_last(tmp_path: Path) -> None:
    last = _arrays(3)
    first = {key: np.moveaxis(a, -1, 1) if key[0] == "x" else a for key, a in last.items()}
    one, other = (
        load_dataset(describe_data(_saved(tmp_path, arrays, f"{place}.npz")),
                     size=12, channels=3)
        for place, arrays in enumerate((last, first))
    )  # fmt: skip
    assert torch.equal(one.train_images, other.train_images)
    assert one.digest == other.digest
    assert describe_data(f"{tmp_path}/0.npz@augment=shift").augmented


def test_what_does_not_fit_into_memory_is_prepared_batch_by_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for channels in (1, 3):
        info = describe_data(_saved(tmp_path, _arrays(channels), f"{channels}.npz"))
        whole = load_dataset(info, size=32, channels=3)
        with monkeypatch.context() as patched:
            patched.setattr("engine.work.datasets._SHARE_OF_MEMORY", 0.0)
            stored = load_dataset(info, size=32, channels=3)
        assert isinstance(stored.train_images, StoredImages)
        assert not stored.in_memory
        assert stored.digest == whole.digest
        assert torch.equal(stored.train_images[2:11], whole.train_images[2:11])
        places = torch.tensor([19, 3, 3])
        assert torch.equal(stored.train_images[places], whole.train_images[places])


WRONG = {
    "floats": ({"x_train": np.zeros((20, 12, 12))}, "float64, not uint8"),
    "no images": ({"x_train": np.zeros((0, 12, 12), np.uint8)}, "shape"),
    "flat": ({"x_train": np.zeros((20, 144), np.uint8)}, "shape (20, 144)"),
    "four channels": ({"x_train": np.zeros((20, 12, 12, 4), np.uint8)}, "1 or 3 channels"),
    "not square": ({"x_train": np.zeros((20, 12, 13), np.uint8)}, "12 x 13"),
    "another size": ({"x_test": np.zeros((6, 13, 13), np.uint8)}, "different shapes"),
    "fewer labels": ({"y_train": np.zeros(19, int)}, "one for each image"),
    "labels as floats": ({"y_train": np.zeros(20)}, "float64"),
    "a negative label": ({"y_train": np.arange(20) - 1}, "count from 0"),
    "a gap": ({"y_train": np.arange(20) % 4 * 2}, "no image of class 1"),
    "one class": ({"y_train": np.zeros(20, int)}, "1 classes"),
    "a new class in the test set": ({"y_test": np.full(6, 4)}, "the label 4"),
    "objects": ({"y_test": np.array([None] * 6)}, "Python objects"),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_array_is_named(tmp_path: Path, change: dict[str, np.ndarray], says: str) -> None:
    name = _saved(tmp_path, {**_arrays(), **change})
    with pytest.raises(UsageError) as caught:
        describe_data(name)
    assert says in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = Path(_saved(tmp_path, _arrays()))
    whole = path.read_bytes()
    with pytest.raises(UsageError, match="name one that is there"):
        describe_data(f"{tmp_path}/other.npz")
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:200] + b"x" + whole[201:]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"mine\.npz") as caught:
            describe_data(str(path))
        assert "\n" not in str(caught.value)
    arrays = _arrays()
    del arrays["y_test"]
    with pytest.raises(UsageError, match="lacks the array y_test"):
        describe_data(_saved(tmp_path, arrays))


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = Path(_saved(tmp_path, _arrays()))
    huge = b"\x93NUMPY\x01\x00"
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 1000, 1000), }\n"
    huge += len(text).to_bytes(2, "little") + text.encode() + bytes(100)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in {**members, "x_train.npy": huge}.items():
            new.writestr(name, content)
    with pytest.raises(UsageError, match="cut short"):
        describe_data(str(path))


def test_a_changed_file_is_another_data_set(tmp_path: Path) -> None:
    name = _saved(tmp_path, _arrays())
    info = describe_data(name)
    arrays = _arrays()
    arrays["x_train"][0, 0, 0] ^= 1
    _saved(tmp_path, arrays)
    with pytest.raises(UsageError, match="has changed since this study was made"):
        load_dataset(info, size=12)
    assert describe_data(name).digest != info.digest


def test_a_data_class_is_run_elsewhere_and_remembered(tmp_path: Path) -> None:
    file = tmp_path / "data.py"
    file.write_text(
        "import numpy as np, os\n"
        "class Mine:\n"
        "    title, mean, std = 'My set', (0.5,), (0.25,)\n"
        "    def load(self):\n"
        f"        open({str(tmp_path / 'ran')!r}, 'a').write('x')\n"
        "        x = np.arange(640, dtype=np.int64).astype(np.uint8).reshape(10, 8, 8)\n"
        "        return x, np.arange(10) % 2, x[:4], np.arange(4) % 2\n"
        "class Empty:\n"
        "    pass\n"
        "def broken():\n"
        "    raise RuntimeError('no')\n"
    )
    info = describe_data(f"{file}:Mine")
    assert describe_data(f"{file}:Mine") == info
    assert (tmp_path / "ran").read_text() == "x"
    assert (info.title, info.mean, info.classes) == ("My set", (0.5,), 2)
    assert load_dataset(info, size=8).train_images.shape == (10, 1, 8, 8)
    with pytest.raises(UsageError, match="no class or function named"):
        describe_data(f"{file}:X")
    for name, says in (("Empty", "method load"), ("broken", "could not be made")):
        with pytest.raises(UsageError, match=says):
            describe_class(f"{file}:{name}")
    with pytest.raises(UsageError, match="four arrays"):
        checked([np.zeros(3)], "it")
