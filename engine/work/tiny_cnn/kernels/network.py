"""Whole networks: forward, one SGD step, training and evaluating a range of candidates.

These kernels only call others, by the addresses in the table of `layout`.
"""

from __future__ import annotations

from numba.core import types

from engine.work.tiny_cnn.kernels import layout as at
from engine.work.tiny_cnn.kernels.compiling import Kernel, compile_kernel, once
from engine.work.tiny_cnn.kernels.toom_cook import PRODUCTS
from engine.work.tiny_cnn.kernels.vectors import (
    DOUBLES,
    FLOATS,
    INTS,
    LANES,
    LONGS,
    call_kernel,
    hsum,
    prefetch,
    shift,
    splat,
    vload,
    vstore,
)

_DENSE_FIELDS = 5
_CELLS1 = 196
_CELLS2 = 25


@once
def prepare() -> Kernel:
    """Brings the weights of conv2 into the form that its kernels take.

    To be called whenever parameters are new, before `forward`. Arguments: table, parameters, work
    space.
    """

    def prepare(table, p, space):
        call_kernel(
            table[at.TRANSFORM_WEIGHTS],
            (
                shift(p, table[at.WEIGHTS2]),
                table[at.CONV1] * table[at.CONV2] * 5,
                shift(space, table[at.PREPARED2]),
            ),
        )

    return compile_kernel(prepare, LONGS, FLOATS, FLOATS)


@once
def conv_layer() -> Kernel:
    """All blocks of one convolution with pooling; arguments as those of the blocks' kernels.

    The first argument is the table's list of blocks: their number, then size and address of each;
    after the weights comes how many numbers there are to each pair of channels.
    """

    def conv_layer(blocks, x, channels, size, weights, taps, bias, out, places, with_places):
        pooled = (size - 4) // 2
        first = 0
        for b in range(blocks[0]):
            here = first * pooled * pooled
            call_kernel(
                blocks[2 + 2 * b],
                (
                    x,
                    channels,
                    size,
                    shift(weights, first * channels * taps),
                    shift(bias, first),
                    shift(out, here * LANES),
                    shift(places, here),
                    with_places,
                ),
            )
            first += blocks[1 + 2 * b]

    integer = types.int64
    return compile_kernel(
        conv_layer,
        LONGS,
        FLOATS,
        integer,
        integer,
        FLOATS,
        integer,
        FLOATS,
        FLOATS,
        FLOATS,
        integer,
    )


@once
def dense_stack() -> Kernel:
    """The fully connected layers from number `first` on (conv3 is number 0).

    Arguments: table, first layer, parameters, work space; the input of the first layer is there.
    """

    def dense_stack(table, first, p, space):
        count = table[at.DENSE_COUNT]
        for layer in range(first, count):
            row = shift(table, table[at.DENSE] + layer * _DENSE_FIELDS)
            last = layer == count - 1
            out = table[at.LOGITS] if last else row[_DENSE_FIELDS + 4]
            call_kernel(
                table[at.DENSE_FORWARD],
                (
                    shift(space, row[4]),
                    row[0],
                    row[1],
                    shift(p, row[2]),
                    shift(p, row[3]),
                    shift(space, out),
                    0 if last else 1,
                ),
            )

    return compile_kernel(dense_stack, LONGS, types.int64, FLOATS, FLOATS)


@once
def forward() -> Kernel:
    """Logits of one group of images, all activations kept in the work space.

    Arguments: table, images ``[1024][LANES]``, parameters, which `prepare` has seen, work space,
    whether places are wanted.
    """

    def forward(table, x, p, space, with_places):
        responses1 = shift(space, table[at.RESPONSES1])
        call_kernel(
            table[at.CONV_LAYER],
            (
                shift(table, table[at.BLOCKS1]),
                x,
                1,
                32,
                shift(p, table[at.WEIGHTS1]),
                25,
                shift(p, table[at.BIAS1]),
                responses1,
                shift(space, table[at.PLACES1]),
                with_places,
            ),
        )
        transformed = shift(space, table[at.TRANSFORMED2])
        call_kernel(table[at.TRANSFORM_INPUTS], (responses1, table[at.CONV1] * 14, 14, transformed))
        call_kernel(
            table[at.CONV_LAYER],
            (
                shift(table, table[at.BLOCKS2]),
                transformed,
                table[at.CONV1],
                14,
                shift(space, table[at.PREPARED2]),
                5 * PRODUCTS,
                shift(p, table[at.BIAS2]),
                shift(space, table[at.RESPONSES2]),
                shift(space, table[at.PLACES2]),
                with_places,
            ),
        )
        call_kernel(table[at.DENSE_STACK], (table, 0, p, space))

    return compile_kernel(forward, LONGS, FLOATS, FLOATS, FLOATS, types.int64)


