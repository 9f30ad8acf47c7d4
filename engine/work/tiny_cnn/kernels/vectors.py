"""A vector of float32 lanes as a numba type, and the operations on it that every kernel shares.

numba's own loops reach half the speed of explicit vectors here, because LLVM does not vectorise
over the samples of a batch by itself. A value of type ``lanes`` is LLVM's ``<N x float>``; LLVM
splits it into what the processor has. Pointers are typed (``float32*``), and all offsets count
elements. Only operations on vectors may enter here: what a network is, stays outside.
"""

from __future__ import annotations

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

# numba's own settings NUMBA_CPU_NAME and NUMBA_CPU_FEATURES hold here, too
_CHOSEN = vars(numba.config)
CPU_NAME = _CHOSEN["CPU_NAME"] or llvmlite.binding.get_host_cpu_name()
CPU_FEATURES = _CHOSEN["CPU_FEATURES"] or llvmlite.binding.get_host_cpu_features().flatten()
# AVX-512 processors have 32 registers of 16 lanes; everything else gets 8 lanes (AVX2; NEON and
# SSE2 use two registers for one vector).
WIDE = "+avx512f" in CPU_FEATURES.split(",")
LANES = 16 if WIDE else 8

FLOATS = types.CPointer(types.float32)
INTS = types.CPointer(types.int32)
LONGS = types.CPointer(types.int64)
DOUBLES = types.CPointer(types.float64)

FLOAT = ir.FloatType()
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)
INT_VECTOR = ir.VectorType(INT32, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)


class LanesType(types.Type):
    """numba's name for one vector of float32 lanes."""

    def __init__(self):
        super().__init__(name=f"float32x{LANES}")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, frontend_type):
        super().__init__(manager, frontend_type, VECTOR)


# --- code generation shared by the intrinsics of this package -----------------------------------


def constant(value):
    """A vector constant, every lane the same."""
    return ir.Constant(VECTOR, [float(value)] * LANES)


def int_constant(values):
    """An integer vector constant, from one number or one per lane."""
    if isinstance(values, int):
        values = [values] * LANES
    return ir.Constant(INT_VECTOR, list(values))


def at(builder, pointer, offset):
    """The address `offset` elements after `pointer` (a Python int or an IR value)."""
    if isinstance(offset, int):
        offset = ir.Constant(INT64, offset)
    return builder.gep(pointer, [offset])


def load(builder, pointer):
    """An unaligned vector load."""
    return builder.load(builder.bitcast(pointer, VECTOR.as_pointer()), align=4)


class _VolatileLoad(ir.instructions.LoadInstr):
    def descr(self, buf):
        super().descr(buf)
        buf[-1] = buf[-1].replace("load ", "load volatile ", 1)


def load_once(builder, pointer):
    """A load that LLVM may neither merge with another nor move out of a loop.

    In the convolutions LLVM would otherwise keep a whole window of inputs in registers and spill
    the accumulators.
    """
    instruction = _VolatileLoad(builder.block, builder.bitcast(pointer, VECTOR.as_pointer()))
    instruction.align = 4
    builder._insert(instruction)
    return instruction


