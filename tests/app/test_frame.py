"""Frames: what is drawn stands where the cell map says, without asking plotext's insides."""

from __future__ import annotations

import numpy as np
import pytest

from oracle_tui.plots.frame import BELOW, LEFT, FrameCancelled, canvas_size, draw_frame
from oracle_tui.plots.line import LineData, draw_line
from oracle_tui.plots.reduction import CellMap, reduce_points
from oracle_tui.plots.scatter_data import ANOMALY, POINT, PROVISIONAL, ScatterData, draw_scatter
from oracle_tui.plots.window import ViewMode, Window, fit


@pytest.mark.parametrize("size", [(30, 10), (54, 18), (113, 33), (16, 7)])
@pytest.mark.parametrize(
    "window",
    [
        Window(0.0, 1.0, 0.0, 1.0),
        Window(-12345.6, 98765.4, 0.123456, 0.123499),
        Window(1e-9, 2e-9, -5.0, 5.0),
    ],
)
def test_a_point_is_drawn_in_the_cell_that_the_map_names(
    size: tuple[int, int], window: Window
) -> None:
    cells = CellMap(window, *canvas_size(*size))
    corners = [
        (0, 0),
        (cells.width - 1, 0),
        (0, cells.height - 1),
        (cells.width - 1, cells.height - 1),
        (cells.width // 2, cells.height // 3),
    ]
    for column, row in corners:
        x, y = cells.data(column, row)
        layer = reduce_points(np.array([x]), np.array([y]), cells, POINT)
        frame = draw_frame(cells, [layer], x_name="x")
        assert len(frame.rows) == size[1] == frame.height
        assert {len(line) for line in frame.rows} == {size[0]}
        found = [(line.index(POINT) - LEFT, at) for at, line in enumerate(frame.rows)
                 if POINT in line]  # fmt: skip
        assert found == [(column, row)]
        assert all(line[LEFT - 1] in "│┤┼" for line in frame.rows[: cells.height])
        assert frame.rows[cells.height][LEFT - 1] == "└"
    assert cells.height + BELOW == size[1]


def test_a_cancelled_frame_is_not_drawn() -> None:
    cells = CellMap(Window(0.0, 1.0, 0.0, 1.0), 20, 8)
    with pytest.raises(FrameCancelled):
        draw_frame(cells, [], x_name="x", cancelled=lambda: True)


def scatter(n: int) -> ScatterData:
    generator = np.random.default_rng(n)
    x = generator.gamma(2.0, 1.0, n)
    y = 0.95 - 0.01 * x + generator.normal(0, 0.01, n)
    oracle = int(np.argmin(x))
    y[oracle] = np.median(y)
    return ScatterData(
        candidate=np.arange(n),
        x=x,
        y=y,
        anomaly=y > y[oracle],
        oracle=oracle,
        best=int(np.argmax(y)),
        provisional_candidate=np.array([n]),
        provisional_x=np.array([float(np.median(x))]),
        provisional_y=np.array([float(y.min())]),
    )


def never() -> bool:
    return False


def test_series_differ_by_glyph() -> None:
    data = scatter(45)
    cells = CellMap(fit(data.x, data.y, ViewMode.ALL), 60, 20)
    text = "\n".join(draw_scatter(data, cells, never).rows)
    assert POINT in text
    assert ANOMALY in text
    assert text.count(PROVISIONAL) == 1


def test_forty_thousand_points_say_how_far_they_are_reduced() -> None:
    data = scatter(40_000)
    cells = CellMap(fit(data.x, data.y, ViewMode.ALL), 93, 27)
    frame = draw_scatter(data, cells, never)
    assert frame.note.startswith("40,001 in ")
    assert frame.note.endswith(" cells")
    assert int(frame.note.split()[2].replace(",", "")) < 93 * 27 * 8
    glyphs = set("".join(line[LEFT:] for line in frame.rows[: cells.height]))
    assert any("⠀" < glyph <= "⣿" for glyph in glyphs)
    assert glyphs & set("▘▝▖▗█")


def test_points_outside_are_counted() -> None:
    data = scatter(100)
    middle = Window(*np.quantile(data.x, (0.25, 0.75)), *np.quantile(data.y, (0.25, 0.75)))
    note = draw_scatter(data, CellMap(middle, 40, 12), never).note
    inside = int(note.split()[0])
    outside = int(note.split(", ")[1].split()[0])
    assert inside + outside == 101
    assert outside > 50


def test_a_line_lies_inside_its_band() -> None:
    n = np.arange(3.0, 46.0)
    tau, half = np.full(43, -0.5), 1 / np.sqrt(n)
    data = LineData(n, tau, tau - half, tau + half)
    cells = CellMap(Window(3.0, 45.0, -1.0, 1.0), 40, 12)
    rows = draw_line(data, cells, never).rows[:12]
    lines = [at for at, row in enumerate(rows) if any("⠀" < c <= "⣿" for c in row)]
    shaded = [at for at, row in enumerate(rows) if "░" in row]
    assert lines == [8] or lines == [9]
    assert min(shaded) < lines[0] < max(shaded)
