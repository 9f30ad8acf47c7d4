"""Making the folder of a new run, whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.store.disk import fsync_folder, reason, replace_file
from engine.store.documents import dump_document
from engine.store.image import build_image
from engine.store.layout import (
    CURVE_COLUMNS,
    FOLDER_MODE,
    HDF5_NAME,
    MAX_CONFIG_BYTES,
    MAX_CURVE_BYTES,
    RunLayout,
)
from engine.store.summary import RunState
from engine.store.table import RunTable
from engine.store.text import printable


def create_run(folder: Path, config: dict[str, Any], summary: dict[str, Any]) -> None:
    """Make a run folder; see `RunWriter.create`.

    Raises:
        UsageError: it exists, cannot be written, or the config is not one of a run.
    """
    what = printable(str(folder))
    layout = RunLayout.of(config, what)
    try:
        config_bytes = len(dump_document(config))
    except ValueError as error:
        raise UsageError(f"{what}: the config is {error}.") from error
    if config_bytes > MAX_CONFIG_BYTES:
        raise UsageError(f"{what}: the config is longer than {MAX_CONFIG_BYTES} bytes.")
    if 4 * len(CURVE_COLUMNS) * layout.n_total * layout.epochs > MAX_CURVE_BYTES:
        raise UsageError(
            f"{what}: the learning curves of {layout.n_total} rows over {layout.epochs} "
            "epochs do not fit a run file; choose fewer candidates or repeats."
        )
    state = RunState(config, "queued", "", 0, summary)
    image = build_image(RunTable(layout, 1), state, compress=False)
    if os.path.lexists(folder):
        raise UsageError(f"{what} exists already; choose another name.")
    making = folder.with_name(f".making-{folder.name}-{os.getpid()}")
    try:
        folder.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        making.mkdir(mode=FOLDER_MODE)
        made = making
        try:
            replace_file(making / HDF5_NAME, image)
            making.rename(folder)
            made = folder
            fsync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{what} cannot be made ({reason(error)}); free some room or choose another "
            "folder for runs."
        ) from error
