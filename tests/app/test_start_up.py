"""What the app's process imports, and when: never torch, the heavy rooms only after a paint."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "torchvision", "timm", "numba", "scipy", "pandas", "h5py", "plotext", "numpy")

# Asks the app itself: at its first paint, and again when its first screen shows the runs.
SCRIPT = f"""
import json, sys
from pathlib import Path
from oracle_tui.app import OracleApp
from oracle_tui.config import Config
from oracle_tui.screens.runs import RunsScreen

HEAVY = {HEAVY!r}
found = {{"import": [name for name in HEAVY if name in sys.modules]}}
from oracle_tui.screens.form import FormScreen

def look(moment):
    found[moment] = [name for name in HEAVY if name in sys.modules]

begin, warm = RunsScreen._begin, RunsScreen.on_runs_screen_warm

def looked_begin(screen):
    look("first paint")
    begin(screen)

def looked_warm(screen):
    warm(screen)
    look("warm")
    screen.action_new()

def looked_judged(screen, message):
    judged(screen, message)
    look("form")
    assert screen.order is not None
    screen.app.exit()

judged = FormScreen.on_form_screen_judged
FormScreen.on_form_screen_judged = looked_judged
RunsScreen._begin, RunsScreen.on_runs_screen_warm = looked_begin, looked_warm
OracleApp(Path(sys.argv[1]), config=Config()).run(headless=True, size=(80, 24))
print(json.dumps(found))
"""


def test_heavy_imports_come_after_the_first_paint_and_torch_never(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["import"] == []
    assert found["first paint"] == []
    assert set(found["warm"]) >= {"scipy", "h5py", "plotext", "numpy"}
    assert not {"torch", "torchvision", "timm", "numba"} & set(found["form"])
