"""The two pooled convolutions of a LeNet, forward and backward, as Triton kernels.

Program ids: first a tile of work, last the candidate; a program reads one candidate's numbers
only, and adds in an order that depends on nothing but the batch, so that no result depends on K.
Feature maps are [K][room][channels][cells]; `winners` says which of the four positions under a
cell the max-pool took, or DEAD where ReLU stopped it. Matrix products are in full float32.

Arguments in capitals are compile-time constants: padded sizes, powers of two from 16 on. Triton
must not specialise on the others, or every short batch and every kept count would compile anew.
"""

import triton
import triton.language as tl

# Images are 32x32; a 5x5 kernel leaves 28, the pool 14, then 10 and 5.
SIDE = tl.constexpr(32)
CELLS1 = tl.constexpr(14)
MAP2 = tl.constexpr(10)
CELLS2 = tl.constexpr(5)
TAPS = tl.constexpr(25)
DEAD = tl.constexpr(4)


@triton.jit
def _wins(value, best):
    # torch's rule: the first of the largest, and a NaN above all.
    return (value > best) | (value != value)


@triton.jit
def _pool(upper_left, upper_right, lower_left, lower_right):
    """Returns the rectified maximum of four positions, and which it was or DEAD."""
    best = upper_left
    winner = tl.zeros(best.shape, tl.int32)
    takes = _wins(upper_right, best)
    best = tl.where(takes, upper_right, best)
    winner = tl.where(takes, 1, winner)
    takes = _wins(lower_left, best)
    best = tl.where(takes, lower_left, best)
    winner = tl.where(takes, 2, winner)
    takes = _wins(lower_right, best)
    best = tl.where(takes, lower_right, best)
    winner = tl.where(takes, 3, winner)
    dead = best <= 0
    return tl.where(dead, 0.0, best), tl.where(dead, DEAD, winner)


