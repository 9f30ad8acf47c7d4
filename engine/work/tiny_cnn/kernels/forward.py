"""Kernels of the forward pass: convolution with pooling, dense layers, cross-entropy.

The lanes of a vector are samples: an activation is stored as ``[channel][row][column][LANES]``.
"""

from __future__ import annotations

import math

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from engine.work.tiny_cnn.kernels.compiling import Kernel, compile_kernel, once
from engine.work.tiny_cnn.kernels.vectors import (
    DOUBLES,
    FLOATS,
    INT64,
    INTS,
    LANES,
    WIDE,
    at,
    choose,
    constant,
    fma,
    lanes,
    larger,
    load_broadcast,
    load_once,
    maximum,
    multiply_add,
    pack,
    relu,
    shift,
    splat,
    store,
    store_masks,
    unpack,
    vadd,
    vdiv,
    vexp,
    vload,
    vmul,
    vstore,
    vsub,
)

# Output channels computed together: 4 accumulators each, with the weights and one input they must
# fit the registers (32, or 16 without AVX-512).
MAX_BLOCK = 5 if WIDE else 3


def blocks(channels: int, most: int = MAX_BLOCK) -> list[int]:
    """Split `channels` into as few blocks of at most `most` as possible, of nearly equal size."""
    count = -(-channels // most)
    small, extra = divmod(channels, count)
    return [small + 1] * extra + [small] * (count - extra)


@intrinsic(prefer_literal=True)
def start_at_bias(typing, block, bias):
    """Four accumulators (one 2x2 pooling window) for each output channel, set to its bias."""
    result = types.UniTuple(lanes, 4 * block.literal_value)

    def generate(context, builder, signature, arguments):
        values = []
        for o in range(result.count // 4):
            values += [load_broadcast(builder, at(builder, arguments[1], o))] * 4
        return pack(context, builder, result, values)

    return result(block, FLOATS), generate


@intrinsic
def _convolve_row(typing, sums, upper, lower, weights, weight_step):
    """Add one kernel row (5 taps) to the 2x2 window of every output channel of the block.

    `upper` and `lower` point at the first input of the window's two rows. Each input is loaded
    once and used for all outputs.
    """
    block = sums.count // 4

    def generate(context, builder, signature, arguments):
        packed, above, below, first_weight, step = arguments
        values = unpack(builder, packed, 4 * block)
        rows = [
            at(builder, first_weight, builder.mul(step, ir.Constant(INT64, o)))
            for o in range(block)
        ]
        for k in range(5):
            taps = [load_broadcast(builder, at(builder, row, k)) for row in rows]
            window = ((above, k), (above, k + 1), (below, k), (below, k + 1))
            for q, (row, column) in enumerate(window):
                value = load_once(builder, at(builder, row, LANES * column))
                for o in range(block):
                    values[4 * o + q] = multiply_add(builder, taps[o], value, values[4 * o + q])
        return pack(context, builder, sums, values)

    return sums(sums, FLOATS, FLOATS, FLOATS, types.int64), generate


@intrinsic
def pool_and_store(typing, sums, out, places, window, windows, with_places):
    """Max-pool every output's window and apply ReLU (pooling first is equivalent and cheaper).

    It is the window of that number, of so many a channel.

    The place of a window's first maximum, whether it is in the lower row and whether in the right
    column, is all that the backward pass has to know beside the output.
    """
    block = sums.count // 4

    def generate(context, builder, signature, arguments):
        packed, out_pointer, place_pointer, number, a_channel, wanted = arguments
        values = unpack(builder, packed, 4 * block)
        indices = [
            builder.add(number, builder.mul(a_channel, ir.Constant(INT64, o))) for o in range(block)
        ]
        found = [values[4 * o : 4 * o + 4] for o in range(block)]
        rows = []
        for window, index in zip(found, indices, strict=True):
            upper = maximum(builder, window[0], window[1])
            lower = maximum(builder, window[2], window[3])
            rows.append((upper, lower))
            top = maximum(builder, constant(0), maximum(builder, upper, lower))
            offset = builder.mul(index, ir.Constant(INT64, LANES))
            store(builder, top, at(builder, out_pointer, offset))
        with builder.if_then(builder.icmp_signed("!=", wanted, ir.Constant(INT64, 0))):
            for window, (upper, lower), index in zip(found, rows, indices, strict=True):
                down = builder.fcmp_ordered(">", lower, upper)
                right = builder.select(
                    down,
                    builder.fcmp_ordered(">", window[3], window[2]),
                    builder.fcmp_ordered(">", window[1], window[0]),
                )
                store_masks(builder, (down, right), at(builder, place_pointer, index))
        return context.get_dummy_value()

    integer = types.int64
    return types.void(sums, FLOATS, FLOATS, integer, integer, integer), generate


@once
def conv_pool(block: int) -> Kernel:
    """5x5 convolution + 2x2 max-pool + ReLU for `block` output channels.

    Arguments: input ``[channels][size][size][LANES]``, channels, size, weights and biases of the
    first channel of the block, output ``[block][pooled][pooled][LANES]``, the places of its maxima
    ``[block][pooled][pooled]``, whether they are wanted.
    """

    def kernel(x, channels, size, weights, bias, out, places, with_places):
        pooled = (size - 4) // 2
        for py in range(pooled):
            for px in range(pooled):
                sums = start_at_bias(block, bias)
                for c in range(channels):
                    for ky in range(5):
                        upper = shift(x, ((c * size + 2 * py + ky) * size + 2 * px) * LANES)
                        lower = shift(upper, size * LANES)
                        taps = shift(weights, c * 25 + ky * 5)
                        sums = _convolve_row(sums, upper, lower, taps, channels * 25)
                here = py * pooled + px
                pool_and_store(sums, out, places, here, pooled * pooled, with_places)

    kernel.__name__ = f"conv_pool_{block}"
    integer = types.int64
    return compile_kernel(kernel, FLOATS, integer, integer, FLOATS, FLOATS, FLOATS, FLOATS, integer)


@once
def dense_forward() -> Kernel:
    """One fully connected layer, with ReLU if wanted.

    Arguments: input ``[inputs][LANES]``, inputs, outputs, weights ``[outputs][inputs]``, biases,
    output ``[outputs][LANES]``, whether ReLU follows.
    """

    def dense_forward(x, inputs, outputs, weights, bias, out, with_relu):
        for o in range(outputs):
            row = shift(weights, o * inputs)
            # four chains, because one would wait for its own result
            a = splat(bias[o])
            b = splat(0.0)
            c = splat(0.0)
            d = splat(0.0)
            i = 0
            while i + 4 <= inputs:
                a = fma(splat(row[i]), vload(x, i * LANES), a)
                b = fma(splat(row[i + 1]), vload(x, (i + 1) * LANES), b)
                c = fma(splat(row[i + 2]), vload(x, (i + 2) * LANES), c)
                d = fma(splat(row[i + 3]), vload(x, (i + 3) * LANES), d)
                i += 4
            while i < inputs:
                a = fma(splat(row[i]), vload(x, i * LANES), a)
                i += 1
            total = vadd(vadd(a, b), vadd(c, d))
            if with_relu:
                total = relu(total)
            vstore(out, o * LANES, total)

    integer = types.int64
    return compile_kernel(dense_forward, FLOATS, integer, integer, FLOATS, FLOATS, FLOATS, integer)


@once
def cross_entropy() -> Kernel:
    """Loss and hits, or the gradient, of the logits of one group of LANES samples.

    Arguments: logits ``[classes][LANES]``, classes, labels ``[LANES]`` (-1: no sample), sums of
    loss and of hits (added to), gradient ``[classes][LANES]`` (work space where it is not wanted),
    work space of 3 vectors, scale of the gradient (0: loss and hits are wanted instead). The loss
    is summed sample by sample in float64; a hit is the first largest logit,
    where NaN counts as the largest, as in torch.
    """

    def cross_entropy(logits, classes, labels, totals, gradient, work, scale):
        best = vload(logits, 0)
        which = splat(0.0)
        for o in range(1, classes):
            value = vload(logits, o * LANES)
            replace = larger(best, value)
            best = choose(replace, value, best)
            which = choose(replace, splat(types.float32(o)), which)
        total = splat(0.0)
        for o in range(classes):
            power = vexp(vsub(vload(logits, o * LANES), best))
            vstore(gradient, o * LANES, power)
            total = vadd(total, power)
        if scale == 0.0:
            vstore(work, 0, total)
            vstore(work, LANES, best)
            vstore(work, 2 * LANES, which)
            for lane in range(LANES):
                label = labels[lane]
                if label >= 0:
                    # all terms in float64, so that a loss near zero keeps its digits
                    top = types.float64(work[LANES + lane])
                    own = types.float64(logits[label * LANES + lane])
                    totals[0] += math.log(types.float64(work[lane])) + (top - own)
                    if work[2 * LANES + lane] == label:
                        totals[1] += 1.0
        else:
            for o in range(classes):
                vstore(gradient, o * LANES, vdiv(vload(gradient, o * LANES), total))
            for lane in range(LANES):
                label = labels[lane]
                if label >= 0:
                    gradient[label * LANES + lane] -= types.float32(1.0)
                else:
                    for o in range(classes):
                        gradient[o * LANES + lane] = types.float32(0.0)
            for o in range(classes):
                vstore(gradient, o * LANES, vmul(vload(gradient, o * LANES), splat(scale)))

    return compile_kernel(
        cross_entropy, FLOATS, types.int64, INTS, DOUBLES, FLOATS, FLOATS, types.float32
    )
