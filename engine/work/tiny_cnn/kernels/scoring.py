"""Losses of many candidates that differ in one pruned layer; what they share is computed once.

Upstream of the pruned layer all candidates are the base network. The next layer's response is a sum
over its input channels, so there is one partial response per (filter, input channel it meets).
Sums of several partial responses that many candidates contain are *entries*: each is an
earlier entry plus one partial response (entry 0 is zero), and a candidate is a few entries.
"""

from __future__ import annotations

from numba import njit
from numba.core import types
from numba.extending import intrinsic

from engine.work.tiny_cnn.kernels import layout as at
from engine.work.tiny_cnn.kernels.compiling import Kernel, compile_kernel, once
from engine.work.tiny_cnn.kernels.vectors import (
    DOUBLES,
    FLOATS,
    INTS,
    LANES,
    LONGS,
    call_kernel,
    constant,
    fma,
    lanes,
    load,
    load_broadcast,
    maximum,
    multiply_add,
    pack,
    relu,
    shift,
    splat,
    store,
    unpack,
    vadd,
    vload,
    vstore,
    zeros,
)
from engine.work.tiny_cnn.kernels.vectors import at as address

_DENSE_FIELDS = 5
_ROW = 20  # conv2's responses under one row of pooling windows: 5 windows of 2x2


@intrinsic
def _convolve_ten(typing, sums, x, weights):
    """Add one kernel row (5 taps) to ten neighbouring responses."""

    def generate(context, builder, signature, arguments):
        packed, inputs, taps = arguments
        values = unpack(builder, packed, sums.count)
        for k in range(5):
            tap = load_broadcast(builder, address(builder, taps, k))
            for i in range(sums.count):
                value = load(builder, address(builder, inputs, LANES * (i + k)))
                values[i] = multiply_add(builder, tap, value, values[i])
        return pack(context, builder, sums, values)

    return sums(sums, FLOATS, FLOATS), generate


