"""Candidates of single weights: masks out of a seed, and the record that is kept of each.

A mask can have millions of entries, so a run holds for each layer what regenerates it and what
tells whether that worked: a seed and a checksum.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.seeds import derive_seed
from engine.space import DEFAULT_SAMPLE, MAX_CANDIDATES, count_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

# In place of a seed: the weights of smallest magnitude, which no seed gives.
MAGNITUDE = 0
# A record is made of words of 16 bits, as the run file holds them: the seed's and the checksum's.
_WORDS = 4
Record = tuple[int, ...]
# Above this, combinations are told by their logarithm.
_COUNTABLE = 4_096


@dataclass(frozen=True)
class MaskSpace:
    """A seeded sample of the masks of a study; the counterpart of `CandidateSpace`.

    Attributes:
        weights: Single weights of each pruned layer.
        pruned: How many of them a candidate loses: of each layer, or one number for all together.
        sample: How many candidates are studied.
        seed: Seed of the masks and of the order of work.
    """

    weights: tuple[int, ...]
    pruned: tuple[int, ...]
    sample: int
    seed: int

    def __post_init__(self) -> None:
        """Checks that the sample can be drawn; raises UsageError."""
        if not 1 <= self.sample <= MAX_CANDIDATES:
            raise UsageError(
                f"Between 1 and {MAX_CANDIDATES:,} candidates can be sampled, not {self.sample:,}."
            )
        # Then two equal masks are as good as impossible, and need not be looked for.
        if self._digits < 2 * math.log10(self.sample) + 6:
            raise UsageError(
                f"There are too few masks ({self._total_text()}) to sample {self.sample:,}; prune "
                "more weights or larger layers, or sample fewer."
            )

    def __len__(self) -> int:
        """How many candidates are studied."""
        return self.sample

    def __getitem__(self, candidate: int) -> tuple[Record, ...]:
        """Returns what is kept of a candidate: a record for each layer."""
        if not 0 <= candidate < len(self):
            raise IndexError(candidate)
        if candidate not in self._records:
            seeds = self._seeds(candidate)
            masks = drawn(seeds, self.weights, self.pruned)
            self._records[candidate] = tuple(map(record_of, seeds, masks))
        return self._records[candidate]

    def work_order(self) -> list[int]:
        """Returns every candidate id in a seeded random order."""
        order = list(range(len(self)))
        random.Random(f"{self.seed}/work-order").shuffle(order)
        return order

    def product(self, times: str = " x ") -> str:
        """Returns the factors of the count of all masks: `C(250,225) x C(2500,2250)`."""
        return times.join(f"C({n},{k})" for n, k in self._pairs)

    def formula(self) -> str:
        """Returns the sample as a person would write it: `20 of C(250,225) = 1.8e+34`."""
        return f"{self.sample:,} of {self.product()} = {self._total_text()}"

    def in_all(self) -> str:
        """How many masks there are, in words."""
        return self._total_text()

    @property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        of = self.weights if len(self.pruned) == len(self.weights) else (sum(self.weights),)
        return tuple(zip(of, self.pruned, strict=True))

    @cached_property
    def _digits(self) -> float:
        ways = (
            math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for n, k in self._pairs
        )
        return sum(ways) / math.log(10)

    def _total_text(self) -> str:
        if sum(n for n, _ in self._pairs) <= _COUNTABLE:
            return count_text(math.prod(math.comb(n, k) for n, k in self._pairs))
        return f"{10 ** (self._digits % 1):.1f}e+{int(self._digits)}"

    def _seeds(self, candidate: int) -> list[int]:
        """Returns each layer's seed; one and the same where weights are drawn across layers."""
        if len(self.pruned) < len(self.weights):
            return [derive_seed(self.seed, "mask", candidate)] * len(self.weights)
        return [derive_seed(self.seed, "mask", candidate, i) for i in range(len(self.weights))]

    @cached_property
    def _records(self) -> dict[int, tuple[Record, ...]]:
        return {}


@lru_cache(maxsize=16)
def mask_space(
    weights: tuple[int, ...], pruned: tuple[int, ...], sample: int | None, seed: int
) -> MaskSpace:
    """Returns a space; the same object for the same study, because masks are drawn only once.

    Raises:
        UsageError: Nothing is sampled: all masks are more than can be studied.
    """
    if sample is None:
        raise UsageError(
            f"All masks of single weights are more than one study can hold; sample some of them, "
            f"for example {DEFAULT_SAMPLE:,}."
        )
    return MaskSpace(weights, pruned, sample, seed)


def drawn(seeds: Sequence[int], weights: Sequence[int], pruned: Sequence[int]) -> list[Mask]:
    """Returns the masks of layers, True where a weight goes, each (weights,).

    Args:
        seeds: One for each layer.
        weights: How many weights each layer has.
        pruned: How many go of each; or one number of all together, drawn by the first seed.
    """
    if len(pruned) == len(weights):
        return [smallest(_raw(s, n), k) for s, n, k in zip(seeds, weights, pruned, strict=True)]
    return split(smallest(_raw(seeds[0], sum(weights)), pruned[0]), weights)


def smallest(values: NDArray[Any], count: int) -> Mask:
    """Returns which of the values, (n,), are the `count` smallest; of equal ones the first go."""
    import numpy as np

    limit = np.partition(values, count - 1)[count - 1]
    mask: Mask = values < limit
    equal = np.flatnonzero(values == limit)
    mask[equal[: count - int(mask.sum())]] = True
    return mask


def split(mask: Mask, weights: Sequence[int]) -> list[Mask]:
    """Cuts a mask over all layers into those of the layers."""
    import numpy as np

    return np.split(mask, np.cumsum(weights)[:-1])


def record_of(seed: int, mask: Mask) -> Record:
    """Returns what is kept of one layer's mask: four words of its seed, four of its checksum."""
    return (*_words(seed.to_bytes(2 * _WORDS, "little")), *_words(checksum(mask)))


def seed_of(record: Sequence[int]) -> int:
    """Returns the seed in a record; raises UsageError where it is none."""
    if len(record) != 2 * _WORDS or not all(0 <= word < 1 << 16 for word in record):
        raise UsageError("What is kept of a candidate of single weights is no seed and checksum.")
    return sum(word << 16 * place for place, word in enumerate(record[:_WORDS]))


def told(record: Sequence[int]) -> dict[str, Any]:
    """Returns a record as a person reads it: seed, and checksum in hexadecimal digits."""
    check = b"".join(word.to_bytes(2, "little") for word in record[_WORDS:])
    return {"seed": seed_of(record), "checksum": check.hex()}


def checksum(mask: Mask) -> bytes:
    """Returns eight bytes that tell a mask: BLAKE2b of its bits, eight in a byte, highest first."""
    import numpy as np

    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=2 * _WORDS).digest()


def _words(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2))


def _raw(seed: int, count: int) -> NDArray[np.uint64]:
    """Returns random 64-bit numbers; the stream of this generator is promised never to change."""
    import numpy as np

    found: NDArray[np.uint64] = np.random.PCG64(seed).random_raw(count)
    return found
