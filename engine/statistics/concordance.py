"""Counting concordant pairs in O(n log n), per candidate and for many resamples at once.

Only ranks and counts live here; what they mean for tau is said in `intervals` and `running`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.statistics.pairs import FloatArray, IntArray


@dataclass(frozen=True)
class PairCounts:
    """How each candidate stands to all others; every array is int64[n] over the candidates.

    Attributes:
        balance: concordant minus discordant partners.
        untied_x: partners with another x.
        untied_y: partners with another y.
        untied_both: partners that differ in both.
    """

    balance: IntArray
    untied_x: IntArray
    untied_y: IntArray
    untied_both: IntArray

    @property
    def tau(self) -> float:
        """Kendall's tau-b (Kendall 1945); NaN when a column is constant."""
        scale = float(self.untied_x.sum()) * float(self.untied_y.sum())
        return float(self.balance.sum()) / float(np.sqrt(scale)) if scale > 0 else float("nan")


class PairOrder:
    """The two sort orders of a set of pairs, from which any prefix of it can be counted.

    Sorting once and filtering is what makes tau over a growing prefix cheap.
    """

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        """Sorts the pairs.

        Args:
            x: float64[n], finite.
            y: float64[n], finite.
        """
        self._x = _dense_rank(x)
        self._y = _dense_rank(y)
        here = np.arange(len(x), dtype=np.int64)
        # Ties run opposite ways in the two orders, so that "earlier in by_x and lower in by_y"
        # means strictly smaller in both.
        self._by_x: IntArray = np.lexsort((here, -self._y, self._x)).astype(np.int64)
        self._by_y: IntArray = np.lexsort((-here, -self._x, self._y)).astype(np.int64)

    def counts(self, n: int | None = None) -> PairCounts:
        """Counts pairs among the first n candidates (all of them by default)."""
        by_x, by_y = self._by_x, self._by_y
        if n is not None and n < len(by_x):
            by_x, by_y = by_x[by_x < n], by_y[by_y < n]
        return _count(self._x, self._y, by_x, by_y)

    def permutation(self) -> IntArray:
        """int64[n]: for each place in the order by x, the place in the order by y."""
        place = np.empty_like(self._by_y)
        place[self._by_y] = np.arange(len(place))
        return place[self._by_x]

    def resampled_tau(self, weights: FloatArray) -> FloatArray:
        """Tau-b of every resample, in O(n log n) each.

        Args:
            weights: float64[n, B], how often each candidate was drawn in each resample.

        Returns:
            float64[B]; NaN where a resample has a constant column.
        """
        by_x, by_y = weights[self._by_x], weights[self._by_y]
        x, y = self._x[self._by_x], self._y[self._by_x]
        total = weights.sum(axis=0) ** 2
        same_x = _sum_of_squares(by_x, _starts(x))
        same_y = _sum_of_squares(by_y, _starts(self._y[self._by_y]))
        same_both = _sum_of_squares(by_x, _starts(x, y))
        untied_both = (total - same_x - same_y + same_both) / 2
        balance = 2 * _weighted_concordance(self.permutation(), by_x) - untied_both
        with np.errstate(invalid="ignore", divide="ignore"):
            tau = 2 * balance / np.sqrt((total - same_x) * (total - same_y))
        return np.asarray(tau, dtype=np.float64)


def pair_counts(x: FloatArray, y: FloatArray) -> PairCounts:
    """Counts, for every candidate, its concordant, discordant and tied partners.

    Args:
        x: float64[n], finite.
        y: float64[n], finite.
    """
    return PairOrder(x, y).counts()


def _dense_rank(values: FloatArray) -> IntArray:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.concatenate(([0], np.cumsum(ordered[1:] != ordered[:-1])))[: len(values)]
    return rank


def _starts(*keys: IntArray) -> IntArray:
    """Where a new group begins in columns that are sorted so that groups are together."""
    new = np.ones(len(keys[0]), dtype=bool)
    new[1:] = False
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new).astype(np.int64)


def _spread(starts: IntArray, n: int) -> tuple[IntArray, IntArray, IntArray]:
    """For each place: where its group starts, where it ends, and how large it is."""
    ends = np.append(starts[1:], n)
    sizes = ends - starts
    return np.repeat(starts, sizes), np.repeat(ends, sizes), np.repeat(sizes, sizes)


