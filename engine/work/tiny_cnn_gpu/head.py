"""The fully connected part of a LeNet with its loss, and the SGD step, as Triton kernels.

conv3 sees the whole of its input, so it is a fully connected layer here. `layout` has one row of
int32 for each of these layers: where its weights begin, inputs, outputs.
"""

import triton
import triton.language as tl

COLUMNS = tl.constexpr(3)


@triton.jit(do_not_specialize=["count", "size"], do_not_specialize_on_alignment=["order"])
def head_forward(
    pooled2,
    parameters,
    layout,
    values,
    labels,
    order,
    losses,
    hits,
    count,
    size,
    ROOM: tl.constexpr,
    LAYERS: tl.constexpr,
    WIDTH: tl.constexpr,
    SLICE: tl.constexpr,
    DEPTH: tl.constexpr,
    TRAINING: tl.constexpr,
):
    """Runs one slice of samples through all these layers to their loss.

    When training, every hidden layer's outputs are left in `values` [K][ROOM][LAYERS][WIDTH], and
    in the last place the gradient of the batch's mean loss by the logits. Otherwise the slice's
    sum of losses and its number of right answers are left in `losses` and `hits` [K][slices].

    Grid: (slices, K).
    """
    part = tl.program_id(0)
    candidate = tl.program_id(1).to(tl.int64)
    sample = part * SLICE + tl.arange(0, SLICE)
    inside = sample < count
    row = candidate * ROOM + sample
    own = parameters + candidate * size
    column = tl.arange(0, WIDTH)

    offset = tl.load(layout)
    inputs = tl.load(layout + 1)
    outputs = tl.load(layout + 2)
    now = tl.zeros((SLICE, WIDTH), tl.float32)
    for start in range(0, inputs, DEPTH):
        entry = start + tl.arange(0, DEPTH)
        real = entry < inputs
        # Samples lie next to each other, as convolutions.py has them.
        maps = tl.load(
            pooled2 + candidate * inputs * ROOM + entry[None, :] * ROOM + sample[:, None],
            mask=real[None, :],
            other=0.0,
        )
        weights = tl.load(
            own + offset + column[None, :] * inputs + entry[:, None],
            mask=real[:, None] & (column < outputs)[None, :],
            other=0.0,
        )
        now += tl.dot(maps, weights, input_precision="ieee")
    bias = tl.load(own + offset + outputs * inputs + column, mask=column < outputs, other=0.0)
    now += bias[None, :]

    spot = (row * LAYERS)[:, None] * WIDTH + column[None, :]
    for layer in tl.static_range(1, LAYERS):
        now = tl.where(now <= 0, 0.0, now)
        if TRAINING:
            tl.store(values + spot + (layer - 1) * WIDTH, now, mask=inside[:, None])
        offset = tl.load(layout + layer * COLUMNS)
        inputs = tl.load(layout + layer * COLUMNS + 1)
        outputs = tl.load(layout + layer * COLUMNS + 2)
        weights = tl.load(
            own + offset + column[None, :] * inputs + column[:, None],
            mask=(column < inputs)[:, None] & (column < outputs)[None, :],
            other=0.0,
        )
        bias = tl.load(own + offset + outputs * inputs + column, mask=column < outputs, other=0.0)
        now = tl.dot(now, weights, input_precision="ieee") + bias[None, :]

    real = (column < outputs)[None, :]
    image = tl.load(order + sample, mask=inside, other=0)
    label = tl.load(labels + image, mask=inside, other=0)
    logits = tl.where(real, now, float("-inf"))
    largest = tl.max(logits, 1)
    powers = tl.where(real, tl.exp(logits - largest[:, None]), 0.0)
    total = tl.sum(powers, 1)
    told = column[None, :] == label[:, None]
    if TRAINING:
        delta = (powers / total[:, None] - tl.where(told, 1.0, 0.0)) / count
        delta = tl.where(real, delta, 0.0)
        tl.store(values + spot + (LAYERS - 1) * WIDTH, delta, mask=inside[:, None])
    else:
        right = tl.sum(tl.where(told, now, 0.0), 1)
        loss = largest + tl.log(total) - right
        # torch's argmax: the first of the largest, and a NaN above all.
        rank = tl.where(logits != logits, float("inf"), logits)
        first = tl.where(rank == tl.max(rank, 1)[:, None], column[None, :], WIDTH)
        hit = (tl.min(first, 1) == label) & inside
        place = candidate * tl.num_programs(0) + part
        tl.store(losses + place, tl.sum(tl.where(inside, loss, 0.0).to(tl.float64), 0))
        tl.store(hits + place, tl.sum(hit.to(tl.int32), 0))


