"""The two pooled convolutions of a LeNet, forward and backward, as Triton kernels.

A lane is one sample: everything is [..][samples], samples next to each other, so that all loads
are coalesced, their offsets are constants, and a weight is one number for the whole program. A
lane computes the four positions under one cell of the pooled map from the 6x6 patch below them.

Of two-dimensional grids the second axis is the candidate; a program reads one candidate's numbers
only, and adds in an order that depends on nothing but the batch, so that no result depends on K.
Samples come in whole slices: `span` of them, of which those behind the batch have black images
and no gradient. `winners` says which of the four positions the max-pool took, or DEAD where ReLU
stopped it. Sums are fused multiply-adds in full float32, written out: what the compiler makes of
`a * b + c` differs between versions of Triton.

Arguments in capitals are compile-time constants: SIDE is that of a convolution's input, FILTERS
(CHANNELS) how many filters (channels) one program takes on, ROOM how many samples maps have room
for. Triton must not specialise on the others, or every kept count would compile anew. Where a last
program has less to do than the others, it does the last of its things several times.
"""

# Tuples get longer while the compiler unrolls a loop.
# mypy: disable-error-code="assignment"

import triton
import triton.language as tl

IMAGE = tl.constexpr(32)
# Maps of conv1 after the pool, positions and pooled cells of conv2.
SIDE2 = tl.constexpr(14)
CELLS2 = tl.constexpr(5)
# A kernel is 5x5, the patch under the four positions of a cell 6x6.
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


@triton.jit
def _zeros(COUNT: tl.constexpr, BLOCK: tl.constexpr):
    """Returns a tuple of sums to begin with."""
    zero = tl.zeros((BLOCK,), tl.float32)
    sums = ()
    for _ in tl.static_range(COUNT):
        sums += (zero,)
    return sums


