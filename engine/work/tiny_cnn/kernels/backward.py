"""Kernels of the backward pass.

A 2x2 max-pool with ReLU hands each gradient to at most one of four positions, so three quarters of
a dense backward pass through a convolution are multiplications by zero. Here a pooling window is
one step: two masks say, lane by lane, which of the four positions it is, and the inputs (for the
gradient of the weights) or the weights (for the gradient of the inputs) are chosen by them before
they are multiplied: 25 or 60 multiplications in place of 100.
"""

from __future__ import annotations

import itertools

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from engine.work.tiny_cnn.kernels.compiling import Kernel, compile_kernel, once
from engine.work.tiny_cnn.kernels.vectors import (
    FLOATS,
    INT64,
    LANES,
    WIDE,
    align_stack,
    at,
    constant,
    fma,
    gate,
    lanes,
    load,
    load_broadcast,
    load_masks,
    multiply_add,
    pack,
    shift,
    splat,
    store,
    unpack,
    vadd,
    vload,
    vmul,
    vstore,
    vsub,
    zeros,
)

# Rows of a 5x5 kernel, and columns of the 6x6 patch under a pooling window, whose accumulators fit
# the registers (32, or 16 without AVX-512) together.
KERNEL_ROWS = 5 if WIDE else 1
PATCH_COLUMNS = 3
_KERNEL_SUMS = 5 * KERNEL_ROWS
_PATCH_SUMS = 6 * PATCH_COLUMNS


@intrinsic
def _add_chosen_patch(typing, sums, x, row_step, place, gradient):
    """Add gradient times the chosen 5x5 patch of inputs to the accumulators of 5 taps a row."""
    rows = sums.count // 5
    # What is chosen of a row serves the next one, too: less to keep in registers, if both are here.
    columns_first = rows > 1

    def generate(context, builder, signature, arguments):
        packed, pointer, step, place_pointer, gradients = arguments
        values = unpack(builder, packed, sums.count)
        lower, right = load_masks(builder, place_pointer)
        below = None
        for r in range(rows + 1):
            row = at(builder, pointer, builder.mul(step, ir.Constant(INT64, r)))
            above, below = below, [load(builder, at(builder, row, LANES * k)) for k in range(6)]
            if columns_first:
                below = _left_or(builder, right, below)
            if above is None:
                continue
            pairs = zip(above, below, strict=True)
            chosen = [builder.select(lower, low, high) for high, low in pairs]
            if not columns_first:
                chosen = _left_or(builder, right, chosen)
            for k, value in enumerate(chosen):
                j = 5 * (r - 1) + k
                values[j] = multiply_add(builder, gradients, value, values[j])
        return pack(context, builder, sums, values)

    return sums(sums, FLOATS, types.int64, FLOATS, lanes), generate


def _left_or(builder, right, row):
    """Of every two neighbours in a row the left one, or where `right` says so the right one."""
    return [builder.select(right, b, a) for a, b in itertools.pairwise(row)]


