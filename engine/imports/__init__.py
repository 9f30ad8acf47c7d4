"""Runs from elsewhere: other people's tables and logs become finished runs. No torch may enter."""

from engine.imports.csv_file import Columns, read_csv
from engine.imports.making import make_run
from engine.imports.measurements import ACCURACY_UNITS, Measurement
from engine.imports.released_log import is_released_log, read_released_log

__all__ = [
    "ACCURACY_UNITS",
    "Columns",
    "Measurement",
    "is_released_log",
    "make_run",
    "read_csv",
    "read_released_log",
]
