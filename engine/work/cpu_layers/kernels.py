"""Batch norm over channels-last maps with what follows it: loops over rows, in numba.

A map is a matrix ``[rows][channels]``, a row being a pixel. It is read as vectors of LANES numbers
that begin at every LANES-th number, whatever the number of channels is: after `width` numbers, a
multiple of both, the same lane meets the same channel again. Numbers by channel are laid out as
tiles of so many numbers for that. Rows are worked on in blocks of a fixed number, in each of which
sums are float32 (over a few dozen numbers a lane); between blocks they are float64. A caller may
have different threads work on different blocks: no result depends on it.

Nothing in here knows about torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from numba.core import types

from engine.work.tiny_cnn.kernels.compiling import Kernel, compile_kernel, once
from engine.work.tiny_cnn.kernels.vectors import (
    DOUBLES,
    FLOATS,
    LANES,
    fma,
    gate,
    prefetch,
    relu,
    shift,
    vadd,
    vload,
    vmul,
    vstore,
    vsub,
)

# What follows a norm: nothing, a ReLU, or a sum with a shortcut and a ReLU. FORKED is ADDED with
# two gradients.
PLAIN, RECTIFIED, ADDED, FORKED = "plain", "rectified", "added", "forked"

_INT, _DOUBLE = types.int64, types.float64
# Numbers of a tile (at least: fewer would wait for each other's sums) and of a block, 128 kB.
_TILE, _BLOCK = 128, 32_768
# A block has so many tiles at least; the mean of the first is what its sums are taken around.
_TILES = 32
# So many numbers ahead of what is worked on is asked for: processors look ahead within a page only.
_AHEAD = 1024


def tile_width(channels: int) -> int:
    """How many numbers a tile has."""
    least = math.lcm(channels, LANES)
    return least * -(-_TILE // least)


def block_rows(channels: int) -> int:
    """How many rows a block has."""
    width = tile_width(channels)
    return max(_TILES, _BLOCK // width) * (width // channels)


@once
def statistics() -> Kernel:
    """Mean and squared deviations of each channel in each block.

    Sums are taken around the mean of the first 32nd of a block, so that little cancels even where
    the mean is large.

    Arguments: maps, channels, width, rows, rows of a block, first block, block after the last,
    work ``[3][width]``, output ``[blocks][2][channels]``.
    """

    def statistics(maps, channels, width, rows, size, first, last, work, out):
        squares = shift(work, width)
        around = shift(work, 2 * width)
        for block in range(first, last):
            start = block * size
            count = min(size, rows - start)
            numbers = count * channels
            own = shift(maps, start * channels)
            found = shift(out, block * 2 * channels)
            tiles = numbers // width
            some = (tiles + _TILES - 1) // _TILES
            for i in range(width):
                work[i] = 0.0
            for tile in range(some):
                for i in range(0, width, LANES):
                    vstore(work, i, vadd(vload(work, i), vload(own, tile * width + i)))
            if tiles == 0:
                for i in range(numbers):
                    work[i] = own[i]
            seen = some * width // channels if tiles else count
            for channel in range(channels):
                total = 0.0
                for i in range(channel, width, channels):
                    total += work[i]
                total /= seen
                for i in range(channel, width, channels):
                    around[i] = total
            for i in range(width):
                work[i] = 0.0
                squares[i] = 0.0
            whole = tiles // 4 * 4
            for tile in range(0, whole, 4):
                for i in range(0, width, LANES):
                    middle = vload(around, i)
                    place = tile * width + i
                    a = vsub(vload(own, place), middle)
                    b = vsub(vload(own, place + width), middle)
                    c = vsub(vload(own, place + 2 * width), middle)
                    d = vsub(vload(own, place + 3 * width), middle)
                    vstore(work, i, vadd(vload(work, i), vadd(vadd(a, b), vadd(c, d))))
                    s = fma(a, a, vmul(b, b))
                    t = fma(c, c, vmul(d, d))
                    vstore(squares, i, vadd(vload(squares, i), vadd(s, t)))
            for tile in range(whole, tiles):
                for i in range(0, width, LANES):
                    a = vsub(vload(own, tile * width + i), vload(around, i))
                    vstore(work, i, vadd(vload(work, i), a))
                    vstore(squares, i, fma(a, a, vload(squares, i)))
            for i in range(numbers - tiles * width):
                e = own[tiles * width + i] - around[i]
                work[i] += e
                squares[i] += e * e
            for channel in range(channels):
                total = 0.0
                square = 0.0
                for i in range(channel, width, channels):
                    total += work[i]
                    square += squares[i]
                found[channel] = around[channel] + total / count
                found[channels + channel] = square - total * total / count

    return compile_kernel(statistics, FLOATS, _INT, _INT, _INT, _INT, _INT, _INT, FLOATS, DOUBLES)


@once
def scales() -> Kernel:
    """What maps are multiplied by and what is added, from the statistics of all blocks.

    Arguments: statistics ``[blocks][2][channels]``, channels, width, rows, rows of a block,
    epsilon, weights and biases ``[channels]`` with whether there are, running mean and variance
    ``[channels]`` with whether there are and how far they move on, output ``[2][channels]`` (mean,
    1 / deviation), output ``[3][width]`` (scale, offset, mean).
    """

    def scales(
        found, channels, width, rows, size, epsilon, weights, biases, affine, means, variances,
        running, momentum, out, tiles,
    ):  # fmt: skip
        blocks = (rows + size - 1) // size
        for channel in range(channels):
            mean = 0.0
            for block in range(blocks):
                count = min(size, rows - block * size)
                mean += found[block * 2 * channels + channel] * count
            mean /= rows
            square = 0.0
            for block in range(blocks):
                count = min(size, rows - block * size)
                off = found[block * 2 * channels + channel] - mean
                square += found[(block * 2 + 1) * channels + channel] + off * off * count
            if square < 0.0:
                square = 0.0
            scale = 1.0 / math.sqrt(square / rows + epsilon)
            out[channel] = mean
            out[channels + channel] = scale
            offset = -mean * scale
            if affine:
                scale *= weights[channel]
                offset = biases[channel] - mean * scale
            if running:
                means[channel] = momentum * mean + (1.0 - momentum) * means[channel]
                variance = square / (rows - 1)
                variances[channel] = momentum * variance + (1.0 - momentum) * variances[channel]
            for i in range(channel, width, channels):
                tiles[i] = scale
                tiles[width + i] = offset
                tiles[2 * width + i] = mean

    return compile_kernel(
        scales, DOUBLES, *[_INT] * 4, _DOUBLE, FLOATS, FLOATS, _INT, FLOATS, FLOATS, _INT, _DOUBLE,
        FLOATS, FLOATS,
    )  # fmt: skip


@once
def normalise(kind: str) -> Kernel:
    """Maps times scale plus offset; RECTIFIED: no less than 0; ADDED: the shortcut added before.

    Arguments: maps, shortcut (or anything), output, channels, width, rows, rows of a block, first
    block, block after the last, tiles ``[2][width]``.
    """
    added, rectified = kind == ADDED, kind != PLAIN

    def normalise(maps, shortcut, out, channels, width, rows, size, first, last, tiles):
        for turn in range(first, last):
            # Backwards: the end of what was read before is still in the caches.
            start = (last - 1 - turn + first) * size
            numbers = min(size, rows - start) * channels
            own = shift(maps, start * channels)
            other = shift(shortcut, start * channels)
            to = shift(out, start * channels)
            whole = numbers // width * width
            for tile in range(0, whole, width):
                for i in range(0, width, LANES):
                    prefetch(own, tile + i + _AHEAD)
                    prefetch(to, tile + i + _AHEAD)
                    value = fma(vload(own, tile + i), vload(tiles, i), vload(tiles, width + i))
                    if added:
                        prefetch(other, tile + i + _AHEAD)
                        value = vadd(value, vload(other, tile + i))
                    if rectified:
                        value = relu(value)
                    vstore(to, tile + i, value)
            for i in range(numbers - whole):
                one = own[whole + i] * tiles[i] + tiles[width + i]
                if added:
                    one += other[whole + i]
                if rectified and one <= 0.0:
                    one = types.float32(0.0)
                to[whole + i] = one

    normalise.__name__ += f"_{kind}"
    return compile_kernel(
        normalise, FLOATS, FLOATS, FLOATS, _INT, _INT, _INT, _INT, _INT, _INT, FLOATS
    )


@once
def gradient_sums(kind: str) -> Kernel:
    """Sums of each channel's gradient, and of its products with how far maps are off their mean.

    ADDED and FORKED write the gradient of the sum of maps and shortcut, too; FORKED takes the sum
    of two gradients.

    Arguments: gradient, second gradient (or anything), maps, what the forward kernel returned (or
    anything), output (or anything), channels, width, rows, rows of a block, first block, block
    after the last, work ``[2][width]``, tiles ``[3][width]`` (scale, offset, mean), output
    ``[blocks][2][channels]``.
    """
    added, forked, rectified = kind in (ADDED, FORKED), kind == FORKED, kind == RECTIFIED

    def gradient_sums(
        gradient, second, maps, after, out, channels, width, rows, size, first, last, work, tiles,
        sums,
    ):  # fmt: skip
        products = shift(work, width)
        means = shift(tiles, 2 * width)
        for block in range(first, last):
            start = block * size
            count = min(size, rows - start)
            numbers = count * channels
            here = shift(gradient, start * channels)
            beside = shift(second, start * channels)
            own = shift(maps, start * channels)
            result = shift(after, start * channels)
            to = shift(out, start * channels)
            found = shift(sums, block * 2 * channels)
            whole = numbers // width * width
            for i in range(2 * width):
                work[i] = 0.0
            for tile in range(0, whole, width):
                for i in range(0, width, LANES):
                    prefetch(here, tile + i + _AHEAD)
                    prefetch(own, tile + i + _AHEAD)
                    value = vload(here, tile + i)
                    x = vload(own, tile + i)
                    if added:
                        prefetch(result, tile + i + _AHEAD)
                        prefetch(to, tile + i + _AHEAD)
                    if forked:
                        prefetch(beside, tile + i + _AHEAD)
                        value = vadd(value, vload(beside, tile + i))
                    if added:
                        value = gate(vload(result, tile + i), value)
                        vstore(to, tile + i, value)
                    if rectified:
                        value = gate(fma(x, vload(tiles, i), vload(tiles, width + i)), value)
                    vstore(work, i, vadd(vload(work, i), value))
                    off = vsub(x, vload(means, i))
                    vstore(products, i, fma(value, off, vload(products, i)))
            for i in range(numbers - whole):
                one = here[whole + i]
                if forked:
                    one += beside[whole + i]
                if added:
                    if result[whole + i] <= 0.0:
                        one = types.float32(0.0)
                    to[whole + i] = one
                if rectified and own[whole + i] * tiles[i] + tiles[width + i] <= 0.0:
                    one = types.float32(0.0)
                work[i] += one
                products[i] += one * (own[whole + i] - means[i])
            for channel in range(channels):
                total = 0.0
                product = 0.0
                for i in range(channel, width, channels):
                    total += work[i]
                    product += products[i]
                found[channel] = total
                found[channels + channel] = product

    gradient_sums.__name__ += f"_{kind}"
    return compile_kernel(gradient_sums, *[FLOATS] * 5, *[_INT] * 6, FLOATS, FLOATS, DOUBLES)


@once
def gradient_scales() -> Kernel:
    """Gradients of weights and biases, and what makes the gradient of maps.

    Arguments: sums ``[blocks][2][channels]``, channels, width, rows, blocks, statistics
    ``[2][channels]`` (mean, 1 / deviation), weights (or not, as told by the next argument),
    whether there are, output ``[2][channels]`` (weights, biases), output ``[3][width]``
    (by gradient, by distance from the mean, constant).
    """

    def gradient_scales(
        sums, channels, width, rows, blocks, statistics, weights, affine, out, tiles
    ):
        for channel in range(channels):
            total = 0.0
            product = 0.0
            for block in range(blocks):
                total += sums[block * 2 * channels + channel]
                product += sums[(block * 2 + 1) * channels + channel]
            inverse = float(statistics[channels + channel])
            out[channel] = product * inverse
            out[channels + channel] = total
            scale = inverse
            if affine:
                scale *= weights[channel]
            slope = -scale * product * inverse * inverse / rows
            offset = -scale * total / rows
            for i in range(channel, width, channels):
                tiles[i] = scale
                tiles[width + i] = slope
                tiles[2 * width + i] = offset

    return compile_kernel(
        gradient_scales, DOUBLES, _INT, _INT, _INT, _INT, FLOATS, FLOATS, _INT, FLOATS, FLOATS
    )


@once
def input_gradient(kind: str) -> Kernel:
    """The gradient of maps; RECTIFIED from that of what was rectified.

    Arguments: gradient, maps, output, channels, width, rows, rows of a block, first block, block
    after the last, tiles ``[3][width]`` (scale, offset, mean), tiles ``[3][width]`` of
    `gradient_scales`.
    """
    rectified = kind == RECTIFIED

    def input_gradient(
        gradient, maps, out, channels, width, rows, size, first, last, tiles, slopes
    ):
        means = shift(tiles, 2 * width)
        for turn in range(first, last):
            start = (last - 1 - turn + first) * size
            numbers = min(size, rows - start) * channels
            here = shift(gradient, start * channels)
            own = shift(maps, start * channels)
            to = shift(out, start * channels)
            whole = numbers // width * width
            for tile in range(0, whole, width):
                for i in range(0, width, LANES):
                    prefetch(here, tile + i + _AHEAD)
                    prefetch(own, tile + i + _AHEAD)
                    prefetch(to, tile + i + _AHEAD)
                    value = vload(here, tile + i)
                    x = vload(own, tile + i)
                    if rectified:
                        value = gate(fma(x, vload(tiles, i), vload(tiles, width + i)), value)
                    off = vsub(x, vload(means, i))
                    value = fma(value, vload(slopes, i), vload(slopes, 2 * width + i))
                    vstore(to, tile + i, fma(off, vload(slopes, width + i), value))
            for i in range(numbers - whole):
                one = here[whole + i]
                x = own[whole + i]
                if rectified and x * tiles[i] + tiles[width + i] <= 0.0:
                    one = types.float32(0.0)
                one = one * slopes[i] + slopes[2 * width + i]
                to[whole + i] = one + (x - means[i]) * slopes[width + i]

    input_gradient.__name__ += f"_{kind}"
    return compile_kernel(input_gradient, FLOATS, FLOATS, FLOATS, *[_INT] * 6, FLOATS, FLOATS)


def all_kernels() -> list[Callable[[], Kernel]]:
    """Returns what compiles each of the kernels."""
    return [
        statistics,
        scales,
        gradient_scales,
        *(partial(normalise, kind) for kind in (PLAIN, RECTIFIED, ADDED)),
        *(partial(gradient_sums, kind) for kind in (PLAIN, RECTIFIED, ADDED, FORKED)),
        *(partial(input_gradient, kind) for kind in (PLAIN, RECTIFIED)),
    ]
