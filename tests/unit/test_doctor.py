import errno
import os
from pathlib import Path

import pytest

from engine.doctor import diagnose, folders
from engine.doctor.file_systems import is_network, match_mount, warning_of
from engine.doctor.folders import examine_folder
from engine.doctor.torch_probe import probe_torch
from engine.doctor.versions import versions

MOUNTS = [("/", "ext4"), ("/home", "nfs4"), ("/home/me", "tmpfs"), ("/home/me", "cifs")]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/etc/x", ("ext4", "/")),
        ("/home/you", ("nfs4", "/home")),
        ("/homes", ("ext4", "/")),
        ("/home/me/runs", ("cifs", "/home/me")),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, found: tuple[str, str]) -> None:
    assert match_mount(Path(path), MOUNTS) == found


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "lustre", "fuse.s3fs", "9p"])
def test_network_file_systems_are_warned_of(kind: str) -> None:
    assert is_network(kind)
    assert "fsync" in warning_of("The folder of runs", kind, "/mnt")


def test_a_local_disk_is_no_warning_and_memory_is() -> None:
    assert warning_of("x", "ext4", "/") == warning_of("x", "btrfs", "/") == ""
    assert "restart" in warning_of("x", "tmpfs", "/tmp")


def test_a_folder_that_works_is_left_as_it_was(tmp_path: Path) -> None:
    found = examine_folder("runs", tmp_path / "a" / "runs", probe=True)
    assert found.problems == []
    assert found.fsync_ms is not None
    assert found.file_system
    assert found.free_bytes > 0
    assert list((tmp_path / "a" / "runs").iterdir()) == []
    assert (tmp_path / "a" / "runs").stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_way_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = examine_folder("runs", tmp_path / "file" / "runs", probe=True)
    assert len(found.problems) == 1
    assert "file" in found.problems[0]


def test_others_who_may_write_are_warned_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (warning,) = [
        each for each in examine_folder("runs", tmp_path, probe=True).warnings if "others" in each
    ]
    assert "0777" in warning


def test_a_disk_that_does_not_take_an_fsync_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(folders.os, "fsync", refuse)
    (problem,) = examine_folder("runs", tmp_path, probe=True).problems
    assert "Input/output error" in problem
    assert list(tmp_path.iterdir()) == []


def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LEAST_BYTES", 1 << 60)
    assert any("of room" in each for each in examine_folder("x", tmp_path, probe=True).problems)
    monkeypatch.setattr(folders, "LEAST_BYTES", 0)
    monkeypatch.setattr(folders, "FEW_BYTES", 1 << 60)
    assert any("room left" in each for each in examine_folder("x", tmp_path, probe=True).warnings)


def test_versions_need_no_import() -> None:
    found = versions()
    assert found["python"]
    assert found["torch"]
    assert "oracle-tui" in found


def test_the_torch_of_an_engine_is_asked() -> None:
    answer = probe_torch(120)
    assert answer["error"] == ""
    assert answer["devices"]["cpu"] == "cpu"
    assert answer["kernel"]["usable"] in (True, False)


def test_a_torch_that_cannot_be_imported_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "site" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libcudart.so is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    told = diagnose(tmp_path / "runs", tmp_path / "config.toml")
    assert told["can_start"] is False
    (problem,) = told["problems"]
    assert "libcudart.so is missing" in problem


def test_a_torch_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "torch"
    slow.mkdir()
    (slow / "__init__.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "longer than 0.5 s" in probe_torch(0.5)["error"]


def test_gpus_that_cannot_be_computed_on_are_named() -> None:
    from engine.doctor import _gpu_warnings

    gpus = [{"name": "a GPU"}]
    engine = {"torch": "2.13.0", "devices": {"cpu": "cpu", "cuda:0": "a GPU"}, "broken": {}}
    assert _gpu_warnings(gpus, engine) == []
    assert _gpu_warnings([], {**engine, "devices": {"cpu": "cpu"}}) == []
    (unseen,) = _gpu_warnings(gpus, {**engine, "devices": {"cpu": "cpu"}})
    assert "torch 2.13.0 sees none of the 1 GPU(s)" in unseen
    why = "CUDA error: no kernel image is available for execution on the device"
    broken = {"cuda:0, a GPU,": why}
    (told,) = _gpu_warnings(gpus, {**engine, "devices": {"cpu": "cpu"}, "broken": broken})
    assert told == f"Nothing can be computed on cuda:0, a GPU, {why}; studies would fail there."
