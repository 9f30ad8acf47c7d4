"""A disk that runs full under a real engine; the full form is tests/engine_harness/full_disk.py."""

import os
import subprocess
import sys

import pytest

from tests.store_harness.disk_full import small_disk


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk, as root on Linux"
)
def test_a_full_disk_is_waited_out_told_and_costs_nothing() -> None:
    try:
        with small_disk(64):
            pass
    except OSError as error:
        pytest.skip(f"no disk can be mounted: {error}")
    command = [sys.executable, "-m", "tests.engine_harness.full_disk", "--times", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
