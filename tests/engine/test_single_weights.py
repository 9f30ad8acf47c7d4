"""Studies of single weights by real engines: kept, resumed, verified and exported."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from engine.check import check_run
from engine.masks import seed_of
from engine.store.reader import RunReader
from engine.store.writer import RunWriter
from engine.tables import export_csv
from tests.engine.conftest import start, wait_for, work_through
from tests.engine.test_study import table

MakeRun = Callable[..., Path]

WEIGHTS = {
    "granularity": "weights", "ratio": ".8", "layers": "conv1,conv2", "candidates": "3",
    "epochs": "1", "repeats": "1", "pretrain_epochs": "8",
}  # fmt: skip


def test_a_study_of_single_weights_is_kept_as_seeds_and_checksums(make_run: MakeRun) -> None:
    run = make_run(WEIGHTS)
    work_through(run)
    assert (
        "know no masks of single weights; computing with solo" in (run / "engine.log").read_text()
    )
    with RunReader(run) as reader:
        assert (reader.status, len(reader.rows)) == ("done", 4)
        seeds = [[seed_of(record) for record in reader.pruned(c)] for c in range(4)]
        assert len({tuple(pair) for pair in seeds}) == 4
        assert seeds[3] == [0, 0]
        assert reader.pruned(3) == reader.config["l1_pruned"]
        (found,) = reader.config["search"]
        assert (found["method"], found["candidate"]) == ("l1", 3)
        rows = reader.rows
        assert rows["pruned_train_loss"][3] == pytest.approx(found["pruned_train_loss"], abs=1e-6)
        # What has the smallest magnitudes is missed least, before retraining and after.
        assert rows["pruned_train_loss"].argmin() == 3
        exported = pd.read_csv(io.BytesIO(export_csv([reader], "candidates")))
    told = [json.loads(text) for text in exported["pruned"]]
    assert [one["conv2"]["seed"] for one in told] == [pair[1] for pair in seeds]
    assert exported["found_by"].tolist() == ["sample"] * 3 + ["l1"]
    assert check_run(run).whole
    _a_record_that_is_not_the_specs_is_found(run)


def _a_record_that_is_not_the_specs_is_found(run: Path) -> None:
    with RunReader(run) as reader:
        rows, pruned = reader.rows[1:2].copy(), reader.pruned(1)
        config, curve = dict(reader.config), reader.curves()[1:2]
    pruned[0][6] ^= 1
    other = run.with_name("spoilt")
    RunWriter.create(other, config | {"run_id": "spoilt"})
    with RunWriter.open(other) as writer:
        writer.append(rows, curve, [pruned])
    (error,) = [one.text for one in check_run(other).findings if one.level == "error"]
    assert error == "seeds or checksums of masks that are not those of the spec's candidate: 1."


@pytest.mark.slow
def test_a_study_of_single_weights_survives_a_kill(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_TUI_CHECKPOINT_SECONDS", "0")
    long = {**WEIGHTS, "candidates": "1", "epochs": "6", "recipe": "optimizer=adamw,ema=.9"}
    undisturbed, killed = make_run(long), make_run(long)
    work_through(undisturbed)
    engine = start(killed)
    wait_for(lambda: any(killed.glob("checkpoint-*.pt")), "the first checkpoint", engine)
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()
    work_through(killed)
    assert "going on with a pack" in (killed / "engine.log").read_text()
    for name in ("candidates", "curves"):
        pd.testing.assert_frame_equal(
            table(undisturbed, name), table(killed, name), check_exact=True
        )


@pytest.mark.slow
def test_a_residual_network_of_single_weights(make_run: MakeRun) -> None:
    run = make_run(
        {**WEIGHTS, "model": "resnet20@8", "layers": "layer*.conv1", "scope": "global",
         "pretrain_epochs": "1"}
    )  # fmt: skip
    work_through(run)
    with RunReader(run) as reader:
        assert (reader.status, len(reader.rows)) == ("done", 4)
        assert len(reader.pruned(0)) == 9
    assert check_run(run).whole
