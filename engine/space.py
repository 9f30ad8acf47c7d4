"""The candidates of a study: which filters each one loses, with ids that never change."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cached_property, lru_cache
from itertools import groupby

from engine.errors import UsageError

ALL_BY_DEFAULT = 5_000
DEFAULT_SAMPLE = 1_000
MAX_CANDIDATES = 1_000_000

# Below this many combinations a sample is a shuffled prefix of all of them; above it, distinct
# random draws, because listing all combinations would not fit.
_LISTABLE = 200_000


def pruned_count(filters: int, ratio: float) -> int:
    """Returns how many of `filters` a ratio removes: ceil(filters * ratio), exactly.

    The product is taken in decimal, as the ratio was written, so .07 of 100 is 7 and not 8.
    """
    product = filters * Decimal(repr(ratio))
    return int(product.to_integral_value(ROUND_CEILING))


def unrank_combination(rank: int, n: int, k: int) -> tuple[int, ...]:
    """Returns the combination of that lexicographic rank among all k-subsets of range(n)."""
    chosen: list[int] = []
    first, left = 0, k
    # How many combinations of `left` out of what comes after `first` there are when `first` is
    # taken; kept up to date by one product each step, because the numbers can have 1,000 digits.
    block = math.comb(n - 1, k - 1) if k else 0
    while left:
        rest = n - first - 1
        if rank < block:
            chosen.append(first)
            left -= 1
            block = block * left // rest if rest else 1
        else:
            rank -= block
            block = block * (rest - left + 1) // rest
        first += 1
    return tuple(chosen)


def count_text(count: int) -> str:
    """Returns a count as a person reads it: `210`, `1,000`, or `1.3e+25` where it is huge."""
    if count < 10**15:
        return f"{count:,}"
    power = int(math.log10(count))
    return f"{math.exp(math.log(count) - power * math.log(10)):.1f}e+{power}"


@dataclass(frozen=True)
class CandidateSpace:
    """All candidates of a study, or a seeded sample of them without replacement.

    A candidate's id is its lexicographic rank where all are studied, and its place in the sample
    otherwise; a larger sample with the same seed begins with the smaller one.

    Attributes:
        filters: Filters of each pruned layer.
        pruned: How many of them each candidate loses, per layer.
        sample: How many candidates are sampled, or None for all.
        seed: Seed of the sample and of the order of work.
    """

    filters: tuple[int, ...]
    pruned: tuple[int, ...]
    sample: int | None
    seed: int

    def __post_init__(self) -> None:
        """Checks that the sample exists; raises UsageError."""
        if self.sample is None and self.total > MAX_CANDIDATES:
            raise UsageError(
                f"All {count_text(self.total)} candidates are more than one study can hold; "
                f"sample some of them, for example {DEFAULT_SAMPLE:,}."
            )
        if self.sample is not None and not 1 <= self.sample <= min(self.total, MAX_CANDIDATES):
            raise UsageError(
                f"Between 1 and {min(self.total, MAX_CANDIDATES):,} candidates can be sampled "
                f"here, not {self.sample:,}."
            )

    @cached_property
    def total(self) -> int:
        """How many candidates there are in all."""
        return math.prod(math.comb(n, k) for n, k in zip(self.filters, self.pruned, strict=True))

    def __len__(self) -> int:
        """How many candidates are studied."""
        return self.total if self.sample is None else self.sample

    def __getitem__(self, candidate: int) -> tuple[tuple[int, ...], ...]:
        """Returns the sorted filter indices that a candidate loses, one tuple per layer."""
        if not 0 <= candidate < len(self):
            raise IndexError(candidate)
        if self.sample is None:
            return self._unrank(candidate)
        return self._drawn[candidate]

    def work_order(self) -> list[int]:
        """Returns every candidate id in a seeded random order.

        Working in this order makes the statistics over the candidates finished so far those of a
        random sample, whatever the moment; ids in lexicographic order share their first filters.
        """
        order = list(range(len(self)))
        random.Random(f"{self.seed}/work-order").shuffle(order)
        return order

    def in_all(self) -> int | str:
        """How many there are; as a number where a column of integers can hold it, else in words."""
        return self.total if self.total < 1 << 63 else count_text(self.total)

    def product(self, times: str = " x ") -> str:
        """Returns the factors of the count: `C(10,2)`, or `C(16,8)^9 x C(32,16)^9`."""
        factors = [f"C({n},{k})" for n, k in zip(self.filters, self.pruned, strict=True)]
        return times.join(
            times.join(same) if len(same := list(run)) < 3 else f"{factor}^{len(same)}"
            for factor, run in groupby(factors)
        )

    def formula(self) -> str:
        """Returns the count as a person would write it, for example `C(10,2) = 45`."""
        text = f"{self.product()} = {count_text(self.total)}"
        return text if self.sample is None else f"{self.sample:,} of {text}"

    def _unrank(self, rank: int) -> tuple[tuple[int, ...], ...]:
        parts: list[tuple[int, ...]] = []
        for n, k in zip(reversed(self.filters), reversed(self.pruned), strict=True):
            rank, place = divmod(rank, math.comb(n, k))
            parts.append(unrank_combination(place, n, k))
        return tuple(reversed(parts))

    @cached_property
    def _drawn(self) -> list[tuple[tuple[int, ...], ...]]:
        assert self.sample is not None
        generator = random.Random(f"{self.seed}/candidates")
        if self.total <= _LISTABLE:
            ranks = list(range(self.total))
            generator.shuffle(ranks)
            return [self._unrank(rank) for rank in ranks[: self.sample]]
        drawn: dict[int, None] = {}
        while len(drawn) < self.sample:
            drawn[generator.randrange(self.total)] = None
        return [self._unrank(rank) for rank in drawn]


@lru_cache(maxsize=16)
def candidate_space(
    filters: tuple[int, ...], pruned: tuple[int, ...], sample: int | None, seed: int
) -> CandidateSpace:
    """Returns a space; the same object for the same study, because a sample is drawn only once."""
    return CandidateSpace(filters, pruned, sample, seed)
