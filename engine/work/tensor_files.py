"""Files of tensors: written whole or not at all, read without unpickling. No network enters."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.store.disk import open_regular, read_range, replace_file

MAX_BYTES = 1 << 35


def save_tensors(path: Path, content: Mapping[str, Any], *, shared: bool = False) -> None:
    """Puts tensors, numbers and text at `path`, readable by their owner alone.

    Args:
        path: The file.
        content: What goes in.
        shared: Several processes may do this to the same file at once.

    Raises:
        OSError: They could not be written (the disk is full); what stood there still stands.
    """
    # In memory first: on a full disk torch's own writer raises a RuntimeError that says nothing.
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    replace_file(path, buffer.getvalue(), shared=shared)


def load_tensors(path: Path) -> dict[str, Any]:
    """Reads what `save_tensors` wrote, to the CPU, trusting nothing.

    Raises:
        FileNotFoundError: There is no such file.
        RunFileError: It is not a regular file.
        Exception: It is damaged; torch has no one type for what its reader meets.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        data = io.BytesIO(read_range(descriptor, 0, size))
    finally:
        os.close(descriptor)
    with zipfile.ZipFile(data) as members:
        # torch stores without compression; a file that says otherwise may unfold without end.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
            raise ValueError("its parts are compressed")
    data.seek(0)
    content = torch.load(data, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise ValueError("it holds no table")
    return content
