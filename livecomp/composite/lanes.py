"""A few steps over neighbouring values that numba's loops do not turn into SIMD, written as LLVM's vectors.

A loop of 8 or 32 steps is unrolled before the compiler looks for vectors, and it looks for none in what is left. LLVM
turns a vector into what the processor has, also into several small ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "BLOCK",
    "LANES",
    "LINE",
    "Llvm",
    "common_bits",
    "fetch",
    "get_function",
    "lowered",
    "ramp",
    "set_aside",
    "slide",
    "splat",
    "vector_at",
    "weigh",
]

LANES = 8
"""Values at a time of `ramp` and `slide`."""

BLOCK = 16
"""Values at a time of `common_bits`."""

LINE = 64
"""Bytes that `fetch` brings; as most processors have it, and harmless where it is another number."""

_BYTE, _WORD, _FLOAT, _LONG = ir.IntType(8), ir.IntType(32), ir.FloatType(), ir.IntType(64)


get_function: Any = cgutils.get_or_insert_function
set_aside: Any = cgutils.alloca_once_value

Llvm: TypeAlias = Any
"""What numba and llvmlite hand around while they compile; it carries no types."""


def lowered(function: Callable[..., Llvm]) -> Any:  # noqa: ANN401
    """Make it a function that compiled loops can call."""
    return intrinsic(function)


def vector_at(context: Llvm, builder: Llvm, kind: Llvm, array: Llvm, index: Llvm, vector: Llvm) -> Llvm:
    """The address of `index` in a one-dimensional array, as that of a vector."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def splat(builder: Llvm, value: Llvm, vector: Llvm) -> Llvm:
    """A vector of one value."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_WORD, 0))
    order = ir.Constant(ir.VectorType(_WORD, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)


@lowered
def common_bits(typing: Llvm, values: Llvm, index: Llvm) -> Llvm:
    """Of `BLOCK` uint8 from a place on: 0 where all are 0, 2 where all are 255, else 1.

    Args:
        typing: Numba's own.
        values: (N,) uint8.
        index: uint64, at most N - `BLOCK`.
    """
    vector = ir.VectorType(_BYTE, BLOCK)

    def generate(context: Llvm, builder: Llvm, signature: Llvm, arguments: Llvm) -> Llvm:
        array, at = arguments
        place = vector_at(context, builder, signature.args[0], array, at, vector)
        block = builder.load(place, align=1)
        mask = ir.IntType(BLOCK)
        some = builder.bitcast(builder.icmp_unsigned("!=", block, ir.Constant(vector, [0] * BLOCK)), mask)
        rest = builder.bitcast(builder.icmp_unsigned("!=", block, ir.Constant(vector, [255] * BLOCK)), mask)
        any_some = builder.zext(builder.icmp_unsigned("!=", some, ir.Constant(mask, 0)), _LONG)
        no_rest = builder.zext(builder.icmp_unsigned("==", rest, ir.Constant(mask, 0)), _LONG)
        return builder.add(any_some, no_rest)

    return types.int64(values, types.uint64), generate


@lowered
def ramp(typing: Llvm, values: Llvm, index: Llvm, base: Llvm, slope: Llvm, first: Llvm, step: Llvm) -> Llvm:
    """Write `LANES` float32 from a place on: base + slope * first, base + slope * (first + step)...

    Args:
        typing: Numba's own.
        values: (N,) float32.
        index: uint64, at most N - `LANES`.
        base: float32.
        slope: float32.
        first: float32.
        step: float32.
    """
    vector = ir.VectorType(_FLOAT, LANES)

    def generate(context: Llvm, builder: Llvm, signature: Llvm, arguments: Llvm) -> Llvm:
        array, at, *numbers = arguments
        place = vector_at(context, builder, signature.args[0], array, at, vector)
        start, rise, begin, by = (splat(builder, number, vector) for number in numbers)
        counting = ir.Constant(vector, [float(k) for k in range(LANES)])
        along = builder.fadd(begin, builder.fmul(by, counting, flags=["fast"]), flags=["fast"])
        risen = builder.fmul(rise, along, flags=["fast"])
        builder.store(builder.fadd(start, risen, flags=["fast"]), place, align=4)
        return context.get_dummy_value()

    return types.void(values, types.uint64, *[types.float32] * 4), generate


@lowered
def slide(
    typing: Llvm,
    to: Llvm,
    start: Llvm,
    source: Llvm,
    origin: Llvm,
    first: Llvm,
    last: Llvm,
    length: Llvm,
    reach: Llvm,
) -> Llvm:
    """A box filter over nodes of `LANES` uint32 each: node `first` is there, and those up to `last` are written.

    The sums stay in registers; through memory, each would wait for the one before to be written and read again.

    Args:
        typing: Numba's own.
        to: (N,) uint32.
        start: Where node 0 lies in `to`.
        source: (M,) uint32.
        origin: Where node 0 lies in `source`.
        first: The first node; all numbers are int64.
        last: One past the last node.
        length: Number of nodes; those beyond the ends count as the ones at the ends.
        reach: Half a side of the box.
    """
    vector, number = ir.VectorType(_WORD, LANES), types.int64

    def generate(context: Llvm, builder: Llvm, signature: Llvm, arguments: Llvm) -> Llvm:
        target, at, values, base, begin, end, count, half = arguments
        one, none = ir.Constant(_LONG, 1), ir.Constant(_LONG, 0)

        def place(kind: Llvm, array: Llvm, offset: Llvm, node: Llvm) -> Llvm:
            index = builder.add(offset, builder.mul(node, ir.Constant(_LONG, LANES)))
            return vector_at(context, builder, kind, array, index, vector)

        def clamped(node: Llvm, limit: Llvm, beyond: str) -> Llvm:
            return builder.select(builder.icmp_signed(beyond, node, limit), limit, node)

        total = set_aside(builder, builder.load(place(signature.args[0], target, at, begin), align=4))
        with cgutils.for_range_slice(builder, builder.add(begin, one), end, one, _LONG) as (node, _):
            more = clamped(builder.add(node, half), builder.sub(count, one), ">")
            less = clamped(builder.sub(builder.sub(node, half), one), none, "<")
            added = builder.load(place(signature.args[2], values, base, more), align=4)
            dropped = builder.load(place(signature.args[2], values, base, less), align=4)
            builder.store(builder.add(builder.load(total), builder.sub(added, dropped)), total)
            builder.store(builder.load(total), place(signature.args[0], target, at, node), align=4)
        return context.get_dummy_value()

    return types.void(to, number, source, *[number] * 5), generate


@lowered
def fetch(typing: Llvm, values: Llvm, index: Llvm) -> Llvm:
    """Have a place of an array, and what lies around it, in the cache soon.

    Args:
        typing: Numba's own.
        values: (N,) uint8.
        index: uint64; beyond the array is harmless.
    """

    def generate(context: Llvm, builder: Llvm, signature: Llvm, arguments: Llvm) -> Llvm:
        array, at = arguments
        place = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [at])
        pointer = place.type
        kind = ir.FunctionType(ir.VoidType(), [pointer, _WORD, _WORD, _WORD])
        function = get_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, *(ir.Constant(_WORD, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(values, types.uint64), generate


@lowered
def weigh(typing: Llvm, to: Llvm, index: Llvm, red: Llvm, green: Llvm, blue: Llvm, person: Llvm, room: Llvm) -> Llvm:
    """Write `LANES` uint32 from a place on: a colour and 1, times the person's weight, and the same times the room's.

    Args:
        typing: Numba's own.
        to: (N,) uint32.
        index: uint64, at most N - `LANES`.
        red: uint32, as are all that follow.
        green: Of the colour.
        blue: Of the colour.
        person: A weight.
        room: A weight.
    """
    half = ir.VectorType(_WORD, LANES // 2)

    def generate(context: Llvm, builder: Llvm, signature: Llvm, arguments: Llvm) -> Llvm:
        array, at, *numbers = arguments
        color = ir.Constant(half, [1] * 4)
        for lane, number in enumerate(numbers[:3]):
            color = builder.insert_element(color, number, ir.Constant(_WORD, lane))
        for side, weight in enumerate(numbers[3:]):
            place = builder.add(at, ir.Constant(_LONG, LANES // 2 * side))
            place = vector_at(context, builder, signature.args[0], array, place, half)
            builder.store(builder.mul(color, splat(builder, weight, half)), place, align=4)
        return context.get_dummy_value()

    return types.void(to, types.uint64, *[types.uint32] * 5), generate
