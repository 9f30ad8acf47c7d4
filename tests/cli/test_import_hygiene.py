"""What a command may import: checked on a real process's sys.modules."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TORCH = ("torch", "torchvision", "timm")
HEAVY = (*TORCH, "textual", "numba", "numpy", "scipy", "pandas", "h5py", "plotext")

PROBE = """
import json, sys
from oracle_tui.cli.main import run_command_line
code = run_command_line(sys.argv[1:])
sys.stdout.flush()
print(json.dumps({"code": code, "loaded": sorted(sys.modules)}), file=sys.stderr)
"""


def loaded_by(*arguments: str) -> tuple[int, set[str]]:
    """Runs a command in a fresh process; returns its exit code and the top packages it loaded."""
    probe = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, timeout=120
    )
    told = json.loads(probe.stderr.splitlines()[-1])
    return told["code"], {name.partition(".")[0] for name in told["loaded"]}


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("run", "--help"), ("models",), ("datasets",), ("presets",)],
)
def test_light_commands_import_nothing_heavy(arguments):
    code, loaded = loaded_by(*arguments)
    assert code == 0
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [("run", "--ratio", "2"), ("run", "--device", "cuda:999")])
def test_a_refusal_imports_nothing_heavy(arguments):
    code, loaded = loaded_by(*arguments)
    assert code == 2
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [("runs", "--json"), ("show", "nothing-of-that-name")])
def test_reading_runs_never_imports_torch_or_the_app(arguments):
    _, loaded = loaded_by(*arguments)
    assert loaded.isdisjoint((*TORCH, "textual"))


def test_the_app_itself_never_imports_torch():
    script = "import sys, oracle_tui.app; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = set(shown.stdout.split())
    assert loaded.isdisjoint((*TORCH, "scipy", "pandas", "h5py", "plotext"))


def test_every_quiet_module_is_under_the_contract_that_forbids_torch():
    root = Path(__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one["name"] == "The quiet floor never imports torch")
    found = {
        f"engine.{path.stem}"
        for path in (root / "engine").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    upstairs = {"engine.__init__", "engine.__main__", "engine.work"}
    assert found - upstairs == set(contract["source_modules"])
