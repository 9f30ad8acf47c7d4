"""Kill the real engine again and again during one study; its CSV equals an undisturbed one's.

Full form: ``python -m tests.engine_harness.kill --times 20``
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from engine.check import check_run
from engine.store.reader import RunReader
from engine.work.checkpoint import CHECKPOINTS
from tests.engine_harness import cases

STUDY = {"layers": "conv1", "ratio": "0.5", "epochs": "6", "pretrain_epochs": "5", "repeats": "2"}
PER_KILL = 6  # candidates, so that there is enough left to be interrupted


def standing(run: Path) -> tuple[int, float]:
    """Return what shows that the run got on: finished rows, and the checkpoint's time."""
    saved = 0.0
    for checkpoint in run.glob(CHECKPOINTS):
        with contextlib.suppress(FileNotFoundError):
            saved = max(saved, checkpoint.stat().st_mtime)
    return len(cases.finished(run)), saved


def stage(run: Path) -> str:
    """Return the stage that the engine last told."""
    with RunReader(run) as reader:
        live = reader.live()
    return live["stage"] if live else "starting"


def main(times: int, seed: int) -> int:
    """Kill an engine so many times over one study; return 0 where nothing was lost or changed."""
    rng = random.Random(seed)
    stages: collections.Counter[str] = collections.Counter()
    study = {**STUDY, "candidates": str(max(8, PER_KILL * times))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ORACLE_TUI_CACHE"] = str(folder / "cache")
        undisturbed, killed = (cases.make_run(folder / which, study) for which in "ab")
        seen: set[tuple[int, int]] = set()
        lost = kills = resumed_inside = 0
        while cases.status(killed) != "done":
            before = standing(killed)
            # Every epoch is checkpointed, so that a kill may also fall between two saved epochs.
            engine = cases.start(killed, ORACLE_TUI_CHECKPOINT_SECONDS="0")
            if kills < times:
                if kills % 4 == 3:  # anywhere, also before the first step
                    time.sleep(rng.uniform(0.1, 6))
                else:  # after some progress, so that the study gets on
                    cases.until(
                        lambda before=before, engine=engine: (
                            standing(killed) != before or engine.poll() is not None
                        ),
                        "progress",
                    )
                    time.sleep(rng.uniform(0, 0.5))
                if engine.poll() is None:
                    stages[stage(killed)] += 1
                    os.killpg(engine.pid, signal.SIGKILL)
                    kills += 1
            engine.wait(cases.PATIENCE)
            now = cases.finished(killed)
            lost += len(seen - now)
            seen |= now
        resumed_inside = (killed / "engine.log").read_text().count("going on with a pack")
        cases.start(undisturbed).wait(cases.PATIENCE)
        unlike = cases.differences(undisturbed, killed)
        whole = check_run(killed).whole
        rows = len(cases.table(killed, "candidates"))
    print(
        f"kills {kills} ({dict(stages)}), {resumed_inside} times gone on inside a pack; {rows} "
        f"rows, lost {lost}, tables that differ {unlike}, whole {whole}"
    )
    return 0 if kills >= times and not lost and not unlike and whole else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(main(arguments.times, arguments.seed))
