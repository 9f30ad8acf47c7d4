"""Short forms of tests/store_harness; docs/explanation/durability.md names the full ones."""

import os
import subprocess
import sys

import pytest

from tests.store_harness import boundaries, disk_full, flips, power_loss


def run_alone(name: str, *arguments: str) -> None:
    """Run a harness that forks in a process of its own, away from the threads of the tests."""
    command = [sys.executable, "-m", f"tests.store_harness.{name}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_nothing_acknowledged_is_lost_by_kill_9() -> None:
    run_alone("kill", "--times", "20")


def test_reader_beside_a_busy_writer_sees_every_acknowledged_row() -> None:
    run_alone("watch", "--seconds", "3")


def test_random_damage_is_refused_and_a_forged_seal_ends_no_process() -> None:
    run_alone("damage", "--times", "60")


def test_every_write_boundary_is_a_safe_place_to_die() -> None:
    assert boundaries.main(every=11) == 0


def test_modelled_power_loss_costs_nothing_acknowledged() -> None:
    assert power_loss.main(times=25, seed=3) == 0


def test_the_model_of_power_loss_notices_a_missing_fsync() -> None:
    assert power_loss.main(times=8, seed=3, without_fsync=True) > 0


def test_single_flipped_bits_are_noticed() -> None:
    assert flips.main(share=0.004, seed=2) == 0


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small disk, as root on Linux"
)
def test_full_disk_is_a_clean_error_and_work_goes_on() -> None:
    try:
        with disk_full.small_disk(64):
            pass
    except OSError as error:
        pytest.skip(f"no disk can be mounted: {error}")
    assert disk_full.main([12, 60, 200, 420, 500, 660]) == 0