def store(builder, value, pointer):
    """An unaligned vector store (of floats or integers)."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=4)


def store_masks(builder, masks, pointer):
    """Store two truth values per lane in the room of one number."""
    halves = builder.bitcast(pointer, ir.IntType(16).as_pointer())
    for i, mask in enumerate(masks):
        bits = builder.bitcast(mask, ir.IntType(LANES))
        if LANES < 16:
            bits = builder.zext(bits, ir.IntType(16))
        builder.store(bits, at(builder, halves, i), align=2)


def load_masks(builder, pointer):
    """What `store_masks` stored."""
    halves = builder.bitcast(pointer, ir.IntType(16).as_pointer())
    masks = []
    for i in range(2):
        bits = builder.load(at(builder, halves, i), align=2)
        if LANES < 16:
            bits = builder.trunc(bits, ir.IntType(LANES))
        masks.append(builder.bitcast(bits, MASK))
    return masks


def broadcast(builder, scalar):
    """One scalar in every lane."""
    vector_type = ir.VectorType(scalar.type, LANES)
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, undefined, int_constant(0))


def load_broadcast(builder, pointer):
    """The scalar at `pointer` in every lane."""
    return broadcast(builder, builder.load(pointer, align=4))


def call_llvm(builder, name, result, arguments):
    """Call an LLVM intrinsic by its full name."""
    signature = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, arguments)


def multiply_add(builder, x, y, z):
    """``x * y + z``, fused where the processor can."""
    return call_llvm(builder, f"llvm.fmuladd.v{LANES}f32", VECTOR, [x, y, z])


def maximum(builder, x, y):
    """The larger of two vectors; a NaN in `y` survives, so constants go first."""
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


def unpack(builder, packed, count):
    """The members of a tuple of vectors."""
    return [builder.extract_value(packed, i) for i in range(count)]


def pack(context, builder, tuple_type, values):
    """A tuple of vectors."""
    packed = ir.Constant(context.get_value_type(tuple_type), ir.Undefined)
    for i, value in enumerate(values):
        packed = builder.insert_value(packed, value, i)
    return packed


# --- what kernels call --------------------------------------------------------------------------


@intrinsic
def data(typing, array):
    """The address of the first element of a C-contiguous array."""
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def generate(context, builder, signature, arguments):
        return cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def shift(typing, pointer, offset):
    """The address `offset` elements further on."""

    def generate(context, builder, signature, arguments):
        return at(builder, *arguments)

    return pointer(pointer, types.int64), generate


@intrinsic
def vload(typing, pointer, offset):
    """The vector at ``pointer[offset:offset + LANES]``."""

    def generate(context, builder, signature, arguments):
        return load(builder, at(builder, *arguments))

    return lanes(FLOATS, types.int64), generate


@intrinsic
def vstore(typing, pointer, offset, value):
    """Store a vector at ``pointer[offset:offset + LANES]``."""

    def generate(context, builder, signature, arguments):
        store(builder, arguments[2], at(builder, arguments[0], arguments[1]))
        return context.get_dummy_value()

    return types.void(FLOATS, types.int64, lanes), generate


@intrinsic
def align_stack(typing):
    """Have vectors that find no register kept at whole cache lines of the stack.

    To be called once in a kernel that has more vectors than there are registers. Otherwise the
    stack begins at a multiple of 16 bytes, as it happens to be in a thread, and three times out of
    four such a vector lies across two lines: kernels took up to 1.6 times as long.
    """

    def generate(context, builder, signature, arguments):
        attributes = builder.function.attributes
        attributes.alignstack = 4 * LANES
        # inlined into the C function around it, it would have the stack of that one
        attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def prefetch(typing, pointer, offset):
    """Ask for the cache line at ``pointer[offset]``, to be near when it is needed (never fails)."""

    def generate(context, builder, signature, arguments):
        address = builder.bitcast(at(builder, *arguments), ir.IntType(8).as_pointer())
        read, near, data = (ir.Constant(INT32, value) for value in (0, 2, 1))
        signature = ir.FunctionType(ir.VoidType(), [address.type, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        builder.call(function, [address, read, near, data])
        return context.get_dummy_value()

    return types.void(FLOATS, types.int64), generate


@intrinsic
def splat(typing, scalar):
    """One number in every lane."""

    def generate(context, builder, signature, arguments):
        return broadcast(builder, arguments[0])

    return lanes(types.float32), generate


def _elementwise(arity, operation):
    @intrinsic
    def one(typing, x):
        return lanes(lanes), lambda context, builder, signature, a: operation(builder, *a)

    @intrinsic
    def two(typing, x, y):
        return lanes(lanes, lanes), lambda context, builder, signature, a: operation(builder, *a)

    @intrinsic
    def three(typing, x, y, z):
        return (
            lanes(lanes, lanes, lanes),
            lambda context, builder, signature, a: operation(builder, *a),
        )

    return (one, two, three)[arity - 1]


def _gate(builder, keep, value):
    positive = builder.fcmp_unordered(">", keep, constant(0))
    return builder.select(positive, value, constant(0))


def _larger(builder, best, value):
    """1 where `value` should replace `best` as the running maximum: larger, or the first NaN."""
    ordered = builder.fcmp_ordered("ord", best, best)
    larger = builder.and_(builder.fcmp_unordered(">", value, best), ordered)
    return builder.select(larger, constant(1), constant(0))


def _select(builder, condition, value, otherwise):
    return builder.select(builder.fcmp_ordered("!=", condition, constant(0)), value, otherwise)


def _exponential(builder, x):
    # Cephes' expf: reduce by ln 2 in two steps, a polynomial of degree 5, scale by 2**n.
    x = maximum(builder, constant(-87.0), x)
    n = call_llvm(
        builder, f"llvm.rint.v{LANES}f32", VECTOR, [builder.fmul(x, constant(1.44269504))]
    )
    r = multiply_add(builder, n, constant(-0.693359375), x)
    r = multiply_add(builder, n, constant(2.12194440e-4), r)
    polynomial = constant(1.9875691500e-4)
    for coefficient in (
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    ):
        polynomial = multiply_add(builder, polynomial, r, constant(coefficient))
    squared = builder.fmul(r, r)
    result = builder.fadd(multiply_add(builder, polynomial, squared, r), constant(1))
    # Converting NaN to an integer is undefined in LLVM: take 0, the product is NaN all the same.
    exponent = builder.select(builder.fcmp_ordered("ord", n, n), n, constant(0))
    bits = builder.shl(
        builder.add(builder.fptosi(exponent, INT_VECTOR), int_constant(127)), int_constant(23)
    )
    return builder.fmul(result, builder.bitcast(bits, VECTOR))


vadd = _elementwise(2, lambda builder, x, y: builder.fadd(x, y))
vsub = _elementwise(2, lambda builder, x, y: builder.fsub(x, y))
vmul = _elementwise(2, lambda builder, x, y: builder.fmul(x, y))
vdiv = _elementwise(2, lambda builder, x, y: builder.fdiv(x, y))
fma = _elementwise(3, multiply_add)
relu = _elementwise(1, lambda builder, x: maximum(builder, constant(0), x))
vexp = _elementwise(1, _exponential)
gate = _elementwise(2, _gate)  # value where keep > 0 or NaN, else 0
larger = _elementwise(2, _larger)
choose = _elementwise(3, _select)  # value where condition != 0, else otherwise


@intrinsic
def hsum(typing, x):
    """The sum of the lanes, always in the same order."""

    def generate(context, builder, signature, arguments):
        (value,) = arguments
        width = LANES
        while width > 1:  # halve: a fixed tree, much shorter than a chain
            width //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            halves = [
                builder.shuffle_vector(
                    value,
                    undefined,
                    ir.Constant(ir.VectorType(INT32, width), list(range(start, start + width))),
                )
                for start in (0, width)
            ]
            value = builder.fadd(*halves)
        return builder.extract_element(value, ir.Constant(INT32, 0))

    return types.float32(lanes), generate


@intrinsic(prefer_literal=True)
def zeros(typing, count):
    """A tuple of `count` vectors of zeros (the accumulators of a kernel)."""
    result = types.UniTuple(lanes, count.literal_value)

    def generate(context, builder, signature, arguments):
        return pack(context, builder, result, [constant(0)] * result.count)

    return result(count), generate


@intrinsic
def call_kernel(typing, address, arguments):
    """Call a compiled kernel (a C function returning nothing) by its address.

    Kernels are compiled once and called through their addresses: inlining them into every caller
    would compile the same loops again and again.
    """
    if not isinstance(arguments, types.BaseTuple):
        return None
    members = list(arguments)

    def generate(context, builder, signature, values):
        unpacked = unpack(builder, values[1], len(members))
        function_type = ir.FunctionType(ir.VoidType(), [value.type for value in unpacked])
        function = builder.inttoptr(values[0], function_type.as_pointer())
        builder.call(function, unpacked)
        return context.get_dummy_value()

    return types.void(types.int64, types.Tuple(members)), generate
