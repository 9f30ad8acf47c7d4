"""What is told in one line stays in it, however narrow the terminal."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from oracle_tui.judging import Asked, judge
from oracle_tui.plots.plot import Plot
from oracle_tui.reading import RunFollower
from oracle_tui.view_parts import Facts
from oracle_tui.views import Stage
from oracle_tui.widgets.run_text import log_lines, spec_lines, stage_line
from oracle_tui.widgets.tabs import plot_name
from oracle_tui.widgets.words import Words
from tests.app.conftest import MakeRun


def test_a_running_study_is_told_in_one_line(make_run: MakeRun) -> None:
    view = RunFollower(make_run("done")).read()
    stage = Stage("retraining", 36, 135, "retrainings", 64_700.0, 71.0, "")
    view = replace(view, status="running", stage=stage, n_done=36, n_total=135)
    machine = "engine 0.49 GB"
    everything = stage_line(view, False, 100, machine)
    assert everything.endswith("64.7k samples/s   ETA 1:11 min   engine 0.49 GB")
    assert stage_line(view, False, 78, machine) == everything.removesuffix(f"   {machine}")
    narrow = stage_line(view, False, 58, machine)
    assert narrow.endswith("36/135   ETA 1:11 min")
    assert len(narrow) <= 58


def test_a_log_is_folded_and_its_times_are_short() -> None:
    log = (
        "2026-11-23T18:15:19.277+00:00 stage: pretraining",
        "2026-11-23T18:15:19.997+00:00 base network trained: test accuracy 0.9200, key lenet5-mini",
        "no time",
    )
    assert log_lines(log, 60) == [
        "2026-11-23 18:15:19Z stage: pretraining",
        "2026-11-23 18:15:19Z base network trained: test accuracy",
        "    0.9200, key lenet5-mini",
        "no time",
    ]


def test_the_cost_of_a_study_of_many_layers_stays_in_sight() -> None:
    judged = judge(Asked(("quick",), {"model": "resnet18"}))
    count, cost = judged.outlook.split("\n")
    assert count == "1,000 of 3.8e+410 candidates"
    assert "1,000 retrainings" in cost
    few = judge(Asked(("quick",), {"layers": "conv1,conv2"})).outlook
    assert few.startswith("C(10,2) x C(10,2) = 2,025 candidates\n")


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (60, "best test acc ↑            LIVE  29 in 24 cells, 1 outside"),
        (34, "best test acc ↑             LIVE"),
        (20, "best test ac… LIVE"),
    ],
)
def test_the_name_of_a_plot_keeps_its_distance(width: int, told: str) -> None:
    frame = SimpleNamespace(note="29 in 24 cells, 1 outside")
    plot = SimpleNamespace(
        frame=frame, mode=SimpleNamespace(value="LIVE"), size=SimpleNamespace(width=width)
    )
    said: list[str] = []
    words = cast(Words, SimpleNamespace(show=said.append))
    plot_name(cast(Plot, plot), words, "best test acc ↑")
    assert said == [told]
    assert len(told) == width - 2


def test_a_spec_is_told_in_words_and_once() -> None:
    lines = Facts(
        {
            "run_id": "x",
            "spec": judge(Asked(("quick",))).order.studies[0].to_json(),  # type: ignore[union-attr]
            "score_names": ["pruned_train_loss", "l1"],
            "device": "cpu",
            "environment": {
                "oracle_tui": "0.1.0",
                "device": "cpu",
                "workers": [{"host": "vm", "pid": 17}, {"host": "vm", "pid": 18}],
            },
        }
    ).lines
    told = dict(lines)
    assert len(told) == len(lines)
    assert told["scores"] == "pruned_train_loss, l1"
    shown = spec_lines(lines).plain.split("\n")
    assert f"{'oracle-tui':<19}0.1.0" in shown
    assert f"{'data set':<19}mnist-5k" in shown
    assert told["workers"] == "host vm, pid 17; host vm, pid 18"