@once
def evaluate() -> Kernel:
    """Sums of loss and hits of a range of candidates over some groups of images.

    Arguments: table, images ``[groups][1024][LANES]``, labels (-1: no sample), groups, parameters
    of all candidates, first candidate, end, totals ``[candidates][2]`` of float64 (set), work
    space.
    """

    def evaluate(table, images, labels, groups, parameters, first, end, totals, space):
        for k in range(first, end):
            p = shift(parameters, k * table[at.PARAMETERS])
            total = shift(totals, 2 * k)
            total[0] = 0.0
            total[1] = 0.0
            call_kernel(table[at.PREPARE], (table, p, space))
            for group in range(groups):
                x = shift(images, group * 1024 * LANES)
                call_kernel(table[at.FORWARD], (table, x, p, space, 0))
                call_kernel(
                    table[at.CROSS_ENTROPY],
                    (
                        shift(space, table[at.LOGITS]),
                        table[at.CLASSES],
                        shift(labels, group * LANES),
                        total,
                        shift(space, table[at.LOGIT_GRADIENT]),
                        shift(space, table[at.SCRATCH]),
                        types.float32(0.0),
                    ),
                )

    integer = types.int64
    return compile_kernel(
        evaluate, LONGS, FLOATS, INTS, integer, FLOATS, integer, integer, DOUBLES, FLOATS
    )


@once
def group_backward() -> Kernel:
    """Backward pass of one group after `forward` and `cross_entropy`: adds up all gradients.

    Arguments: table, images ``[1024][LANES]``, parameters, work space.
    """

    def group_backward(table, x, p, space):
        sums = shift(space, table[at.WEIGHT_LANES])
        # the dense layers, from the last to conv3
        gradient = shift(space, table[at.LOGIT_GRADIENT])
        for back in range(table[at.DENSE_COUNT]):
            layer = table[at.DENSE_COUNT] - 1 - back
            entry = shift(table, table[at.DENSE] + layer * _DENSE_FIELDS)
            below = table[at.DENSE_GRADIENT] + (back % 2) * table[at.DENSE_GRADIENT_STEP]
            call_kernel(
                table[at.DENSE_BACKWARD],
                (
                    shift(space, entry[4]),
                    entry[0],
                    entry[1],
                    shift(p, entry[2]),
                    gradient,
                    shift(space, below),
                    1 if layer > 0 else 0,
                    shift(sums, entry[2] * LANES),
                    shift(sums, entry[3] * LANES),
                ),
            )
            gradient = shift(space, below)

        channels1 = table[at.CONV1]
        channels2 = table[at.CONV2]
        responses1 = shift(space, table[at.RESPONSES1])
        responses2 = shift(space, table[at.RESPONSES2])
        places1 = shift(space, table[at.PLACES1])
        places2 = shift(space, table[at.PLACES2])
        gradient1 = shift(space, table[at.GRADIENTS1])
        d_weights1 = shift(sums, table[at.WEIGHTS1] * LANES)
        d_weights2 = shift(sums, table[at.WEIGHTS2] * LANES)
        call_kernel(
            table[at.GATE_GRADIENT],
            (gradient, responses2, channels2, _CELLS2, shift(sums, table[at.BIAS2] * LANES)),
        )
        # meanwhile fetch the next group: a batch is too large for the second cache
        following = shift(x, 1024 * LANES)
        part = 1024 * LANES // channels1
        for c in range(channels1):
            for i in range(c * part, (c + 1) * part, 16):
                prefetch(following, i)
            channel = shift(responses1, c * _CELLS1 * LANES)
            for o in range(channels2):
                call_kernel(
                    table[at.WEIGHT_GRADIENT],
                    (
                        channel,
                        14,
                        shift(places2, o * _CELLS2),
                        shift(gradient, o * _CELLS2 * LANES),
                        0,
                        5,
                        shift(d_weights2, (o * channels1 + c) * 25 * LANES),
                    ),
                )
            below = shift(gradient1, c * _CELLS1 * LANES)
            for i in range(_CELLS1):
                vstore(below, i * LANES, splat(0.0))
            parts = shift(table, table[at.INPUT_GRADIENTS])
            for i in range(parts[0]):
                call_kernel(
                    parts[1 + i],
                    (
                        shift(p, table[at.WEIGHTS2] + c * 25),
                        channels1 * 25,
                        channels2,
                        places2,
                        gradient,
                        below,
                    ),
                )
        call_kernel(
            table[at.GATE_GRADIENT],
            (gradient1, responses1, channels1, _CELLS1, shift(sums, table[at.BIAS1] * LANES)),
        )
        # the image is too large for the innermost cache: go through it once, not once per filter
        for py in range(0, 14, 2):
            for c in range(channels1):
                call_kernel(
                    table[at.WEIGHT_GRADIENT],
                    (
                        x,
                        32,
                        shift(places1, c * _CELLS1),
                        shift(gradient1, c * _CELLS1 * LANES),
                        py,
                        py + 2,
                        shift(d_weights1, c * 25 * LANES),
                    ),
                )

    return compile_kernel(group_backward, LONGS, FLOATS, FLOATS, FLOATS)


