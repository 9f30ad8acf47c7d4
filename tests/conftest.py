"""What every test gets: folders of its own, one thread, and no dependence on the wall clock."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports torch or numpy: tests share two cores with their own engine processes.
for _library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
# Before anything imports Triton, which other libraries do: its kernels are tested on a CPU, and it
# asks for this once, as it is imported.
os.environ.setdefault("TRITON_INTERPRET", "1")
# Settings of whoever runs the tests.
for _name in ("NO_COLOR", "FORCE_COLOR", "CUDA_VISIBLE_DEVICES", "ORACLE_TUI_PACKS"):
    os.environ.pop(_name, None)

settings.register_profile(
    "deterministic", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("deterministic")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives each test its own folders of runs, cache and configuration; returns their parent."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ORACLE_TUI_RUNS", str(home / "runs"))
    monkeypatch.setenv("ORACLE_TUI_CACHE", str(home / "cache"))
    for variable, folder in (
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_CACHE_HOME", "xdg-cache"),
        ("XDG_STATE_HOME", "state"),
    ):
        monkeypatch.setenv(variable, str(home / folder))
    return home


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all studies of the session share, so that base networks are trained once."""
    return tmp_path_factory.mktemp("shared-cache")
