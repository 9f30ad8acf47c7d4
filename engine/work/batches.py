"""Which images each batch holds: seeded orders, the same for every candidate of a repeat."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engine.seeds import derive_seed


def batch_order(seed: int, repeat: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Returns the order of the train images, (count,), in one epoch of one repeat.

    Batches are consecutive pieces of it. It does not depend on the candidate: all candidates of a
    repeat see the same batches, which makes them comparable (common random numbers).
    """
    return _shuffled(derive_seed(seed, "batches", repeat, epoch), count)


def pretrain_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Returns the order of the train images, (count,), in one epoch of pretraining."""
    return _shuffled(derive_seed(seed, "pretrain", "batches", epoch), count)


def _shuffled(seed: int, count: int) -> NDArray[np.int64]:
    # Always drawn on the CPU: a GPU's generator gives another order from the same seed.
    generator = torch.Generator().manual_seed(seed)
    order: NDArray[np.int64] = torch.randperm(count, generator=generator).numpy()
    return order
