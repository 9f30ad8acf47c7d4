import math
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UsageError
from engine.statistics import (
    TauInterval,
    compare_with_published,
    find_panel,
    published_interval,
    read_published,
)

TABLE = Path(__file__).parents[2] / "data" / "published.csv"


@pytest.fixture(scope="module")
def panels():
    return read_published(TABLE)


def ours(tau, lower, upper):
    return TauInterval(tau, lower, upper, 0.95, 252, "")


def test_the_shipped_table_holds_36_distinct_panels(panels):
    assert len({panel.panel for panel in panels}) == 36
    assert sum(panel.candidates for panel in panels) == 13_426
    first = panels[0]
    assert (first.model, first.dataset, first.layers) == ("lenet5_mini", "mnist", "conv1")
    assert (first.ratio, first.candidates, first.repeats) == (0.2, 45, 3)
    assert (first.kendall_tau, first.p_value, first.anomaly_ratio) == (-0.60, 0.0, 0.0444)


def test_full_enumerations_have_as_many_candidates_as_there_are_choices(panels):
    for panel in panels:
        if panel.model == "lenet5_mini" and "+" not in panel.layers:
            assert panel.candidates == math.comb(10, round(10 * panel.ratio))


def test_every_panel_is_found_by_its_own_study(panels):
    for panel in panels:
        layers = panel.layers.split("+")
        assert find_panel(panels, panel.model, panel.dataset, layers[::-1], panel.ratio) is panel


def test_a_pattern_and_the_names_it_stands_for_are_one_choice(panels):
    names = [f"layer{s}.{b}.conv{c}" for s in (1, 2, 3) for b in range(9) for c in (1, 2)]
    first = [name for name in names if name.endswith("conv1")]
    found = find_panel(panels, "resnet56", "cifar10", first, 0.5, prunable=names)
    assert found is not None
    assert found.panel == "resnet56_conv10.5_lr2"
    assert find_panel(panels, "resnet56", "cifar10", first[:-1], 0.5, prunable=names) is None
    assert find_panel(panels, "resnet56", "cifar10", ["layer*.conv1"], 0.5, names) is found


def test_another_study_has_no_panel(panels):
    assert find_panel(panels, "lenet5_mini", "mnist", ["conv1"], 0.55) is None
    assert find_panel(panels, "lenet5_mini", "kmnist", ["conv2"], 0.5) is None
    assert find_panel(panels, "lenet5", "mnist", ["conv1"], 0.5) is None


def test_a_difference_needs_to_be_beyond_both_intervals(panels):
    panel = find_panel(panels, "lenet5_mini", "mnist", ["conv1"], 0.5)
    assert panel is not None
    theirs = published_interval(panel)
    assert theirs.lower < panel.kendall_tau < theirs.upper
    # Their tau is outside our interval and ours outside theirs, yet the two overlap.
    exclusive = compare_with_published(ours(-0.4, theirs.upper - 0.01, -0.3), panel)
    assert theirs.upper - 0.01 > panel.kendall_tau
    assert theirs.upper < -0.4
    touching = compare_with_published(ours(-0.2, theirs.upper, -0.1), panel)
    beyond = compare_with_published(ours(-0.2, theirs.upper + 0.01, -0.1), panel)
    below = compare_with_published(ours(-0.9, -0.95, theirs.lower - 0.01), panel)
    assert [c.differs for c in (exclusive, touching, beyond, below)] == [False, False, True, True]
    assert beyond.text.startswith("Differs from the paper: ours -0.20")
    assert touching.text.startswith(
        "The intervals overlap, so no difference from the paper is claimed"
    )


def test_no_tau_of_ours_is_no_comparison(panels):
    found = compare_with_published(ours(np.nan, np.nan, np.nan), panels[0])
    assert found.differs is None
    assert found.text.startswith("No tau of ours yet: ours undefined")


def test_published_intervals_narrow_with_n(panels):
    def width(n):
        found = [published_interval(p) for p in panels if p.candidates == n]
        return np.mean([i.upper - i.lower for i in found])

    assert width(45) > width(252) > width(1000)


@pytest.mark.parametrize(
    "content", [None, b"", b"panel,model\na,b\n", b"\xff\xfe\x00binary", b"panel\n\x00\n"]
)
def test_a_missing_or_foreign_table_is_one_clear_sentence(tmp_path, content):
    path = tmp_path / "published.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="reinstall to restore it"):
        read_published(path)
