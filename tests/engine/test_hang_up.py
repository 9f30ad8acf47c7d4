"""The terminal goes away under an app that started an engine; see tests/engine_harness/hang_up."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_hang_up_ends_the_app_and_leaves_the_engine_alone() -> None:
    command = [sys.executable, "-m", "tests.engine_harness.hang_up", "--times", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
