"""Packing images: the samples of a batch become the lanes of vectors."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from engine.work.tiny_cnn.kernels.compiling import Kernel, compile_kernel, once
from engine.work.tiny_cnn.kernels.vectors import (
    FLOATS,
    INT64,
    LANES,
    LONGS,
    at,
    int_constant,
    load,
    shift,
    store,
)


@intrinsic
def _transpose_block(typing, source, rows, out, step):
    """Transpose LANES rows of LANES numbers; row r begins at ``source[rows[r]]``."""

    def generate(context, builder, signature, arguments):
        source_pointer, row_pointer, out_pointer, out_step = arguments
        vectors = [
            load(
                builder,
                at(builder, source_pointer, builder.load(at(builder, row_pointer, r), align=8)),
            )
            for r in range(LANES)
        ]
        # Swap ever larger halves between pairs of rows: log2(LANES) rounds.
        distance = 1
        while distance < LANES:
            low = [i if not i & distance else LANES + i - distance for i in range(LANES)]
            high = [i + distance if not i & distance else LANES + i for i in range(LANES)]
            following = list(vectors)
            for r in range(LANES):
                if not r & distance:
                    pair = (vectors[r], vectors[r + distance])
                    following[r] = builder.shuffle_vector(*pair, int_constant(low))
                    following[r + distance] = builder.shuffle_vector(*pair, int_constant(high))
            vectors = following
            distance *= 2
        for r, vector in enumerate(vectors):
            offset = builder.mul(out_step, ir.Constant(INT64, r))
            store(builder, vector, at(builder, out_pointer, offset))
        return context.get_dummy_value()

    return types.void(FLOATS, LONGS, FLOATS, types.int64), generate


@once
def pack_images() -> Kernel:
    """Copy images into groups of LANES samples.

    Arguments: images ``[.][1024]``, where each sample's image begins (filled up to whole groups),
    groups, output ``[groups][1024][LANES]``.
    """

    def pack_images(images, starts, groups, out):
        for group in range(groups):
            for i in range(0, 1024, LANES):
                _transpose_block(
                    shift(images, i),
                    shift(starts, group * LANES),
                    shift(out, (group * 1024 + i) * LANES),
                    LANES,
                )

    return compile_kernel(pack_images, FLOATS, LONGS, types.int64, FLOATS)
