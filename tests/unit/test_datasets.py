"""The data sets: what ships, what files from elsewhere may do, and the protocol's preparation."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.catalog import DatasetInfo, find_dataset
from engine.data_sources.places import IDX_NAMES as NAMES
from engine.errors import UsageError
from engine.work.datasets import files as dataset_files
from engine.work.datasets import load_dataset, prepare
from engine.work.datasets.files import Remote, cache_of, fetch, torchvision_files
from engine.work.datasets.idx import read_images, read_labels
from engine.work.datasets.resize import enlarge
from engine.work.vision_ops import declare_vision_ops

torch.set_num_threads(1)

# A set of the catalog's kind, small enough to be made here.
TINY = replace(find_dataset("mnist"), title="Tiny", train_images=20, test_images=7)


def _idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def _write_set(folder: Path, info: DatasetInfo = TINY) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = [
        generator.integers(0, 256, (info.train_images, 28, 28)),
        generator.integers(0, info.classes, info.train_images),
        generator.integers(0, 256, (info.test_images, 28, 28)),
        generator.integers(0, info.classes, info.test_images),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, arrays, strict=True):
        (folder / f"{name}.gz").write_bytes(gzip.compress(_idx(array)))
    return arrays


def test_the_shipped_digits_are_real_and_balanced() -> None:
    data = load_dataset(find_dataset("mnist-5k"), download=False)
    assert data.train_images.shape == (4_000, 1, 32, 32)
    assert data.test_images.shape == (1_000, 1, 32, 32)
    assert data.train_images.dtype == torch.float32
    assert data.train_labels.dtype == torch.int64
    assert data.train_labels.bincount().tolist() == [400] * 10
    assert data.test_labels.bincount().tolist() == [100] * 10
    assert data.classes == 10
    # MNIST's own constants: normalised, a fair sample has mean 0 and deviation near 1.
    assert abs(data.train_images.mean().item()) < 0.05
    assert 0.9 < data.train_images.std().item() < 1.05
    together = torch.cat([data.train_images, data.test_images]).flatten(1)
    assert len(torch.unique(together, dim=0)) == 5_000


def test_loading_twice_gives_the_same_data_and_digest() -> None:
    first, second = (load_dataset(find_dataset("mnist-5k"), download=False) for _ in range(2))
    assert first.digest == second.digest
    assert torch.equal(first.train_images, second.train_images)


def test_the_digest_follows_the_content_and_the_preparation(tmp_path: Path) -> None:
    arrays = [array.astype(kind) for array, kind in zip(_write_set(tmp_path), "BqBq", strict=True)]
    digest = prepare(TINY, *arrays).digest
    assert prepare(replace(TINY, mean=(0.5,)), *arrays).digest != digest
    arrays[2][3, 14, 14] ^= 1
    assert prepare(TINY, *arrays).digest != digest


@pytest.mark.parametrize("side", [28, 17, 31, 32])
def test_resizing_is_pillows_bilinear_to_the_last_bit(side: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (60, side, side)).astype(np.uint8)
    images[0], images[1] = 0, 255
    expected = [Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR) for i in images]
    assert np.array_equal(enlarge(images, 32), np.stack([np.asarray(i) for i in expected]))


def test_preparation_is_torchvisions_to_the_last_bit(tmp_path: Path) -> None:
    declare_vision_ops()
    from torchvision import transforms

    images, labels, *rest = _write_set(tmp_path)
    images, rest[0] = images.astype(np.uint8), rest[0].astype(np.uint8)
    theirs = transforms.Compose(
        [
            transforms.Resize(32),
            transforms.ToTensor(),
            transforms.Normalize(TINY.mean, TINY.std),
        ]
    )
    expected = torch.stack([theirs(Image.fromarray(image)) for image in images])
    assert torch.equal(prepare(TINY, images, labels, *rest).train_images, expected)


def test_files_in_the_cache_folder_are_found_gzipped_or_not() -> None:
    folder = cache_of(TINY)
    arrays = _write_set(folder)
    packed = folder / f"{NAMES[0]}.gz"
    (folder / NAMES[0]).write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    data = load_dataset(TINY, download=False)
    assert data.train_labels.tolist() == arrays[1].tolist()
    assert data.test_images.shape == (7, 1, 32, 32)


def test_a_distributions_folder_comes_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = _write_set(tmp_path / "system")
    monkeypatch.setattr(dataset_files, "SYSTEM_FOLDERS", {TINY.name: tmp_path / "system"})
    assert load_dataset(TINY, download=False).train_labels.tolist() == arrays[1].tolist()


def test_a_missing_set_says_where_to_put_it() -> None:
    with pytest.raises(UsageError, match="Tiny is not on this machine") as caught:
        load_dataset(TINY, download=False)
    assert str(cache_of(TINY)) in str(caught.value)


IMAGES = np.zeros((20, 28, 28))
DAMAGED = {
    "another magic": b"\0\0\x0d\x03" + _idx(IMAGES)[4:],
    "labels for images": _idx(np.zeros(20)),
    "empty": b"",
    "header only": _idx(IMAGES)[:10],
    "cut short": _idx(IMAGES)[:-1],
    "one byte more": _idx(IMAGES) + b"\0",
    "another count": _idx(np.zeros((21, 28, 28))),
    "a billion images": bytes([0, 0, 8, 3]) + np.array([1 << 30, 28, 28], ">u4").tobytes(),
    "giant images": bytes([0, 0, 8, 3]) + np.array([20, 1 << 31, 28], ">u4").tobytes(),
    "no rows": bytes([0, 0, 8, 3]) + np.array([20, 0, 28], ">u4").tobytes(),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused_in_a_sentence(
    tmp_path: Path, content: bytes, packed: bool
) -> None:
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UsageError, match="images") as caught:
        read_images(path, 20)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:-8] + bytes(8), lambda b: b[1:]])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(_idx(IMAGES))))  # type: ignore[operator]
    with pytest.raises(UsageError, match="remove the file"):
        read_images(path, 20)


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(_idx(np.array([0, 9, 10])))
    with pytest.raises(UsageError, match="the label 10"):
        read_labels(path, 3, 10)


def test_torchvisions_files_are_the_four_this_project_reads() -> None:
    for name in ("mnist", "fashion-mnist", "kmnist"):
        remotes = torchvision_files(find_dataset(name))
        assert [remote.name for remote in remotes] == [f"{one}.gz" for one in NAMES]
        assert all(len(remote.md5) == 32 and remote.mirrors for remote in remotes)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real HTTP server on this machine: its address, and the folder it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/", folder
        running.shutdown()
        thread.join()


def _offer(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Remote], list[np.ndarray]]:
    """Has the tiny set downloaded from the server in place of torchvision's mirrors."""
    url, folder = server
    arrays = _write_set(folder)
    remotes = [
        Remote(f"{name}.gz", hashlib.md5((folder / f"{name}.gz").read_bytes()).hexdigest(), (url,))
        for name in NAMES
    ]
    monkeypatch.setattr(dataset_files, "torchvision_files", lambda info: remotes)
    return remotes, arrays


