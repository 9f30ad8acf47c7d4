"""What every pack offers: K candidates trained as one computation, however it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.recipe import Recipe
from engine.work.augment import Draws
from engine.work.mixing import Mixes

MOMENTUM = "momentum."
# No attribute of a module can have such a name, so no tensor of a state_dict can.
VARIANCE, AVERAGE, STEPS = "@variance.", "@average.", "@steps"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How K candidates do on a whole split, in eval mode.

    Attributes:
        loss: (K,) mean cross-entropy in nats; not finite where a candidate diverged.
        accuracy: (K,) fraction of images told rightly.
    """

    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]


class Pack(Protocol):
    """K candidates of equal shape that see the same batches.

    What becomes of a candidate does not depend on K or on the others in the pack. Within one way
    of computing it is the same to the bit on a CPU; between ways it agrees as far as float32
    rounding lets it.
    """

    @property
    def size(self) -> int:
        """K, how many candidates there are."""
        ...

    def train(
        self,
        order: NDArray[np.int64],
        rate: float,
        draws: Draws | None = None,
        mixes: Mixes | None = None,
    ) -> None:
        """Takes one step per batch, over consecutive batches of the images in `order`.

        Args:
            order: (m,) indices into the train set. The last batch may be short, so an epoch cut
                into several calls must be cut between batches.
            rate: Learning rate.
            draws: How the m images are cropped and mirrored, where the data set wants it.
            mixes: How each batch is mixed, where the recipe wants it.
        """
        ...

    def evaluate(self, split: str) -> Evaluation:
        """Evaluates every candidate on all images of "train" or "test".

        Where the recipe averages weights, it is the averaged ones that are evaluated.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """Returns a copy of all that training changes: tensors (K, ...) on the CPU.

        Names are those of the state_dict, and again with "momentum." before them for the momentum
        of the parameters. AdamW adds "@variance." and "@steps", averaged weights "@average.".
        Every way of computing reads what any other wrote.
        """
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
        ...


def network_of(state: Mapping[str, Tensor], place: int) -> dict[str, Tensor]:
    """Returns one candidate's state_dict out of what `Pack.state` returned: what is evaluated."""
    return {
        name: state.get(AVERAGE + name, tensor)[place].clone()
        for name, tensor in state.items()
        if not name.startswith((MOMENTUM, VARIANCE, AVERAGE, STEPS))
    }


def require_plain(recipe: Recipe, draws: Draws | None = None, mixes: Mixes | None = None) -> None:
    """Raises ValueError where kernels of our own are asked for what they do not know."""
    asked = [*recipe.beyond_plain, *(["crops"] if draws is not None else [])]
    asked += ["mixes"] if mixes is not None else []
    if asked:
        raise ValueError(f"the kernels know no {asked[0]}")


@contextmanager
def repeatable(cpu_threads: int = 1) -> Iterator[None]:
    """Has torch compute the same bits every time: full float32, and sums in one order.

    Holds cuDNN to deterministic algorithms, it and cuBLAS to products without TF32 (which torch
    allows convolutions unasked, and some containers everything), and the CPU to a fixed number of
    threads, because a sum that two threads share is rounded otherwise than one that three share.
    """
    threads, matmul = torch.get_num_threads(), torch.backends.cuda.matmul
    tf32, matmul.allow_tf32 = matmul.allow_tf32, False
    torch.set_num_threads(cpu_threads)
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        torch.set_num_threads(threads)
        matmul.allow_tf32 = tf32
