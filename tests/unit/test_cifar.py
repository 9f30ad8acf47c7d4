"""The CIFAR archives: what is read, what is refused, and the way into the study."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.catalog import DatasetInfo, find_dataset
from engine.data_sources.places import ARCHIVE_NAMES
from engine.errors import UsageError
from engine.work.datasets import cifar, load_dataset
from engine.work.datasets.cifar import ARCHIVES, read_archive
from engine.work.datasets.files import cache_of, remote_files

TINY = {
    "cifar10": replace(find_dataset("cifar10"), train_images=20, test_images=6),
    "cifar100": replace(find_dataset("cifar100"), train_images=20, test_images=6),
}
NAMES = sorted(TINY)


def test_the_archives_are_those_that_are_looked_for() -> None:
    assert {name: archive.name for name, archive in ARCHIVES.items()} == ARCHIVE_NAMES


def _records(count: int, classes: int, label_bytes: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    records = generator.integers(0, 256, (count, label_bytes + 3072)).astype(np.uint8)
    records[:, label_bytes - 1] = generator.integers(0, classes, count)
    return records


def _members(name: str) -> dict[str, bytes]:
    info, archive = TINY[name], ARCHIVES[name]
    each = info.train_images // len(archive.train)
    members = {
        member: _records(each, info.classes, archive.label_bytes, place).tobytes()
        for place, member in enumerate(archive.train)
    }
    members[archive.test] = _records(6, info.classes, archive.label_bytes, 99).tobytes()
    return members


def _write(
    path: Path, members: dict[str, bytes], also: Callable[[tarfile.TarFile], None] | None = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        if also is not None:
            also(tar)
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def _read(path: Path, name: str = "cifar10") -> tuple[cifar.Split, cifar.Split]:
    return read_archive(path, ARCHIVES[name], TINY[name])


@pytest.mark.parametrize("name", NAMES)
def test_images_and_labels_are_read_as_the_authors_describe_them(name: str, tmp_path: Path) -> None:
    members, archive = _members(name), ARCHIVES[name]
    train, test = _read(_write(tmp_path / "a.tar.gz", members), name)
    content = b"".join(members[member] for member in archive.train)
    record = archive.label_bytes + 3072
    for place in (0, 7, 19):
        own = content[place * record : (place + 1) * record]
        # CIFAR-100 has the coarse label first and the fine one, which is the class, second.
        assert train.labels[place] == own[archive.label_bytes - 1]
        red_first_row = list(own[archive.label_bytes : archive.label_bytes + 32])
        assert train.images[place, 0, 0].tolist() == red_first_row
        assert train.images[place, 2, 31, 31] == own[-1]
    assert train.images.shape == (20, 3, 32, 32)
    assert test.images.shape == (6, 3, 32, 32)
    assert train.labels.dtype == np.int64


@pytest.mark.parametrize("name", NAMES)
def test_a_set_in_the_cache_is_loaded_and_normalised(name: str, tmp_path: Path) -> None:
    info = TINY[name]
    members = _members(name)
    _write(cache_of(info) / ARCHIVES[name].name, members)
    data = load_dataset(info, download=False)
    train, _ = _read(cache_of(info) / ARCHIVES[name].name, name)
    images = torch.from_numpy(train.images).to(torch.float32).div(255)
    mean, std = torch.tensor(info.mean), torch.tensor(info.std)
    expected = images.sub(mean[:, None, None]).div(std[:, None, None])
    assert torch.equal(data.train_images, expected)
    assert data.augmented
    assert data.black is not None
    torch.testing.assert_close(data.black, -mean / std, rtol=1e-6, atol=0)


def test_other_members_are_passed_over_and_nothing_is_unpacked(tmp_path: Path) -> None:
    def also(tar: tarfile.TarFile) -> None:
        for name, kind in (("../evil", tarfile.REGTYPE), ("/evil", tarfile.SYMTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            tar.addfile(header)

    folder = tmp_path / "inner"
    train, _ = _read(_write(folder / "a.tar.gz", _members("cifar10"), also))
    assert len(train.labels) == 20
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "a.tar.gz"]


def _link(tar: tarfile.TarFile) -> None:
    header = tarfile.TarInfo(ARCHIVES["cifar10"].test)
    header.type, header.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tar.addfile(header)


def _twice(tar: tarfile.TarFile) -> None:
    content = _members("cifar10")[ARCHIVES["cifar10"].test]
    header = tarfile.TarInfo(ARCHIVES["cifar10"].test)
    header.size = len(content)
    for _ in range(2):
        tar.addfile(header, io.BytesIO(content))


def _many(tar: tarfile.TarFile) -> None:
    for place in range(100):
        tar.addfile(tarfile.TarInfo(f"empty{place}"))


def _huge(tar: tarfile.TarFile) -> None:
    header = tarfile.TarInfo("zeros")
    header.size = 2 << 20
    tar.addfile(header, io.BytesIO(bytes(header.size)))


@pytest.mark.parametrize(
    ("also", "says"),
    [
        (_link, "is not a file of"),
        (_twice, "twice"),
        (_many, "more than 64 entries"),
        (_huge, "that are not the set's"),
    ],
)
def test_hostile_archives_are_refused(
    also: Callable[[tarfile.TarFile], None], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        _read(_write(tmp_path / "a.tar.gz", _members("cifar10"), also))
    assert "\n" not in str(caught.value)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    members = _members("cifar10")
    whole = _write(tmp_path / "a.tar.gz", members).read_bytes()
    short = dict(members)
    short[ARCHIVES["cifar10"].test] = short[ARCHIVES["cifar10"].test][:-1]
    lacking = dict(members)
    del lacking[ARCHIVES["cifar10"].train[2]]
    label = dict(members)
    label[ARCHIVES["cifar10"].test] = b"\x0a" + label[ARCHIVES["cifar10"].test][1:]
    cases = {
        "cannot be read": whole[: len(whole) // 2],
        "cannot": b"not an archive",
        "is not a file of": _write(tmp_path / "b.tar.gz", short).read_bytes(),
        "lacks cifar-10-batches-bin/data_batch_3.bin": _write(
            tmp_path / "c.tar.gz", lacking
        ).read_bytes(),
        "label 10": _write(tmp_path / "d.tar.gz", label).read_bytes(),
    }
    for says, content in cases.items():
        path = tmp_path / "x.tar.gz"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=says) as caught:
            _read(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        _read(tmp_path / "absent.tar.gz")


def test_what_is_not_here_is_said_with_the_way_out() -> None:
    with pytest.raises(UsageError, match=r"cifar-10-binary\.tar\.gz into") as caught:
        load_dataset(TINY["cifar10"], download=False)
    assert "\n" not in str(caught.value)


def test_offline_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody listens on port 9 of this machine.
    monkeypatch.setattr("engine.work.datasets.files.MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(UsageError, match="could not be downloaded") as caught:
        load_dataset(TINY["cifar100"])
    assert "cifar-100-binary.tar.gz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_must_have_the_right_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = ARCHIVES["cifar10"]
    path = _write(tmp_path / archive.name, _members("cifar10"))
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(tmp_path)),
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(
        "engine.work.datasets.files.MIRRORS", (f"http://127.0.0.1:{server.server_port}/",)
    )
    try:
        with pytest.raises(UsageError, match="damaged"):
            load_dataset(TINY["cifar10"])
        assert not list(cache_of(TINY["cifar10"]).iterdir())
        right = replace(archive, md5=hashlib.md5(path.read_bytes()).hexdigest())
        for module in ("cifar", "files"):
            monkeypatch.setattr(f"engine.work.datasets.{module}.ARCHIVES", {"cifar10": right})
        assert len(load_dataset(TINY["cifar10"]).train_labels) == 20
    finally:
        server.shutdown()


@pytest.mark.parametrize("info", TINY.values(), ids=NAMES)
def test_the_archives_are_the_authors_binary_ones(info: DatasetInfo) -> None:
    (remote,) = remote_files(info)
    assert remote.name.endswith("-binary.tar.gz")
    assert len(remote.md5) == 32
    assert remote.mirrors == ("https://www.cs.toronto.edu/~kriz/",)