@once
def train() -> Kernel:
    """SGD steps of a range of candidates over consecutive batches.

    Arguments: table; images ``[batches][groups][1024][LANES]``, labels ``[batches][groups *
    LANES]``; size of each batch, number of batches, groups of a full batch; parameters and momenta
    of all candidates, first candidate, end; learning rate, momentum, weight decay; sums of loss and
    hits (2, left as they are), work space.
    """

    def train(
        table,
        images,
        labels,
        sizes,
        batches,
        groups,
        parameters,
        momenta,
        first,
        end,
        rate,
        momentum,
        decay,
        totals,
        space,
    ):
        count = table[at.PARAMETERS]
        gradient = shift(space, table[at.GRADIENT])
        sums = shift(space, table[at.WEIGHT_LANES])
        for k in range(first, end):
            p = shift(parameters, k * count)
            for b in range(batches):
                call_kernel(table[at.PREPARE], (table, p, space))
                for i in range(table[at.USED]):
                    vstore(sums, i * LANES, splat(0.0))
                for group in range((sizes[b] + LANES - 1) // LANES):
                    here = b * groups + group
                    x = shift(images, here * 1024 * LANES)
                    call_kernel(table[at.FORWARD], (table, x, p, space, 1))
                    call_kernel(
                        table[at.CROSS_ENTROPY],
                        (
                            shift(space, table[at.LOGITS]),
                            table[at.CLASSES],
                            shift(labels, here * LANES),
                            totals,
                            shift(space, table[at.LOGIT_GRADIENT]),
                            shift(space, table[at.SCRATCH]),
                            types.float32(1.0 / sizes[b]),
                        ),
                    )
                    call_kernel(table[at.GROUP_BACKWARD], (table, x, p, space))
                for i in range(table[at.USED]):
                    gradient[i] = hsum(vload(sums, i * LANES))
                call_kernel(
                    table[at.UPDATE],
                    (p, shift(momenta, k * count), gradient, count, rate, momentum, decay),
                )

    integer = types.int64
    single = types.float32
    return compile_kernel(
        train,
        LONGS,
        FLOATS,
        INTS,
        LONGS,
        integer,
        integer,
        FLOATS,
        FLOATS,
        integer,
        integer,
        single,
        single,
        single,
        DOUBLES,
        FLOATS,
    )