@intrinsic(prefer_literal=True)
def _add_vectors(typing, values, out, row_step, columns):
    """Add accumulators to ``out``, `columns` of them to a row."""
    count = columns.literal_value

    def generate(context, builder, signature, arguments):
        for i, value in enumerate(unpack(builder, arguments[0], values.count)):
            row = builder.mul(arguments[2], ir.Constant(INT64, i // count))
            pointer = at(builder, at(builder, arguments[1], row), LANES * (i % count))
            store(builder, builder.fadd(load(builder, pointer), value), pointer)
        return context.get_dummy_value()

    return types.void(values, FLOATS, types.int64, columns), generate


@once
def weight_gradient() -> Kernel:
    """Gradient of the 5x5 weights between one input channel and one pooled output channel.

    Arguments: input ``[size][size][LANES]``, size, places of the maxima and gradients of the
    pooling windows (zero where ReLU cut them off), first row of windows, end, gradient of the
    weights ``[25][LANES]`` (added to).
    """

    def weight_gradient(x, size, places, gradients, top, end, out):
        align_stack()
        pooled = (size - 4) // 2
        for first in range(0, 5, KERNEL_ROWS):
            sums = zeros(_KERNEL_SUMS)
            for py in range(top, end):
                for px in range(pooled):
                    here = py * pooled + px
                    sums = _add_chosen_patch(
                        sums,
                        shift(x, ((2 * py + first) * size + 2 * px) * LANES),
                        size * LANES,
                        shift(places, here),
                        vload(gradients, here * LANES),
                    )
            _add_vectors(sums, shift(out, first * 5 * LANES), 5 * LANES, 5)

    integer = types.int64
    return compile_kernel(
        weight_gradient, FLOATS, integer, FLOATS, FLOATS, integer, integer, FLOATS
    )


@intrinsic(prefer_literal=True)
def _add_chosen_weights(typing, sums, first, weights, place, gradient):
    """Add gradient times the chosen weight to some columns of the 6x6 patch under a window.

    The accumulators are the patch's columns from `first` on, six rows of them. Input (r, k) of the
    patch meets weight (r, k) of the window's upper left response, (r, k - 1) of the upper right
    one, (r - 1, k) of the lower left one.
    """
    columns = sums.count // 6
    edge = first.literal_value

    def generate(context, builder, signature, arguments):
        packed, _, pointer, place_pointer, gradients = arguments
        values = unpack(builder, packed, sums.count)
        lower, right = load_masks(builder, place_pointer)
        # choosing the row by two gradients, one of them zero, is faster here than by the weights
        parts = (
            (builder.select(lower, constant(0), gradients), 0),
            (builder.select(lower, gradients, constant(0)), 1),
        )

        def weight(r, k):
            if not 0 <= k < 5:
                return constant(0)
            return load_broadcast(builder, at(builder, pointer, 5 * r + k))

        for r in range(5):
            left = weight(r, edge - 1)
            for k in range(columns):
                own = weight(r, edge + k)
                value = builder.select(right, left, own)
                left = own
                for gradient, down in parts:
                    j = (r + down) * columns + k
                    values[j] = multiply_add(builder, gradient, value, values[j])
        return pack(context, builder, sums, values)

    return sums(sums, first, FLOATS, FLOATS, lanes), generate


@once
def input_gradient(first: int) -> Kernel:
    """Gradient of one input channel ``[14][14][LANES]`` of conv2, summed over all its outputs.

    The kernel adds the columns from `first` on of every window's patch, PATCH_COLUMNS of them.
    Arguments: weights between the channel and the first output, step to the next output's, outputs,
    places of the maxima ``[outputs][25]`` and gradients ``[outputs][25][LANES]`` of the pooling
    windows, gradient of the channel (added to).
    """

    def kernel(weights, step, outputs, places, gradients, out):
        for py in range(5):
            for px in range(5):
                sums = zeros(_PATCH_SUMS)
                for o in range(outputs):
                    here = o * 25 + py * 5 + px
                    sums = _add_chosen_weights(
                        sums,
                        first,
                        shift(weights, o * step),
                        shift(places, here),
                        vload(gradients, here * LANES),
                    )
                corner = (2 * py * 14 + 2 * px + first) * LANES
                _add_vectors(sums, shift(out, corner), 14 * LANES, PATCH_COLUMNS)

    kernel.__name__ = f"input_gradient_{first}"
    integer = types.int64
    return compile_kernel(kernel, FLOATS, integer, integer, FLOATS, FLOATS, FLOATS)


@once
def gate_gradient() -> Kernel:
    """Cut gradients off where ReLU did, and add up each channel's: the gradient of its bias.

    Arguments: gradients ``[channels][windows][LANES]`` (changed), what ReLU gave, channels,
    windows, gradients of the biases ``[channels][LANES]`` (added to).
    """

    def gate_gradient(gradients, responses, channels, windows, d_bias):
        for c in range(channels):
            total = vload(d_bias, c * LANES)
            for i in range(c * windows, (c + 1) * windows):
                value = gate(vload(responses, i * LANES), vload(gradients, i * LANES))
                vstore(gradients, i * LANES, value)
                total = vadd(total, value)
            vstore(d_bias, c * LANES, total)

    return compile_kernel(gate_gradient, FLOATS, FLOATS, types.int64, types.int64, FLOATS)


@once
def dense_backward() -> Kernel:
    """Gradients of one fully connected layer, lanes kept apart.

    Arguments: input ``[inputs][LANES]``, inputs, outputs, weights, gradient of the outputs,
    gradient of the inputs, whether it goes through a ReLU, gradients of weights ``[outputs *
    inputs][LANES]`` and of biases (both added to).
    """

    def dense_backward(x, inputs, outputs, weights, d_out, d_in, with_relu, d_weights, d_bias):
        for o in range(outputs):
            here = o * LANES
            vstore(d_bias, here, vadd(vload(d_bias, here), vload(d_out, here)))
        for i in range(inputs):
            value = vload(x, i * LANES)
            back = splat(0.0)
            for o in range(outputs):
                gradient = vload(d_out, o * LANES)
                back = fma(splat(weights[o * inputs + i]), gradient, back)
                here = (o * inputs + i) * LANES
                vstore(d_weights, here, fma(gradient, value, vload(d_weights, here)))
            if with_relu:
                back = gate(value, back)
            vstore(d_in, i * LANES, back)

    integer = types.int64
    return compile_kernel(
        dense_backward,
        FLOATS,
        integer,
        integer,
        FLOATS,
        FLOATS,
        FLOATS,
        integer,
        FLOATS,
        FLOATS,
    )


@once
def update() -> Kernel:
    """torch.optim.SGD's step: weight decay joins the gradient, momentum without dampening.

    Arguments: parameters, momenta, gradients, their number (a multiple of LANES), learning rate,
    momentum, weight decay.
    """

    def update(parameters, momenta, gradient, count, rate, momentum, decay):
        for i in range(0, count, LANES):
            value = vload(parameters, i)
            speed = fma(splat(decay), value, vload(gradient, i))
            speed = fma(splat(momentum), vload(momenta, i), speed)
            vstore(momenta, i, speed)
            vstore(parameters, i, vsub(value, vmul(splat(rate), speed)))

    single = types.float32
    return compile_kernel(update, FLOATS, FLOATS, FLOATS, types.int64, single, single, single)