@triton.jit
def _patch(source, SIDE: tl.constexpr, ROOM: tl.constexpr):
    """Returns the 6x6 values from `source` on, row by row."""
    patch = ()
    for i in tl.static_range(36):
        patch += (tl.load(source + (i // 6 * SIDE + i % 6) * ROOM),)
    return patch


@triton.jit(do_not_specialize=["count"], do_not_specialize_on_alignment=["order"])
def gather(images, order, pixels, count, ROOM: tl.constexpr, SLICE: tl.constexpr):
    """Lays the `count` images that `order` names out as [pixels][samples], black ones after them.

    Grid: (slices, rows of an image).
    """
    sample = tl.program_id(0) * SLICE + tl.arange(0, SLICE)
    pixel = tl.program_id(1) * IMAGE + tl.arange(0, IMAGE)
    inside = sample < count
    image = tl.load(order + sample, mask=inside, other=0)
    value = tl.load(
        images + (image * (IMAGE * IMAGE))[:, None] + pixel[None, :],
        mask=inside[:, None],
        other=0.0,
    )
    tl.store(pixels + pixel[None, :] * ROOM + sample[:, None], value)


@triton.jit(do_not_specialize=["span", "channels", "filters", "offset", "size"])
def convolve(
    maps,
    parameters,
    pooled,
    winners,
    span,
    channels,
    filters,
    offset,
    size,
    SHARED: tl.constexpr,
    SIDE: tl.constexpr,
    FILTERS: tl.constexpr,
    ROOM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A convolution, max-pool and ReLU; its weights begin at `offset`.

    Args are maps [K][channels][SIDE * SIDE][ROOM], without K where they are SHARED.

    Grid: (blocks of BLOCK (cell, sample) pairs times groups of FILTERS filters, K).
    """
    cells: tl.constexpr = (SIDE - 4) // 2
    groups = tl.cdiv(filters, FILTERS)
    first = tl.program_id(0) % groups * FILTERS
    candidate = tl.program_id(1).to(tl.int64)
    pair = tl.program_id(0) // groups * BLOCK + tl.arange(0, BLOCK)
    pair = tl.minimum(pair, cells * cells * span - 1)
    sample = pair % span
    cell = pair // span
    own = parameters + candidate * size + offset
    source = maps + (cell // cells * (2 * SIDE) + cell % cells * 2) * ROOM + sample
    if not SHARED:
        source += candidate * (channels * (SIDE * SIDE * ROOM))
    sums = _zeros(4 * FILTERS, BLOCK)
    for channel in range(channels):
        patch = _patch(source, SIDE, ROOM)
        more = ()
        for i in tl.static_range(FILTERS):
            one = tl.minimum(first + i, filters - 1)
            weights = own + (one * channels + channel) * TAPS
            a, b, c, d = sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]
            for tap in tl.static_range(TAPS):
                weight = tl.load(weights + tap)
                a = tl.fma(patch[tap // 5 * 6 + tap % 5], weight, a)
                b = tl.fma(patch[tap // 5 * 6 + tap % 5 + 1], weight, b)
                c = tl.fma(patch[(tap // 5 + 1) * 6 + tap % 5], weight, c)
                d = tl.fma(patch[(tap // 5 + 1) * 6 + tap % 5 + 1], weight, d)
            more += (a, b, c, d)
        sums = more
        source += SIDE * SIDE * ROOM
    place = cell * ROOM + sample
    for i in tl.static_range(FILTERS):
        one = tl.minimum(first + i, filters - 1)
        bias = tl.load(own + filters * channels * TAPS + one)
        value, winner = _pool(
            sums[4 * i] + bias,
            sums[4 * i + 1] + bias,
            sums[4 * i + 2] + bias,
            sums[4 * i + 3] + bias,
        )
        into = (candidate * filters + one) * (cells * cells * ROOM)
        tl.store(pooled + into + place, value)
        tl.store(winners + into + place, winner.to(tl.int8))


@triton.jit(do_not_specialize=["span", "channels", "filters", "offset", "size"])
def input_gradient(
    gradients2,
    winners2,
    parameters,
    gradients1,
    span,
    channels,
    filters,
    offset,
    size,
    CHANNELS: tl.constexpr,
    ROOM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The gradient of the maps of conv1, from that of the maps of conv2.

    A lane computes a square of 2x2 positions, which 3x3 cells of conv2's maps have seen.

    Grid: (blocks of BLOCK (square, sample) pairs times groups of CHANNELS channels, K).
    """
    squares: tl.constexpr = SIDE2 // 2
    groups = tl.cdiv(channels, CHANNELS)
    first = tl.program_id(0) % groups * CHANNELS
    candidate = tl.program_id(1).to(tl.int64)
    begin = tl.program_id(0) // groups * BLOCK
    last = squares * squares * span - 1
    pair = tl.minimum(begin + tl.arange(0, BLOCK), last)
    sample = pair % span
    square = pair // span
    # The last of the nine cells is that at the square itself.
    y = square // squares
    x = square % squares
    place = candidate * filters * (CELLS2 * CELLS2 * ROOM) + (y * CELLS2 + x) * ROOM + sample
    own = parameters + candidate * size + offset
    # Where all lanes are at one square, cells that it does not see are left out.
    only = begin // span
    several = tl.minimum(begin + BLOCK - 1, last) // span != only
    sums = _zeros(4 * CHANNELS, BLOCK)
    for one in range(filters):
        # All loads first, so that they are waited for once.
        seen_cells = ()
        for i in tl.static_range(9):
            seen = (y >= i // 3) & (y - i // 3 < CELLS2) & (x >= i % 3) & (x - i % 3 < CELLS2)
            at = place - (i // 3 * CELLS2 + i % 3) * ROOM
            gradient = tl.load(gradients2 + at, mask=seen, other=0.0)
            seen_cells += (gradient, tl.load(winners2 + at, mask=seen, other=DEAD))
        weights = ()
        for i in tl.static_range(CHANNELS):
            weights += (own + (one * channels + tl.minimum(first + i, channels - 1)) * TAPS,)
        for i in tl.static_range(9):
            above = only // squares - i // 3
            before = only % squares - i % 3
            if several | ((above >= 0) & (above < CELLS2) & (before >= 0) & (before < CELLS2)):
                sums = _spread(
                    sums,
                    weights,
                    seen_cells[2 * i],
                    seen_cells[2 * i + 1].to(tl.int32),
                    2 * (i // 3),
                    2 * (i % 3),
                    CHANNELS,
                )
        place += CELLS2 * CELLS2 * ROOM
    for i in tl.static_range(CHANNELS):
        channel = tl.minimum(first + i, channels - 1)
        into = gradients1 + (candidate * channels + channel) * (SIDE2 * SIDE2 * ROOM) + sample
        into += (y * (2 * SIDE2) + x * 2) * ROOM
        for corner in tl.static_range(4):
            tl.store(into + (corner // 2 * SIDE2 + corner % 2) * ROOM, sums[4 * i + corner])


@triton.constexpr_function
def _seen(step):
    return 0 <= step < 5


@triton.jit
def _spread(
    sums,
    weights,
    gradient,
    winner,
    DOWN: tl.constexpr,
    RIGHT: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Adds what a cell means for the four corners of a square DOWN and RIGHT of it."""
    for at in tl.static_range(4):
        own = tl.where(winner == at, gradient, 0.0)
        more = ()
        for i in tl.static_range(CHANNELS):
            for corner in tl.static_range(4):
                total = sums[4 * i + corner]
                # The tap under which the cell's position has the corner, if there is one.
                if _seen(DOWN + corner // 2 - at // 2) and _seen(RIGHT + corner % 2 - at % 2):
                    tap = (DOWN + corner // 2 - at // 2) * 5 + RIGHT + corner % 2 - at % 2
                    total = tl.fma(own, tl.load(weights[i] + tap), total)
                more += (total,)
        sums = more
    return sums


@triton.jit(do_not_specialize=["channels", "filters", "offset", "size", "slices"])
def weight_gradient(
    gradients,
    winners,
    maps,
    partials,
    channels,
    filters,
    offset,
    size,
    slices,
    SHARED: tl.constexpr,
    SIDE: tl.constexpr,
    FILTERS: tl.constexpr,
    ROOM: tl.constexpr,
    SLICE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """What one slice of SLICE samples adds to the gradient of a convolution's weights and biases.

    A lane adds up its own samples; lanes are added last.

    Grid: (slices times channels times groups of FILTERS filters, K).
    """
    cells: tl.constexpr = (SIDE - 4) // 2
    groups = tl.cdiv(filters, FILTERS)
    first = tl.program_id(0) % groups * FILTERS
    channel = tl.program_id(0) // groups % channels
    part = tl.program_id(0) // groups // channels
    candidate = tl.program_id(1).to(tl.int64)
    source = maps + channel * (SIDE * SIDE * ROOM)
    if not SHARED:
        source += candidate * (channels * (SIDE * SIDE * ROOM))
    sums = _zeros(TAPS * FILTERS, BLOCK)
    biases = _zeros(FILTERS, BLOCK)
    for start in range(0, cells * cells * SLICE, BLOCK):
        pair = start + tl.arange(0, BLOCK)
        inside = pair < cells * cells * SLICE
        pair = tl.minimum(pair, cells * cells * SLICE - 1)
        sample = part * SLICE + pair % SLICE
        cell = pair // SLICE
        corner = (cell // cells * (2 * SIDE) + cell % cells * 2) * ROOM + sample
        patch = _patch(source + corner, SIDE, ROOM)
        more = ()
        more_biases = ()
        for i in tl.static_range(FILTERS):
            one = tl.minimum(first + i, filters - 1)
            place = (candidate * filters + one) * (cells * cells * ROOM) + cell * ROOM + sample
            winner = tl.load(winners + place, mask=inside, other=DEAD).to(tl.int32)
            gradient = tl.load(gradients + place, mask=inside, other=0.0)
            a = tl.where(winner == 0, gradient, 0.0)
            b = tl.where(winner == 1, gradient, 0.0)
            c = tl.where(winner == 2, gradient, 0.0)
            d = tl.where(winner == 3, gradient, 0.0)
            more_biases += (biases[i] + tl.where(winner == DEAD, 0.0, gradient),)
            for tap in tl.static_range(TAPS):
                total = sums[TAPS * i + tap]
                total = tl.fma(patch[tap // 5 * 6 + tap % 5], a, total)
                total = tl.fma(patch[tap // 5 * 6 + tap % 5 + 1], b, total)
                total = tl.fma(patch[(tap // 5 + 1) * 6 + tap % 5], c, total)
                total = tl.fma(patch[(tap // 5 + 1) * 6 + tap % 5 + 1], d, total)
                more += (total,)
        sums = more
        biases = more_biases
    own = partials + (candidate * slices + part) * size + offset
    for i in tl.static_range(FILTERS):
        one = tl.minimum(first + i, filters - 1)
        for tap in tl.static_range(TAPS):
            tl.store(own + (one * channels + channel) * TAPS + tap, tl.sum(sums[TAPS * i + tap], 0))
        if channel == 0:
            tl.store(own + filters * channels * TAPS + one, tl.sum(biases[i], 0))