def _count(x: IntArray, y: IntArray, by_x: IntArray, by_y: IntArray) -> PairCounts:
    n = len(by_x)
    place = np.empty(len(x), dtype=np.int64)
    place[by_y] = np.arange(n)
    y_place = place[by_x]

    # Everything below is in the order by x; what the order by y knows is brought there.
    x_start, x_end, x_same = _spread(_starts(x[by_x]), n)
    _, both_end, both_same = _spread(_starts(x[by_x], y[by_x]), n)
    y_start, y_end, y_same = (a[y_place] for a in _spread(_starts(y[by_y]), n))
    y_both_end = _spread(_starts(y[by_y], x[by_y]), n)[1][y_place]

    x_equal_y_less = x_end - both_end
    y_equal_x_less = y_end - y_both_end
    y_equal_x_more = y_same - both_same - y_equal_x_less
    less_less = _predecessors_below(y_place)
    less_more = x_start - less_less - y_equal_x_less
    more_less = y_start - less_less - x_equal_y_less
    more_more = (n - x_end) - more_less - y_equal_x_more

    columns = (
        less_less + more_more - less_more - more_less,
        n - x_same,
        n - y_same,
        less_less + more_more + less_more + more_less,
    )
    # Prefixes keep their own numbering: candidate i of the prefix is candidate i of the whole.
    back = [np.empty(n, dtype=np.int64) for _ in columns]
    for target, column in zip(back, columns, strict=True):
        target[by_x] = column
    return PairCounts(*back)


def _halvings(permutation: IntArray) -> Iterator[tuple[IntArray, IntArray, IntArray, int]]:
    """Splits a permutation of 0..n-1 by value, bit by bit, keeping the order inside each half.

    A wavelet tree without the tree. At each level the values stand grouped by their upper bits;
    because all of 0..n-1 occur, the group of a value starts at the value with its lower bits
    cleared.

    Yields:
        values int64[n]; bit int64[n], 1 for the upper half of its group; lower int64[n], how many
        of the lower half of its group stand before; half, the size of a full lower half.
    """
    values = permutation
    here = np.arange(len(values), dtype=np.int64)
    for shift in range(max(len(values) - 1, 0).bit_length() - 1, -1, -1):
        bit = (values >> shift) & 1
        group = (values >> (shift + 1)) << (shift + 1)
        lower_all = here - np.cumsum(bit) + bit  # zeros strictly before, in all groups
        lower = lower_all - (group >> 1)  # every earlier group is full: half of it is lower
        yield values, bit, lower, 1 << shift
        moved = np.empty_like(values)
        moved[_destination(group, bit, lower, here, 1 << shift)] = values
        values = moved


def _destination(
    group: IntArray, bit: IntArray, lower: IntArray, here: IntArray, half: int
) -> IntArray:
    return np.where(bit == 1, here + half - lower, group + lower)


def _predecessors_below(permutation: IntArray) -> IntArray:
    """For each place of a permutation of 0..n-1, how many earlier values are smaller."""
    below = np.zeros(len(permutation), dtype=np.int64)  # indexed by value
    for values, bit, lower, _ in _halvings(permutation):
        below[values] += bit * lower
    return below[permutation]


def _weighted_concordance(permutation: IntArray, weights: FloatArray) -> FloatArray:
    """Sum over pairs (earlier and smaller) of the product of their weights, for each column."""
    by_value = np.empty_like(weights)
    by_value[permutation] = weights
    result = np.zeros(weights.shape[1])
    for values, bit, lower, half in _halvings(permutation):
        zeros, ones = values[bit == 0], values[bit == 1]
        if len(ones) == 0:
            continue
        sums = np.zeros((len(zeros) + 1, weights.shape[1]))
        np.cumsum(by_value[zeros], axis=0, out=sums[1:])
        first = ((ones >> half.bit_length()) << half.bit_length()) >> 1
        before = sums[first + lower[bit == 1]] - sums[first]
        result += np.einsum("ib,ib->b", by_value[ones], before)
    return result


def _sum_of_squares(weights: FloatArray, starts: IntArray) -> FloatArray:
    sums = np.add.reduceat(weights, starts, axis=0)
    return np.asarray(np.einsum("ib,ib->b", sums, sums), dtype=np.float64)
