"""What the form says of single weights, recipes and given weights, and how a sweep lists them."""

from __future__ import annotations

from pathlib import Path

from oracle_tui.judging import Asked, judge, listing_of

QUICK = ("quick",)


def test_how_many_weights_go_is_told() -> None:
    masks = {"granularity": "weights", "layers": "conv1,conv2", "candidates": "3"}
    of_each = judge(Asked(QUICK, masks))
    of_all = judge(Asked(QUICK, {**masks, "scope": "global"}))
    assert of_each.hints["ratio"] == "50 of 250, 500 of 2,500 weights go"
    assert of_all.hints["ratio"] == "550 of 2,750 weights go"
    assert judge(Asked(QUICK)).hints["ratio"] == "2 of 10 filters go"


def test_a_sweep_lists_all_in_which_its_studies_differ(tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"some")
    judged = judge(
        Asked(
            QUICK,
            {
                "candidates": "3",
                "weights": str(weights),
                "tune": "yes; no",
                "recipe": "ema=.9; optimizer=adamw,lr=.01",
                "granularity": "filters; weights",
            },
        )
    )
    assert judged.problems == {}
    assert judged.order is not None
    listing = listing_of(judged.order, 100)
    for title in ("recipe", "tune", "granularity"):
        assert title in listing.titles
    assert len({line[1:-1] for line in listing.lines}) == len(listing.lines) == 8
    assert "weights" in listing.shared


def test_a_wrong_entry_of_a_sweep_is_named() -> None:
    for entries, field in (
        ({"recipe": "ema=.9; emma=.9"}, "recipe"),
        ({"granularity": "filters; wieghts", "candidates": "3"}, "granularity"),
        ({"weights": "nowhere.pt", "candidates": "3; 4"}, "weights"),
        ({"scope": "global; layer"}, "scope"),
    ):
        judged = judge(Asked(QUICK, entries))
        assert judged.order is None
        assert list(judged.problems) == [field]