def test_a_set_is_downloaded_once_with_progress(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, arrays = _offer(server, monkeypatch)
    lines: list[str] = []
    data = load_dataset(TINY, progress=lines.append)
    assert data.train_labels.tolist() == arrays[1].tolist()
    assert any("downloading Tiny" in line and "train-images" in line for line in lines)
    assert sorted(path.name for path in cache_of(TINY).iterdir()) == sorted(
        f"{name}.gz" for name in NAMES
    )
    lines.clear()
    assert load_dataset(TINY, progress=lines.append).digest == data.digest
    assert lines == []


def test_a_damaged_file_in_the_cache_is_downloaded_again(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _offer(server, monkeypatch)
    digest = load_dataset(TINY).digest
    (cache_of(TINY) / f"{NAMES[2]}.gz").write_bytes(b"half")
    assert load_dataset(TINY).digest == digest
    (cache_of(TINY) / f"{NAMES[2]}.gz").write_bytes(b"half")
    with pytest.raises(UsageError, match="t10k-images"):
        load_dataset(TINY, download=False)


def test_what_a_mirror_damages_is_not_kept(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remotes, _ = _offer(server, monkeypatch)
    remote = replace(remotes[1], md5="0" * 32)
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(UsageError, match=r"Tiny could not be downloaded .*damaged"):
        fetch(TINY, remote, target, lambda line: None)
    assert list(target.iterdir()) == []


def test_the_second_mirror_helps_when_the_first_fails(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remotes, _ = _offer(server, monkeypatch)
    url, _ = server
    remote = replace(remotes[1], mirrors=(f"{url}nothing-here/", url))
    fetch(TINY, remote, tmp_path, lambda line: None)
    assert (tmp_path / remote.name).is_file()


def test_offline_is_said_in_a_sentence(tmp_path: Path) -> None:
    # Nothing listens on port 1.
    remote = Remote("x.gz", "0" * 32, ("http://127.0.0.1:1/",))
    with pytest.raises(UsageError, match="connect to the internet") as caught:
        fetch(TINY, remote, tmp_path, lambda line: None)
    assert "\n" not in str(caught.value)


def test_breaking_off_a_download_leaves_nothing(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _offer(server, monkeypatch)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(TINY, progress=stop)
    assert list(cache_of(TINY).iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(
    not dataset_files.SYSTEM_FOLDERS["fashion-mnist"].is_dir(),
    reason="Debian's dataset-fashion-mnist is not installed",
)
def test_fashion_mnist_of_the_distribution() -> None:
    data = load_dataset(find_dataset("fashion-mnist"), download=False)
    assert data.train_labels.bincount().tolist() == [6_000] * 10
    assert abs(data.train_images.mean().item()) < 0.01
