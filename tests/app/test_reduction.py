"""Points to cells and back: pure functions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oracle_tui.plots.reduction import CellMap, band, nearest, neighbour, polyline, reduce_points
from oracle_tui.plots.ticks import LABEL_WIDTH, label, nice_step, ticks
from oracle_tui.plots.window import ViewMode, Window, fit

CELLS = CellMap(Window(0.0, 10.0, 0.0, 5.0), 10, 5)


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def test_limits_lie_on_the_outer_edges_of_the_grid() -> None:
    assert CELLS.columns(array(0, 0.99, 1, 9.99, 10, -0.1, 10.1)).tolist() == [
        0, 0, 1, 9, 9, -1, -1,
    ]  # fmt: skip
    assert CELLS.rows(array(0, 0.99, 4.01, 5, 5.1)).tolist() == [4, 4, 0, 0, -1]


def test_what_is_not_finite_is_nowhere() -> None:
    assert CELLS.columns(array(np.nan, np.inf, -np.inf)).tolist() == [-1, -1, -1]


@given(st.integers(0, 9), st.integers(0, 4))
def test_the_middle_of_a_cell_maps_back_to_it(column: int, row: int) -> None:
    x, y = CELLS.data(column, row)
    assert CELLS.columns(array(x))[0] == column
    assert CELLS.rows(array(y))[0] == row


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=60),
    st.sampled_from(["braille", "quadrant", "•"]),
)
def test_every_point_inside_lights_its_own_cell_and_no_other(
    points: list[tuple[float, float]], glyph: str
) -> None:
    x, y = array(*(p[0] for p in points)), array(*(p[1] for p in points))
    reduced = reduce_points(x, y, CELLS, glyph)
    expected = set(zip(CELLS.columns(x).tolist(), CELLS.rows(y).tolist(), strict=True))
    assert set(zip(reduced.columns.tolist(), reduced.rows.tolist(), strict=True)) == expected
    assert len(reduced.glyphs) == len(expected)
    assert reduced.points == len(points)
    assert reduced.outside == 0
    assert len(expected) <= reduced.places <= len(points)


def test_braille_dots_stand_where_their_points_are() -> None:
    # One cell, its 2 x 4 dots from the top left to the bottom right.
    cell = CellMap(Window(0.0, 2.0, 0.0, 4.0), 1, 1)
    dots = [reduce_points(array(x), array(y), cell, "braille").glyphs
            for y in (3.5, 2.5, 1.5, 0.5) for x in (0.5, 1.5)]  # fmt: skip
    assert dots == ["⠁", "⠈", "⠂", "⠐", "⠄", "⠠", "⡀", "⢀"]
    everything = reduce_points(
        np.tile(array(0.5, 1.5), 4), np.repeat(array(3.5, 2.5, 1.5, 0.5), 2), cell, "braille"
    )
    assert everything.glyphs == "⣿"


def test_quadrants_stand_where_their_points_are() -> None:
    cell = CellMap(Window(0.0, 2.0, 0.0, 2.0), 1, 1)
    found = [reduce_points(array(x), array(y), cell, "quadrant").glyphs
             for y in (1.5, 0.5) for x in (0.5, 1.5)]  # fmt: skip
    assert found == ["▘", "▝", "▖", "▗"]


def test_a_steep_line_has_no_holes() -> None:
    cells = CellMap(Window(0.0, 1.0, 0.0, 1.0), 4, 8)
    line = polyline(array(0, 0.5, 0.5001, 1), array(0, 0, 1, 1), cells)
    jump = sorted(row for row, column in zip(line.rows, line.columns, strict=True) if column == 2)
    assert set(jump) | {7} == set(range(8))


def test_a_band_fills_between_its_ends_and_skips_gaps() -> None:
    cells = CellMap(Window(0.0, 4.0, 0.0, 4.0), 4, 4)
    filled = band(array(0, 4), array(1, 1), array(3, 3), cells)
    assert set(filled.rows.tolist()) == {1, 2}
    assert band(array(0, 4), array(np.nan, np.nan), array(3, 3), cells).points == 0


def test_the_cursor_finds_its_neighbours_in_cell_space() -> None:
    columns, rows = np.array([2, 8, 5, -1]), np.array([2, 2, 0, -1])
    assert nearest(columns, rows, 6, 1) == 2
    assert neighbour(columns, rows, 0, 1, 0) == 1
    assert neighbour(columns, rows, 1, -1, 0) == 0
    assert neighbour(columns, rows, 0, 0, 1) == 2
    assert neighbour(columns, rows, 2, 0, 1) is None
    assert nearest(np.array([-1]), np.array([-1]), 0, 0) is None


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_inside_and_their_labels_have_one_width(low: float, span: float) -> None:
    high = low + span
    step = nice_step(high - low, 5)
    for value in ticks(low, high, 5):
        assert low - 1e-6 * span <= value <= high + 1e-6 * span
        assert len(label(value, step)) == LABEL_WIDTH


def test_ticks_are_round() -> None:
    assert ticks(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
    assert label(0.6000000000000001, 0.2).strip() == "0.6"
    assert label(-0.0, 0.5).strip() == "0.0"


def test_a_live_window_leaves_far_outliers_outside_and_all_does_not() -> None:
    x = np.append(np.linspace(0, 1, 100), 1000.0)
    y = np.linspace(0.9, 0.95, 101)
    live, everything = fit(x, y, ViewMode.LIVE), fit(x, y, ViewMode.ALL)
    assert live.x_high < 2
    assert everything.x_high >= 1000
    assert live.y_low <= 0.9
    assert live.y_high >= 0.95


def test_a_window_moves_by_fractions_of_itself() -> None:
    window = Window(0.0, 10.0, 0.0, 4.0)
    assert window.panned(0.5, -0.25) == Window(5.0, 15.0, -1.0, 3.0)
    assert window.zoomed(2.0) == Window(2.5, 7.5, 1.0, 3.0)
    kept = window.zoomed(4.0, (0.0, 4.0))
    assert (kept.x_low, kept.y_high) == (0.0, 4.0)


def test_zooming_stops_before_numbers_run_out() -> None:
    window = Window(1.0, 1.1, 1.0, 1.1)
    for _ in range(200):
        window = window.zoomed(2.0)
    assert window.x_low < window.x_high


def test_no_points_and_one_point_have_a_window_too() -> None:
    empty = fit(array(), array(), ViewMode.LIVE)
    assert empty.x_low < empty.x_high
    single = fit(array(2.0), array(np.nan), ViewMode.ALL)
    assert single.x_low < 2.0 < single.x_high
