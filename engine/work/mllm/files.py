"""A person's dialogues and their images, read from where `llava:` points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.catalog import DatasetInfo
from engine.data_sources.dialogue_file import Record, images_folder, read_dialogues
from engine.data_sources.names import parse
from engine.errors import UsageError
from engine.work.mllm.dialogues import Dialogue, Split


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Images that are opened when they are asked for."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self.paths)

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        """Returns one image, (height, width, 3); raises UsageError where it is none."""
        path = self.paths[place]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UsageError(
                f"The image {path} cannot be read ({str(error)[:100]}); replace it, or take its "
                "dialogues out of the file."
            ) from error


def file_splits(info: DatasetInfo) -> tuple[Split, Split]:
    """Returns the train and test set of `llava:FILE.json`.

    Raises:
        UsageError: The file is no longer what it was when the study was made, or damaged.
    """
    name = parse(info.name)
    assert name.path is not None
    found = read_dialogues(name.path)
    if info.digest and found.digest != info.digest:
        raise UsageError(f"{name.path} has changed since this study was made; make a new study.")
    folder = images_folder(name)
    return _split(folder, found.train), _split(folder, found.test)


def _split(folder: Path, records: Sequence[Record]) -> Split:
    places = {image: place for place, image in enumerate(dict.fromkeys(r.image for r in records))}
    dialogues = [Dialogue(places[record.image], record.turns) for record in records]
    return Split(ImageFiles([folder / image for image in places]), dialogues)
