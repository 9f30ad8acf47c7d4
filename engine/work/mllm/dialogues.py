"""Questions about images and their answers, before any tokenizer sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What is asked about one image and answered, turn by turn.

    Attributes:
        image: Place of the image among those of its split.
        turns: (question, answer) pairs; the image comes before the first question.
    """

    image: int
    turns: tuple[tuple[str, str], ...]


class Images(Protocol):
    """The images of a split, read one by one."""

    def __len__(self) -> int:
        """Returns how many there are."""
        ...

    def __getitem__(self, place: int) -> NDArray[np.uint8]:
        """Returns one image, (height, width, 3)."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """The images of a train or test set, and what is asked about them."""

    images: Images
    dialogues: Sequence[Dialogue]