@triton.jit(do_not_specialize=["count", "size"])
def head_backward(
    pooled2,
    parameters,
    layout,
    values,
    gradients2,
    partials,
    count,
    size,
    ROOM: tl.constexpr,
    LAYERS: tl.constexpr,
    WIDTH: tl.constexpr,
    SLICE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """What one slice adds to the gradients of these layers, and the gradient of conv2's maps.

    Grid: (slices, K).
    """
    part = tl.program_id(0)
    candidate = tl.program_id(1).to(tl.int64)
    sample = part * SLICE + tl.arange(0, SLICE)
    inside = sample < count
    row = candidate * ROOM + sample
    own = parameters + candidate * size
    into = partials + (candidate * tl.num_programs(0) + part) * size
    column = tl.arange(0, WIDTH)
    spot = (row * LAYERS)[:, None] * WIDTH + column[None, :]
    delta = tl.load(values + spot + (LAYERS - 1) * WIDTH, mask=inside[:, None], other=0.0)
    for back in tl.static_range(1, LAYERS):
        layer = LAYERS - back
        offset = tl.load(layout + layer * COLUMNS)
        inputs = tl.load(layout + layer * COLUMNS + 1)
        outputs = tl.load(layout + layer * COLUMNS + 2)
        before = tl.load(values + spot + (layer - 1) * WIDTH, mask=inside[:, None], other=0.0)
        real = (column < outputs)[:, None] & (column < inputs)[None, :]
        # Rows are outputs, columns inputs, as torch keeps them.
        entry = offset + column[:, None] * inputs + column[None, :]
        gradient = tl.dot(tl.trans(delta), before, input_precision="ieee")
        tl.store(into + entry, gradient, mask=real)
        tl.store(into + offset + outputs * inputs + column, tl.sum(delta, 0), mask=column < outputs)
        weights = tl.load(own + entry, mask=real, other=0.0)
        delta = tl.dot(delta, weights, input_precision="ieee")
        delta = tl.where(before <= 0, 0.0, delta)

    offset = tl.load(layout)
    inputs = tl.load(layout + 1)
    outputs = tl.load(layout + 2)
    some = column < outputs
    tl.store(into + offset + outputs * inputs + column, tl.sum(delta, 0), mask=some)
    for start in range(0, inputs, DEPTH):
        taken = start + tl.arange(0, DEPTH)
        known = (taken < inputs)[None, :]
        place = candidate * inputs * ROOM + taken[None, :] * ROOM + sample[:, None]
        maps = tl.load(pooled2 + place, mask=known, other=0.0)
        conv3_gradient = tl.dot(tl.trans(delta), maps, input_precision="ieee")
        at = offset + column[:, None] * inputs + taken[None, :]
        tl.store(into + at, conv3_gradient, mask=some[:, None] & known)
        own_weights = tl.load(own + at, mask=some[:, None] & known, other=0.0)
        back_to_maps = tl.dot(delta, own_weights, input_precision="ieee")
        # Samples behind the batch, too: their gradient is zero.
        tl.store(gradients2 + place, back_to_maps, mask=known)


@triton.jit(do_not_specialize=["slices", "size"])
def descend(
    parameters,
    momenta,
    partials,
    rate,
    momentum,
    decay,
    slices,
    size,
    BLOCK: tl.constexpr,
):
    """One SGD step from the slices' partial gradients, added from the first slice to the last.

    torch.optim.SGD's rule: decay is added to the gradient, and there is no dampening.

    Grid: (blocks of BLOCK parameters, K).
    """
    candidate = tl.program_id(1).to(tl.int64)
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    real = entry < size
    place = candidate * size + entry
    source = partials + candidate * slices * size + entry
    gradient = tl.load(source, mask=real, other=0.0)
    for part in range(1, slices):
        gradient += tl.load(source + part * size, mask=real, other=0.0)
    value = tl.load(parameters + place, mask=real, other=0.0)
    velocity = tl.load(momenta + place, mask=real, other=0.0)
    velocity = velocity * momentum + (gradient + value * decay)
    tl.store(momenta + place, velocity, mask=real)
    tl.store(parameters + place, value - tl.load(rate) * velocity, mask=real)
