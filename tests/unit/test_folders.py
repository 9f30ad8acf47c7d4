"""Where things live, and that what is made there is private."""

import stat
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.folders import cache_folder, ensure_private, runs_folder, shipped_folder


def test_flag_before_environment_before_default(monkeypatch, tmp_path):
    monkeypatch.setenv("ORACLE_TUI_RUNS", str(tmp_path / "from-environment"))
    assert runs_folder(tmp_path / "given") == tmp_path / "given"
    assert runs_folder() == tmp_path / "from-environment"
    monkeypatch.delenv("ORACLE_TUI_RUNS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert runs_folder() == tmp_path / "data" / "oracle-tui" / "runs"


def test_cache_follows_environment_then_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ORACLE_TUI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "oracle-tui"


def test_home_is_understood(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runs_folder("~/studies") == tmp_path / "studies"


def test_every_folder_made_is_its_owners_alone(tmp_path):
    made = ensure_private(tmp_path / "a" / "b")
    assert made == tmp_path / "a" / "b"
    for folder in (made, made.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert ensure_private(made) == made


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError) as caught:
            ensure_private(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_place_where_nothing_can_be_made_is_one_sentence():
    with pytest.raises(UsageError, match=r"/proc/nowhere.* cannot be made"):
        ensure_private(Path("/proc/nowhere/runs"))


def test_shipped_files_are_there():
    assert (shipped_folder() / "published.csv").is_file()