@intrinsic
def _store_windows(typing, sums, out):
    """Store ten responses of one row, two to each pooling window of 2x2."""

    def generate(context, builder, signature, arguments):
        for i, value in enumerate(unpack(builder, arguments[0], sums.count)):
            store(builder, value, address(builder, arguments[1], (i // 2 * 4 + i % 2) * LANES))
        return context.get_dummy_value()

    return types.void(sums, FLOATS), generate


@intrinsic
def _add_window(typing, sums, pointer):
    """Add the four responses of one pooling window."""

    def generate(context, builder, signature, arguments):
        values = unpack(builder, arguments[0], 4)
        for i in range(4):
            value = load(builder, address(builder, arguments[1], i * LANES))
            values[i] = builder.fadd(values[i], value)
        return pack(context, builder, sums, values)

    return sums(sums, FLOATS), generate


@intrinsic
def _pool(typing, sums, bias):
    """Max-pool a window, add the bias that its four responses have in common, apply ReLU."""

    def generate(context, builder, signature, arguments):
        a, b, c, d = unpack(builder, arguments[0], 4)
        top = maximum(builder, maximum(builder, a, b), maximum(builder, c, d))
        return maximum(builder, constant(0), builder.fadd(top, arguments[1]))

    return lanes(sums, lanes), generate


@once
def finish() -> Kernel:
    """From every candidate's sums before a ReLU to its loss and hits, for one group.

    Arguments: table, number of the dense layer that follows, candidates, values each, sums
    ``[candidates][values][LANES]``, parameters, labels, totals ``[candidates][2]``, work space.
    """

    def finish(table, layer, candidates, values, sums, p, labels, totals, space):
        is_last = layer == table[at.DENSE_COUNT]
        target = table[at.LOGITS]
        if not is_last:
            target = table[table[at.DENSE] + layer * _DENSE_FIELDS + 4]
        for k in range(candidates):
            for i in range(values):
                value = vload(sums, (k * values + i) * LANES)
                if not is_last:
                    value = relu(value)
                vstore(space, target + i * LANES, value)
            call_kernel(table[at.DENSE_STACK], (table, layer, p, space))
            call_kernel(
                table[at.CROSS_ENTROPY],
                (
                    shift(space, table[at.LOGITS]),
                    table[at.CLASSES],
                    labels,
                    shift(totals, 2 * k),
                    shift(space, table[at.LOGIT_GRADIENT]),
                    shift(space, table[at.SCRATCH]),
                    types.float32(0.0),
                ),
            )

    integer = types.int64
    return compile_kernel(
        finish, LONGS, integer, integer, integer, FLOATS, FLOATS, INTS, DOUBLES, FLOATS
    )


# Shared arguments of the two kernels below: table, images [groups][1024][LANES], labels, groups,
# parameters of the base; pairs (filter, input channel) and their number, entries (earlier entry,
# pair) and their number, terms of the candidates (entries) [candidates][terms] and both numbers;
# totals [candidates][2] (added to), work space, room for partial responses, entries and sums,
# `finish`.
_ARGUMENTS = (
    LONGS,
    FLOATS,
    INTS,
    types.int64,
    FLOATS,
    INTS,
    types.int64,
    INTS,
    types.int64,
    INTS,
    types.int64,
    types.int64,
    DOUBLES,
    FLOATS,
    FLOATS,
    types.int64,
)


@njit(error_model="numpy")
def _window(entry, own, term_count, cell, bias):
    """One pooled response of a candidate: its entries, summed."""
    total = zeros(4)
    for t in range(term_count):
        total = _add_window(total, shift(entry, (own[t] * _ROW + cell * 4) * LANES))
    return _pool(total, bias)


@once
def score_conv1() -> Kernel:
    """Candidates that differ in conv1's filters.

    Arguments: `_ARGUMENTS`; the room is for (pairs + entries) * 20 + candidates * conv3 vectors.
    """

    def score_conv1(
        table,
        images,
        labels,
        groups,
        p,
        pairs,
        pair_count,
        entries,
        entry_count,
        terms,
        candidates,
        term_count,
        totals,
        space,
        room,
        finish_address,
    ):
        channels = table[at.CONV1]
        layer = shift(table, table[at.DENSE])  # conv3
        values = layer[1]
        weights3 = shift(p, layer[2])
        bias3 = shift(p, layer[3])
        responses = shift(space, table[at.RESPONSES1])
        partial = room
        entry = shift(partial, pair_count * _ROW * LANES)
        sums = shift(entry, entry_count * _ROW * LANES)
        for i in range(_ROW):
            vstore(entry, i * LANES, splat(0.0))
        for group in range(groups):
            call_kernel(
                table[at.CONV_LAYER],
                (
                    shift(table, table[at.BLOCKS1]),
                    shift(images, group * 1024 * LANES),
                    1,
                    32,
                    shift(p, table[at.WEIGHTS1]),
                    25,
                    shift(p, table[at.BIAS1]),
                    responses,
                    responses,
                    0,
                ),
            )
            for k in range(candidates):
                for m in range(values):
                    vstore(sums, (k * values + m) * LANES, splat(bias3[m]))
            for o in range(table[at.CONV2]):
                bias = splat(p[table[at.BIAS2] + o])
                for row in range(5):
                    for q in range(pair_count):
                        source = shift(responses, (pairs[2 * q] * 14 + 2 * row) * 14 * LANES)
                        channel = o * channels + pairs[2 * q + 1]
                        taps = shift(p, table[at.WEIGHTS2] + channel * 25)
                        for y in range(2):
                            ten = zeros(10)
                            for ky in range(5):
                                ten = _convolve_ten(
                                    ten, shift(source, (y + ky) * 14 * LANES), shift(taps, ky * 5)
                                )
                            _store_windows(ten, shift(partial, (q * _ROW + 2 * y) * LANES))
                    for e in range(1, entry_count):
                        earlier = entries[2 * e] * _ROW
                        added = entries[2 * e + 1] * _ROW
                        for i in range(_ROW):
                            value = vadd(
                                vload(entry, (earlier + i) * LANES),
                                vload(partial, (added + i) * LANES),
                            )
                            vstore(entry, (e * _ROW + i) * LANES, value)
                    for k in range(candidates):
                        own = shift(terms, k * term_count)
                        v0 = _window(entry, own, term_count, 0, bias)
                        v1 = _window(entry, own, term_count, 1, bias)
                        v2 = _window(entry, own, term_count, 2, bias)
                        v3 = _window(entry, own, term_count, 3, bias)
                        v4 = _window(entry, own, term_count, 4, bias)
                        for m in range(values):
                            here = (k * values + m) * LANES
                            w = shift(weights3, m * layer[0] + o * 25 + row * 5)
                            total = fma(splat(w[0]), v0, vload(sums, here))
                            total = fma(splat(w[1]), v1, total)
                            total = fma(splat(w[2]), v2, total)
                            total = fma(splat(w[3]), v3, total)
                            vstore(sums, here, fma(splat(w[4]), v4, total))
            call_kernel(
                finish_address,
                (
                    table,
                    1,
                    candidates,
                    values,
                    sums,
                    p,
                    shift(labels, group * LANES),
                    totals,
                    space,
                ),
            )

    return compile_kernel(score_conv1, *_ARGUMENTS)


@once
def score_dense() -> Kernel:
    """Candidates that differ in conv2's or conv3's filters, which feed a fully connected layer.

    The last argument but one of `_ARGUMENTS` is followed by the number of that layer (0: conv3,
    1: fc1) in `layer`. `room`: (pairs + entries + candidates) * outputs of that layer.
    """

    def score_dense(
        table,
        images,
        labels,
        groups,
        p,
        pairs,
        pair_count,
        entries,
        entry_count,
        terms,
        candidates,
        term_count,
        totals,
        space,
        room,
        finish_address,
        layer,
    ):
        row = shift(table, table[at.DENSE] + layer * _DENSE_FIELDS)
        inputs = row[0]
        values = row[1]
        taps = 25 if layer == 0 else 1
        weights = shift(p, row[2])
        bias = shift(p, row[3])
        source = shift(space, row[4])
        partial = room
        entry = shift(partial, pair_count * values * LANES)
        sums = shift(entry, entry_count * values * LANES)
        for m in range(values):
            vstore(entry, m * LANES, splat(0.0))
        call_kernel(table[at.PREPARE], (table, p, space))
        for group in range(groups):
            call_kernel(
                table[at.FORWARD], (table, shift(images, group * 1024 * LANES), p, space, 0)
            )
            for q in range(pair_count):
                own = shift(source, pairs[2 * q] * taps * LANES)
                for m in range(values):
                    w = shift(weights, m * inputs + pairs[2 * q + 1] * taps)
                    total = splat(0.0)
                    for i in range(taps):
                        total = fma(splat(w[i]), vload(own, i * LANES), total)
                    vstore(partial, (q * values + m) * LANES, total)
            for e in range(1, entry_count):
                earlier = entries[2 * e] * values
                added = entries[2 * e + 1] * values
                for m in range(values):
                    value = vadd(
                        vload(entry, (earlier + m) * LANES), vload(partial, (added + m) * LANES)
                    )
                    vstore(entry, (e * values + m) * LANES, value)
            for k in range(candidates):
                for m in range(values):
                    total = splat(bias[m])
                    for t in range(term_count):
                        term = terms[k * term_count + t] * values + m
                        total = vadd(total, vload(entry, term * LANES))
                    vstore(sums, (k * values + m) * LANES, total)
            call_kernel(
                finish_address,
                (
                    table,
                    layer + 1,
                    candidates,
                    values,
                    sums,
                    p,
                    shift(labels, group * LANES),
                    totals,
                    space,
                ),
            )

    return compile_kernel(score_dense, *_ARGUMENTS, types.int64)