@triton.jit(
    do_not_specialize=["count", "room", "filters", "size"], do_not_specialize_on_alignment=["order"]
)
def conv1_forward(
    images,
    order,
    parameters,
    pooled,
    winners,
    count,
    room,
    filters,
    size,
    FILTERS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """conv1, max-pool and ReLU of `count` images, those that `order` names.

    Grid: (blocks of BLOCK (sample, cell) pairs, K).
    """
    candidate = tl.program_id(1).to(tl.int64)
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = pair // (CELLS1 * CELLS1)
    cell = pair % (CELLS1 * CELLS1)
    inside = sample < count
    image = tl.load(order + sample, mask=inside, other=0)
    tap = tl.arange(0, 32)
    one = tl.arange(0, FILTERS)
    some = one < filters
    own = parameters + candidate * size
    weights = tl.load(
        own + one[None, :] * TAPS + tap[:, None],
        mask=(tap < TAPS)[:, None] & some[None, :],
        other=0.0,
    )
    bias = tl.load(own + filters * TAPS + one, mask=some, other=0.0)[None, :]
    corner = image * (SIDE * SIDE) + cell // CELLS1 * (2 * SIDE) + cell % CELLS1 * 2
    source = images + corner[:, None] + (tap // 5 * SIDE + tap % 5)[None, :]
    known = inside[:, None] & (tap < TAPS)[None, :]
    patch = tl.load(source, mask=known, other=0.0)
    a = tl.dot(patch, weights, input_precision="ieee") + bias
    patch = tl.load(source + 1, mask=known, other=0.0)
    b = tl.dot(patch, weights, input_precision="ieee") + bias
    patch = tl.load(source + SIDE, mask=known, other=0.0)
    c = tl.dot(patch, weights, input_precision="ieee") + bias
    patch = tl.load(source + SIDE + 1, mask=known, other=0.0)
    d = tl.dot(patch, weights, input_precision="ieee") + bias
    value, winner = _pool(a, b, c, d)
    row = (candidate * room + sample) * filters
    place = (row[:, None] + one[None, :]) * (CELLS1 * CELLS1) + cell[:, None]
    kept = inside[:, None] & some[None, :]
    tl.store(pooled + place, value, mask=kept)
    tl.store(winners + place, winner.to(tl.int8), mask=kept)


@triton.jit(do_not_specialize=["count", "room", "channels", "filters", "offset", "size"])
def conv2_forward(
    pooled1,
    parameters,
    pooled2,
    winners2,
    count,
    room,
    channels,
    filters,
    offset,
    size,
    FILTERS: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """conv2, max-pool and ReLU, from the maps of conv1; its weights begin at `offset`.

    Grid: (blocks of BLOCK (sample, cell) pairs, K). DEPTH inputs are taken at a time.
    """
    candidate = tl.program_id(1).to(tl.int64)
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = pair // (CELLS2 * CELLS2)
    cell = pair % (CELLS2 * CELLS2)
    inside = sample < count
    one = tl.arange(0, FILTERS)
    some = one < filters
    own = parameters + candidate * size + offset
    inputs = channels * TAPS
    corner = (candidate * room + sample) * (channels * CELLS1 * CELLS1)
    corner += cell // CELLS2 * (2 * CELLS1) + cell % CELLS2 * 2
    a = tl.zeros((BLOCK, FILTERS), tl.float32)
    b = tl.zeros((BLOCK, FILTERS), tl.float32)
    c = tl.zeros((BLOCK, FILTERS), tl.float32)
    d = tl.zeros((BLOCK, FILTERS), tl.float32)
    for start in range(0, inputs, DEPTH):
        tap = start + tl.arange(0, DEPTH)
        real = tap < inputs
        weights = tl.load(
            own + one[None, :] * inputs + tap[:, None],
            mask=real[:, None] & some[None, :],
            other=0.0,
        )
        shift = tap // TAPS * (CELLS1 * CELLS1) + tap % TAPS // 5 * CELLS1 + tap % 5
        source = pooled1 + corner[:, None] + shift[None, :]
        known = inside[:, None] & real[None, :]
        patch = tl.load(source, mask=known, other=0.0)
        a += tl.dot(patch, weights, input_precision="ieee")
        patch = tl.load(source + 1, mask=known, other=0.0)
        b += tl.dot(patch, weights, input_precision="ieee")
        patch = tl.load(source + CELLS1, mask=known, other=0.0)
        c += tl.dot(patch, weights, input_precision="ieee")
        patch = tl.load(source + CELLS1 + 1, mask=known, other=0.0)
        d += tl.dot(patch, weights, input_precision="ieee")
    bias = tl.load(own + filters * inputs + one, mask=some, other=0.0)[None, :]
    value, winner = _pool(a + bias, b + bias, c + bias, d + bias)
    row = (candidate * room + sample) * filters
    place = (row[:, None] + one[None, :]) * (CELLS2 * CELLS2) + cell[:, None]
    kept = inside[:, None] & some[None, :]
    tl.store(pooled2 + place, value, mask=kept)
    tl.store(winners2 + place, winner.to(tl.int8), mask=kept)


@triton.jit(do_not_specialize=["count", "room", "channels", "filters", "offset", "size"])
def conv2_input_gradient(
    gradients2,
    winners2,
    parameters,
    gradients1,
    count,
    room,
    channels,
    filters,
    offset,
    size,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """The gradient of the maps of conv1, from that of the maps of conv2.

    Grid: (blocks of BLOCK (sample, cell of conv1) pairs, K).
    """
    candidate = tl.program_id(1).to(tl.int64)
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    sample = pair // (CELLS1 * CELLS1)
    cell = pair % (CELLS1 * CELLS1)
    inside = sample < count
    channel = tl.arange(0, CHANNELS)
    some = channel < channels
    own = parameters + candidate * size + offset
    row = (candidate * room + sample) * filters
    total = tl.zeros((BLOCK, CHANNELS), tl.float32)
    for start in range(0, filters * TAPS, DEPTH):
        tap = start + tl.arange(0, DEPTH)
        real = tap < filters * TAPS
        one = tap // TAPS
        # The position of conv2 whose window has this cell under this tap.
        y = (cell // CELLS1)[:, None] - (tap % TAPS // 5)[None, :]
        x = (cell % CELLS1)[:, None] - (tap % 5)[None, :]
        known = (y >= 0) & (y < MAP2) & (x >= 0) & (x < MAP2)
        known = known & inside[:, None] & real[None, :]
        place = (row[:, None] + one[None, :]) * (CELLS2 * CELLS2) + y // 2 * CELLS2 + x // 2
        winner = tl.load(winners2 + place, mask=known, other=DEAD).to(tl.int32)
        gradient = tl.load(gradients2 + place, mask=known, other=0.0)
        gradient = tl.where(winner == y % 2 * 2 + x % 2, gradient, 0.0)
        weights = tl.load(
            own + ((one * channels)[:, None] + channel[None, :]) * TAPS + (tap % TAPS)[:, None],
            mask=real[:, None] & some[None, :],
            other=0.0,
        )
        total += tl.dot(gradient, weights, input_precision="ieee")
    into = (candidate * room + sample) * channels
    place = (into[:, None] + channel[None, :]) * (CELLS1 * CELLS1) + cell[:, None]
    tl.store(gradients1 + place, total, mask=inside[:, None] & some[None, :])


@triton.jit(do_not_specialize=["count", "room", "channels", "filters", "offset", "size"])
def conv2_weight_gradient(
    gradients2,
    winners2,
    pooled1,
    partials,
    count,
    room,
    channels,
    filters,
    offset,
    size,
    FILTERS: tl.constexpr,
    SLICE: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """What one slice of SLICE samples adds to the gradient of conv2's weights and biases.

    Grid: (slices, blocks of DEPTH inputs, K).
    """
    part = tl.program_id(0)
    candidate = tl.program_id(2).to(tl.int64)
    one = tl.arange(0, FILTERS)
    some = one < filters
    inputs = channels * TAPS
    tap = tl.program_id(1) * DEPTH + tl.arange(0, DEPTH)
    real = tap < inputs
    shift = tap // TAPS * (CELLS1 * CELLS1) + tap % TAPS // 5 * CELLS1 + tap % 5
    total = tl.zeros((FILTERS, DEPTH), tl.float32)
    bias = tl.zeros((FILTERS,), tl.float32)
    for start in range(0, SLICE * MAP2 * MAP2, BLOCK):
        position = start + tl.arange(0, BLOCK)
        sample = part * SLICE + position // (MAP2 * MAP2)
        inside = (position < SLICE * MAP2 * MAP2) & (sample < count)
        y = position % (MAP2 * MAP2) // MAP2
        x = position % MAP2
        row = candidate * room + sample
        place = (row * filters)[None, :] + one[:, None]
        place = place * (CELLS2 * CELLS2) + (y // 2 * CELLS2 + x // 2)[None, :]
        known = inside[None, :] & some[:, None]
        winner = tl.load(winners2 + place, mask=known, other=DEAD).to(tl.int32)
        gradient = tl.load(gradients2 + place, mask=known, other=0.0)
        gradient = tl.where(winner == (y % 2 * 2 + x % 2)[None, :], gradient, 0.0)
        corner = row * (channels * CELLS1 * CELLS1) + y * CELLS1 + x
        patch = tl.load(
            pooled1 + corner[:, None] + shift[None, :],
            mask=inside[:, None] & real[None, :],
            other=0.0,
        )
        total += tl.dot(gradient, patch, input_precision="ieee")
        bias += tl.sum(gradient, 1)
    own = partials + (candidate * tl.num_programs(0) + part) * size + offset
    tl.store(own + one[:, None] * inputs + tap[None, :], total, mask=some[:, None] & real[None, :])
    if tl.program_id(1) == 0:
        tl.store(own + filters * inputs + one, bias, mask=some)


@triton.jit(
    do_not_specialize=["count", "room", "filters", "size"], do_not_specialize_on_alignment=["order"]
)
def conv1_weight_gradient(
    gradients1,
    winners1,
    images,
    order,
    partials,
    count,
    room,
    filters,
    size,
    FILTERS: tl.constexpr,
    SLICE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """What one slice of SLICE samples adds to the gradient of conv1's weights and biases.

    Grid: (slices, K).
    """
    part = tl.program_id(0)
    candidate = tl.program_id(1).to(tl.int64)
    one = tl.arange(0, FILTERS)
    some = one < filters
    tap = tl.arange(0, 32)
    shift = tap // 5 * SIDE + tap % 5
    total = tl.zeros((FILTERS, 32), tl.float32)
    bias = tl.zeros((FILTERS,), tl.float32)
    for start in range(0, SLICE * 4 * CELLS1 * CELLS1, BLOCK):
        position = start + tl.arange(0, BLOCK)
        sample = part * SLICE + position // (4 * CELLS1 * CELLS1)
        inside = (position < SLICE * 4 * CELLS1 * CELLS1) & (sample < count)
        y = position % (4 * CELLS1 * CELLS1) // (2 * CELLS1)
        x = position % (2 * CELLS1)
        place = ((candidate * room + sample) * filters)[None, :] + one[:, None]
        place = place * (CELLS1 * CELLS1) + (y // 2 * CELLS1 + x // 2)[None, :]
        known = inside[None, :] & some[:, None]
        winner = tl.load(winners1 + place, mask=known, other=DEAD).to(tl.int32)
        gradient = tl.load(gradients1 + place, mask=known, other=0.0)
        gradient = tl.where(winner == (y % 2 * 2 + x % 2)[None, :], gradient, 0.0)
        image = tl.load(order + sample, mask=inside, other=0)
        corner = image * (SIDE * SIDE) + y * SIDE + x
        patch = tl.load(
            images + corner[:, None] + shift[None, :],
            mask=inside[:, None] & (tap < TAPS)[None, :],
            other=0.0,
        )
        total += tl.dot(gradient, patch, input_precision="ieee")
        bias += tl.sum(gradient, 1)
    own = partials + (candidate * tl.num_programs(0) + part) * size
    tl.store(
        own + one[:, None] * TAPS + tap[None, :],
        total,
        mask=some[:, None] & (tap < TAPS)[None, :],
    )
    tl.store(own + filters * TAPS + one, bias, mask=some)
