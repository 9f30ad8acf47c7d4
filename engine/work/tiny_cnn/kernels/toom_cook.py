"""The second convolution with its max-pool and ReLU, in three fifths of the multiplications.

Two neighbouring responses to one row of 5 weights take 10 multiplications, or 6 by the method of
Toom and Cook (Winograd, Arithmetic Complexity of Computations, 1980): six inputs and five weights
are taken for coefficients of polynomials, whose values at six points are multiplied, and the
responses are sums of these products. The points are 0, infinity, and two pairs of a number and its
negative, whose products are added and subtracted. With 3/4 and 3/2, both exact in binary, it rounds
least of what was tried: responses of five channels lie 1.5 times as far from float64 as plain sums
do. In two dimensions there would be fewer multiplications yet, and 2.5 times the error. For one
channel it gains little and the error is 2.4 times, so conv1 is computed plainly.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from engine.work.tiny_cnn.kernels.compiling import Kernel, compile_kernel, once
from engine.work.tiny_cnn.kernels.forward import pool_and_store, start_at_bias
from engine.work.tiny_cnn.kernels.vectors import (
    FLOATS,
    INT64,
    LANES,
    WIDE,
    align_stack,
    at,
    broadcast,
    fma,
    load_broadcast,
    load_once,
    multiply_add,
    pack,
    shift,
    splat,
    unpack,
    vload,
    vstore,
    zeros,
)

# Output channels computed together: 8 vectors each.
MAX_BLOCK = 4 if WIDE else 3
# Products of one row of weights, stored as those of the points 0, infinity, p, -p, q, -q.
PRODUCTS = 6
_P, _Q = 0.75, 1.5
_P2, _Q2 = _P * _P, _Q * _Q


@once
def transform_weights() -> Kernel:
    """Rows of 5 weights at the six points, over what interpolation divides by; in float64.

    Arguments: weights ``[rows][5]``, rows, output ``[rows][PRODUCTS]``.
    """

    def transform_weights(weights, rows, out):
        for r in range(rows):
            w = shift(weights, 5 * r)
            u = shift(out, PRODUCTS * r)
            w0 = types.float64(w[0])
            w4 = types.float64(w[4])
            u[0] = types.float32(w0 / (_P2 * _Q2))
            u[1] = w4
            even = (w0 + _P2 * (w[2] + _P2 * w4)) / (2 * _P2 * (_P2 - _Q2))
            odd = _P * (w[1] + _P2 * w[3]) / (2 * _P2 * (_P2 - _Q2))
            u[2] = types.float32(even + odd)
            u[3] = types.float32(even - odd)
            even = (w0 + _Q2 * (w[2] + _Q2 * w4)) / (2 * _Q2 * (_Q2 - _P2))
            odd = _Q * (w[1] + _Q2 * w[3]) / (2 * _Q2 * (_Q2 - _P2))
            u[4] = types.float32(even + odd)
            u[5] = types.float32(even - odd)

    return compile_kernel(transform_weights, FLOATS, types.int64, FLOATS)


@once
def transform_inputs() -> Kernel:
    """Of the six inputs over every pooling window, row by row, what the weights are multiplied by.

    Arguments: input ``[rows][size][LANES]``, rows, size, output
    ``[rows][(size - 4) / 2][PRODUCTS][LANES]``.
    """

    def transform_inputs(x, rows, size, out):
        pooled = (size - 4) // 2
        p2 = splat(types.float32(-_P2))
        q2 = splat(types.float32(-_Q2))
        both = splat(types.float32(-(_P2 + _Q2)))
        product = splat(types.float32(_P2 * _Q2))
        p = splat(types.float32(_P))
        q = splat(types.float32(_Q))
        minus_p = splat(types.float32(-_P))
        minus_q = splat(types.float32(-_Q))
        for r in range(rows):
            for px in range(pooled):
                here = shift(x, (r * size + 2 * px) * LANES)
                z = shift(out, (r * pooled + px) * PRODUCTS * LANES)
                x1 = vload(here, LANES)
                x2 = vload(here, 2 * LANES)
                x3 = vload(here, 3 * LANES)
                x4 = vload(here, 4 * LANES)
                vstore(z, 0, fma(product, vload(here, 0), fma(both, x2, x4)))
                vstore(z, LANES, fma(product, x1, fma(both, x3, vload(here, 5 * LANES))))
                even = fma(q2, x2, x4)
                odd = fma(q2, x1, x3)
                vstore(z, 2 * LANES, fma(p, odd, even))
                vstore(z, 3 * LANES, fma(minus_p, odd, even))
                even = fma(p2, x2, x4)
                odd = fma(p2, x1, x3)
                vstore(z, 4 * LANES, fma(q, odd, even))
                vstore(z, 5 * LANES, fma(minus_q, odd, even))

    integer = types.int64
    return compile_kernel(transform_inputs, FLOATS, integer, integer, FLOATS)


@intrinsic
def _add_products(typing, sums, inputs, row_step, weights, weight_step):
    """Add one channel's products at two points to every output channel of the block.

    The four sums of an output channel are those of the upper row of responses at both points, then
    of the lower one. Each weight is loaded once and used for both rows.
    """
    block = sums.count // 4

    def generate(context, builder, signature, arguments):
        packed, first_input, input_step, first_weight, step = arguments
        values = unpack(builder, packed, 4 * block)
        rows = [
            at(builder, first_input, builder.mul(input_step, ir.Constant(INT64, r)))
            for r in range(6)
        ]
        outputs = [
            at(builder, first_weight, builder.mul(step, ir.Constant(INT64, o)))
            for o in range(block)
        ]
        for ky in range(5):
            for point in range(2):
                upper, lower = (
                    load_once(builder, at(builder, row, LANES * point))
                    for row in (rows[ky], rows[ky + 1])
                )
                for o, output in enumerate(outputs):
                    weight = load_broadcast(builder, at(builder, output, PRODUCTS * ky + point))
                    i = 4 * o + point
                    values[i] = multiply_add(builder, weight, upper, values[i])
                    values[i + 2] = multiply_add(builder, weight, lower, values[i + 2])
        return pack(context, builder, sums, values)

    return sums(sums, FLOATS, types.int64, FLOATS, types.int64), generate


@intrinsic
def _combine(typing, windows, sums, point):
    """Add the sums at a point and at its negative to both responses of every row."""

    def generate(context, builder, signature, arguments):
        values = unpack(builder, arguments[0], windows.count)
        products = unpack(builder, arguments[1], windows.count)
        scale = broadcast(builder, arguments[2])
        for i in range(0, windows.count, 2):
            plus, minus = products[i : i + 2]
            values[i] = builder.fadd(values[i], builder.fadd(plus, minus))
            difference = builder.fsub(plus, minus)
            values[i + 1] = multiply_add(builder, scale, difference, values[i + 1])
        return pack(context, builder, windows, values)

    return windows(windows, sums, types.float32), generate


@once
def conv_pool(block: int) -> Kernel:
    """5x5 convolution + 2x2 max-pool + ReLU for `block` output channels.

    Arguments: what `transform_inputs` made of the input, ``[channels][size][(size - 4) / 2]
    [PRODUCTS][LANES]``, channels, size, what `transform_weights` made of the weights of the first
    channel of the block, its bias, output ``[block][pooled][pooled][LANES]``, the places of its
    maxima ``[block][pooled][pooled]``, whether they are wanted.
    """
    count = 4 * block

    def kernel(z, channels, size, u, bias, out, places, with_places):
        align_stack()
        pooled = (size - 4) // 2
        row = pooled * PRODUCTS * LANES
        step = channels * 5 * PRODUCTS
        for py in range(pooled):
            for px in range(pooled):
                first = shift(z, 2 * py * row + px * PRODUCTS * LANES)
                # the products at 0 are the left responses', those at infinity the right ones'
                windows = start_at_bias(block, bias)
                at_p = zeros(count)
                at_q = zeros(count)
                for c in range(channels):
                    own = shift(first, c * size * row)
                    windows = _add_products(windows, own, row, shift(u, c * 5 * PRODUCTS), step)
                for c in range(channels):
                    own = shift(first, c * size * row + 2 * LANES)
                    at_p = _add_products(at_p, own, row, shift(u, c * 5 * PRODUCTS + 2), step)
                windows = _combine(windows, at_p, types.float32(_P))
                for c in range(channels):
                    own = shift(first, c * size * row + 4 * LANES)
                    at_q = _add_products(at_q, own, row, shift(u, c * 5 * PRODUCTS + 4), step)
                windows = _combine(windows, at_q, types.float32(_Q))
                here = py * pooled + px
                pool_and_store(windows, out, places, here, pooled * pooled, with_places)

    kernel.__name__ = f"toom_cook_{block}"
    integer = types.int64
    return compile_kernel(kernel, FLOATS, integer, integer, FLOATS, FLOATS, FLOATS, FLOATS, integer)
