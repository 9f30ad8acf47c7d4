"""The scatter of a run as plain lines, for a person without the app."""

from __future__ import annotations

import shutil
from pathlib import Path

_WIDEST, _HEIGHT = 100, 24


def scatter_lines(run: Path) -> list[str]:
    """Returns the scatter of score against outcome, drawn as the app draws it, with its legend."""
    from oracle_tui.plots.frame import canvas_size
    from oracle_tui.plots.reduction import CellMap
    from oracle_tui.plots.scatter_data import ANOMALY, BEST, ORACLE, POINT, draw_scatter
    from oracle_tui.plots.window import ViewMode, fit
    from oracle_tui.reading import RunFollower

    data = RunFollower(run).read().scatter
    width, height = canvas_size(min(_WIDEST, shutil.get_terminal_size().columns), _HEIGHT)
    cells = CellMap(fit(data.x, data.y, ViewMode.ALL), width, height)
    frame = draw_scatter(data, cells, lambda: False)
    rows = [list(row) for row in frame.rows]
    left = frame.width - width
    for index, glyph in ((data.best, BEST), (data.oracle, ORACLE)):
        if index is not None:
            here = slice(index, index + 1)
            row, column = int(cells.rows(data.y[here])[0]), int(cells.columns(data.x[here])[0])
            rows[row][left + column] = glyph
    legend = (
        f"{POINT} candidate  {ANOMALY} better than the oracle  {ORACLE} oracle  {BEST} best  "
        f"({frame.note})"
    )
    return [f"{data.y_name} ↑", *("".join(row).rstrip() for row in rows), legend]
